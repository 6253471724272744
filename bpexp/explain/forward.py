"""Sections 3 and 4 of the document: the forward pass of one sample, and the error."""

from collections.abc import Iterator

from bpexp.explain.symbols import indexed, plus
from bpexp.explain.view import MAX_SAMPLES, MAX_UNITS, View, layer_input, more_units
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.notation import factor
from bpexp.render.document import Block, Equations, Heading, Paragraph


def forward_pass(view: View) -> Iterator[Block]:
    """Section 3: the weighted input and the activation of each unit."""
    network = view.network
    yield Heading(2, f"3. Forward pass of sample {view.sample}")
    for layer, name in enumerate(network.activation_names, start=1):
        yield Heading(
            3,
            f"Layer {layer}: z = Wᵀ {layer_input(layer)} + {view.bias_factor}b, "
            f"a = {ACTIVATIONS[name].notation.symbol}(z)",
        )
        n_out = network.sizes[layer]
        for unit in range(min(n_out, MAX_UNITS)):
            yield _unit(view, layer, unit)
        if n_out > MAX_UNITS:
            yield Paragraph(more_units(n_out))


def _unit(view: View, layer: int, unit: int) -> Equations:
    """The forward pass of one unit; layers count from 1, units from 0."""
    step, network, show = view.step, view.network, view.show
    weights, biases = network.split(step.before)
    W, b = weights[layer - 1][:, unit], biases[layer - 1][0, unit]
    below, Z = step.forward.activations[layer - 1][view.row], step.forward.Z[layer - 1][view.row]
    name, n_in = network.activation_names[layer - 1], len(W)
    bias, z, a = (indexed(symbol, layer, unit + 1) for symbol in "bza")
    inputs = range(min(n_in, MAX_UNITS))
    symbols = [
        f"{indexed('w', layer, i + 1, unit + 1)} {indexed('a', layer - 1, i + 1)}" for i in inputs
    ]
    values = [f"{factor(show(W[i]))} · {factor(show(below[i]))}" for i in inputs]
    bias_factor = "" if network.bias_input == 1.0 else f"{factor(show(network.bias_input))} · "
    if name == "softmax":
        terms = [f"e^{factor(show(v))}" for v in Z[:MAX_UNITS]]
        activation = f"e^{factor(show(Z[unit]))} / ({plus(terms, len(Z) - MAX_UNITS)})"
    else:
        activation = f"{ACTIVATIONS[name].notation.symbol}({show(Z[unit])})"
    return Equations([
        (z, f"{plus(symbols, n_in - MAX_UNITS)} + {view.bias_factor}{bias}"),
        ("", f"{plus(values, n_in - MAX_UNITS)} + {bias_factor}{factor(show(b))}"),
        ("", show(Z[unit])),
        (a, f"{activation} = {show(step.forward.activations[layer][view.row, unit])}"),
    ])  # fmt: skip


def error(view: View) -> Iterator[Block]:
    """Section 4: the error of the sample and of the batch, and the loss that is logged."""
    step, network, show = view.step, view.network, view.show
    n_samples, n_out = len(step.forward.losses), step.problem.Y.shape[1]
    formula, with_numbers = _sample_error(view)
    if view.weight:
        formula, with_numbers = f"c · ({formula})", f"{view.weight} · ({with_numbers})"
    yield Heading(2, "4. Error")
    yield Equations([
        (f"E of sample {view.sample}", formula),
        ("", with_numbers),
        ("", show(step.forward.losses[view.row])),
    ])  # fmt: skip
    if network.loss == "half_squared":
        per_sample, name = f"2 E / ({n_samples} · {n_out})", "mean squared error"
    else:
        per_sample, name = f"E / {n_samples}", "mean cross-entropy"
    if view.weight:
        name = f"weighted {name}"
    parts = [show(loss) for loss in step.forward.losses[:MAX_SAMPLES]]
    yield Equations([
        ("E", f"{plus(parts, n_samples - MAX_SAMPLES)} = {show(step.forward.total)}"),
        (f"logged loss ({name})", f"{per_sample} = {show(step.forward.loss)}"),
    ])  # fmt: skip
    yield Paragraph(
        f"Training minimizes E, the sum over the batch; {indexed('a', len(step.forward.Z))} is the "
        "output, y the target."
        + (
            " c is the weight of the sample's class: the number of training samples, divided by "
            "the number of classes and by the number of training samples of this class."
            if view.weight
            else ""
        )
    )


def _sample_error(view: View) -> tuple[str, str]:
    """The formula of the sample's error with symbols, and with numbers."""
    network, show = view.network, view.show
    A, Y = view.step.forward.activations[-1][view.row], view.step.problem.Y[view.row]
    n_out = len(Y)
    outputs = range(min(n_out, MAX_UNITS))
    if network.loss == "half_squared":
        squares = [f"({show(A[k])} − {factor(show(Y[k]))})²" for k in outputs]
        summed = plus(squares, n_out - MAX_UNITS)
        return ("½ Σ (a − y)²", f"½ ({summed})") if n_out > 1 else ("½ (a − y)²", f"½ {summed}")
    if network.activation_names[-1] == "softmax":
        logs = [f"{show(Y[k])} · ln {show(A[k])}" for k in outputs if Y[k] != 0.0]
        return "−Σ y ln a", f"−({plus(logs, 0)})" if logs else "−(… of units not shown)"
    logs = [
        f"{show(Y[k])} · ln {show(A[k])} + {show(1.0 - Y[k])} · ln(1 − {show(A[k])})"
        for k in outputs
    ]
    return "−Σ [y ln a + (1 − y) ln(1 − a)]", f"−({plus(logs, n_out - MAX_UNITS)})"
