"""Sections 5 and 6 of the document: the backward pass of one sample, and the gradient."""

from collections.abc import Iterator

import numpy as np

from bpexp.explain.step import DIFFERENCE_STEP, Step, central_difference
from bpexp.explain.symbols import indexed, plus
from bpexp.explain.view import MAX_UNITS, View, count, more_units, spoken, target
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.notation import Lines, factor
from bpexp.render.document import Block, Equations, Heading, Paragraph, Table
from bpexp.render.wording import listed
from bpexp.typing import Array


def backward_pass(view: View) -> Iterator[Block]:
    """Section 5: the δ of each unit, from the last layer to the first."""
    network = view.network
    last = len(network.activation_names)
    yield Heading(2, f"5. Backward pass of sample {view.sample}")
    yield Paragraph("δ = ∂E/∂z of a unit: by the chain rule, ∂E/∂a times ∂a/∂z = f′(z).")
    if network.error_signal == "arctanh":
        yield Paragraph("∂E/∂a = d is replaced by e(d) = ln((1 + d) / (1 − d)), within ±17.")
    if network.dead_zone:
        yield Paragraph(f"e(d) is 0 where |d| < {network.dead_zone:g}.")
    yield Heading(3, f"Layer {last}, the output")
    for unit in range(min(network.sizes[-1], MAX_UNITS)):
        yield Equations(_output_delta(view, unit))
    for layer in reversed(range(1, last)):
        yield Heading(3, f"Layer {layer}: δ is propagated back through {indexed('W', layer + 1)}")
        n_units = network.sizes[layer]
        for unit in range(min(n_units, MAX_UNITS)):
            yield Equations(_hidden_delta(view, layer, unit))
        name = network.activation_names[layer - 1]
        slope = f"f′ of {spoken(name)} by its activation: {ACTIVATIONS[name].notation.derivative}."
        yield Paragraph(f"{slope} {more_units(n_units)}".strip())


def _hidden_delta(view: View, layer: int, unit: int) -> Lines:
    """δ of a hidden unit; layers count from 1, units from 0."""
    step, show = view.step, view.show
    weights, _ = view.network.split(step.before)
    W, above = weights[layer][unit], step.backward.deltas[layer][view.row]
    delta, a = indexed("δ", layer, unit + 1), show(step.forward.activations[layer][view.row, unit])
    outputs = range(min(len(W), MAX_UNITS))
    symbols = [
        f"{indexed('w', layer + 1, unit + 1, k + 1)} {indexed('δ', layer + 1, k + 1)}"
        for k in outputs
    ]
    values = [f"{factor(show(W[k]))} · {factor(show(above[k]))}" for k in outputs]
    slope_symbol = view.with_offset(f"f′({indexed('z', layer, unit + 1)})")
    slope_formula = view.with_offset(
        ACTIVATIONS[view.network.activation_names[layer - 1]].notation.evaluated(a)
    )
    slope = view.with_offset(show(step.backward.slopes[layer - 1][view.row, unit]))
    error = factor(show(step.backward.errors[layer - 1][view.row, unit]))
    return [
        (delta, f"({plus(symbols, len(W) - MAX_UNITS)}) · {slope_symbol}"),
        ("", f"({plus(values, len(W) - MAX_UNITS)}) · {slope_formula}"),
        ("", f"{error} · {slope}"),
        ("", show(step.backward.deltas[layer - 1][view.row, unit])),
    ]


def _output_delta(view: View, unit: int) -> Lines:
    """δ of an output unit, counted from 0."""
    *lines, result = _unweighted_output_delta(view, unit)
    if view.weight:
        lines = [(left, f"{'c' if left else view.weight} · ({right})") for left, right in lines]
    if view.network.loss == "cross_entropy":
        delta, formula = lines[0]
        lines[0] = (delta, f"{formula}  (∂E/∂a · f′(z), in which f′ cancels)")
    return [*lines, result]


def _unweighted_output_delta(view: View, unit: int) -> Lines:
    """δ of an output unit without the weight of the class, but with the result at the end."""
    step, network, show = view.step, view.network, view.show
    last, name = len(step.forward.Z), network.activation_names[-1]
    delta, a, y = indexed("δ", last, unit + 1), indexed("a", last, unit + 1), target(unit + 1)
    outputs = step.forward.activations[-1][view.row]
    A, Y = show(outputs[unit]), factor(show(step.problem.Y[view.row, unit]))
    result = show(step.backward.deltas[-1][view.row, unit])
    if network.loss == "cross_entropy":
        return [
            (delta, f"{a} − {y}"),
            ("", f"{A} − {Y}"),
            ("", result),
        ]
    errors = step.backward.errors[-1][view.row]
    function = "" if network.error_signal == "linear" and not network.dead_zone else "e"
    signal, with_numbers = f"{function}({a} − {y})", f"{function}({A} − {Y})"
    if name == "softmax":
        terms = [
            f"{factor(show(error))} · {show(output)}"
            for error, output in zip(errors[:MAX_UNITS], outputs[:MAX_UNITS], strict=True)
        ]
        return [
            (delta, f"{a} · ({signal} − Σ {function}(a − y) a)"),
            ("", f"{A} · ({with_numbers} − ({plus(terms, len(errors) - MAX_UNITS)}))"),
            ("", result),
        ]
    slope_symbol = view.with_offset(f"f′({indexed('z', last, unit + 1)})")
    slope_formula = view.with_offset(ACTIVATIONS[name].notation.evaluated(A))
    slope = view.with_offset(show(step.backward.slopes[-1][view.row, unit]))
    return [
        (delta, f"{signal} · {slope_symbol}"),
        ("", f"{with_numbers} · {slope_formula}"),
        ("", f"{factor(show(errors[unit]))} · {slope}"),
        ("", result),
    ]


def gradient(view: View) -> Iterator[Block]:
    """Section 6: the gradient of the batch, beside central differences."""
    step, network = view.step, view.network
    n_samples = len(step.rows)
    yield Heading(2, "6. Gradient")
    bias_input = "" if network.bias_input == 1.0 else f"{view.show(network.bias_input)} · "
    yield Paragraph(
        f"∂E/∂wᵢⱼ = Σ aᵢ δⱼ and ∂E/∂bⱼ = {bias_input}Σ δⱼ, summed over the "
        f"{count(n_samples, 'sample')}. For comparison the central difference "
        f"(E(w + h) − E(w − h)) / 2h, h = {DIFFERENCE_STEP:.2g}, which does not use the chain rule."
    )
    table = _gradient_table(view)
    yield table
    n_hidden = network.n_parameters - len(table.rows)
    if n_hidden:
        yield Paragraph(f"{count(n_hidden, 'more parameter')} not shown.")
    changes = [
        text for is_used, text in (
            (network.derivative_offset, f"the derivative offset {network.derivative_offset:g}"),
            (network.error_signal != "linear", f"the {network.error_signal} error"),
            (network.dead_zone, f"the dead zone {network.dead_zone:g}"),
        ) if is_used
    ]  # fmt: skip
    if changes:
        yield Paragraph(
            f"With {listed(changes)}, the update direction is not the gradient of E: the "
            "two columns differ on purpose."
        )


def _gradient_table(view: View) -> Table:
    """For each parameter: the gradient of each sample, their sum, the central difference."""
    step, show = view.step, view.show
    n_samples = len(step.rows)
    samples = list(range(n_samples)) if n_samples <= MAX_UNITS else [view.row]
    names = [f"sample {step.rows[n] + 1}" for n in samples]
    others = [f"the other {n_samples - 1}"] if n_samples > len(samples) else []
    rows = []
    for index, symbol, parts in parameters(step):
        total, numeric = step.backward.gradient[index], central_difference(step, index)
        rows.append((
            f"∂E/∂{symbol}", *(show(parts[n]) for n in samples),
            *(show(total - parts[view.row]) for _ in others), show(total), show(numeric),
            f"{abs(total - numeric):.0e}",
        ))  # fmt: skip
    return Table(("", *names, *others, "gradient", "central difference", "difference"), rows)


def parameters(step: Step) -> Iterator[tuple[int, str, Array]]:
    """List the parameters that the document shows.

    Args:
        step: The step.

    Yields:
        Index and symbol of the parameter, and the gradient of each sample, (n_samples,).
    """
    network = step.problem.network
    indices, biases = network.split(np.arange(network.n_parameters))  # type: ignore[arg-type]
    for layer, (W, b) in enumerate(zip(indices, biases, strict=True), start=1):
        below, deltas = step.forward.activations[layer - 1], step.backward.deltas[layer - 1]
        for j in range(min(W.shape[1], MAX_UNITS)):
            for i in range(min(W.shape[0], MAX_UNITS)):
                symbol = indexed("w", layer, i + 1, j + 1)
                yield int(W[i, j]), symbol, below[:, i] * deltas[:, j]
            bias = network.bias_input * deltas[:, j]
            yield int(b[0, j]), indexed("b", layer, j + 1), bias
