"""The page on one training step: network, data, forward, error, backward, gradient, update."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from bpexp.data.dataset import Dataset
from bpexp.explain.blocks import Block, Diagram, Equations, Heading, Paragraph, Table
from bpexp.explain.step import H, Step, central_difference
from bpexp.explain.symbols import Show, factor, indexed, plus
from bpexp.fields.checks import ConfigError
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.optimizers import OPTIMIZERS, UpdateNumbers
from bpexp.training.engine import RunStatus
from bpexp.typing import Array

WIDTH, ROWS = 4, 8
"""Units of a layer, inputs, terms of a sum; and samples, that are written out."""
ENDINGS = {
    RunStatus.CONVERGED: "the stopping rule is met",
    RunStatus.STALLED: "there was no progress for too long",
    RunStatus.DIVERGED: "the loss is no longer finite",
}


def page(step: Step, dataset: Dataset, show: Show, sample: int | None = None) -> Iterator[Block]:
    """All blocks, in order. ``sample``: which of the training samples, counted from 1, is
    followed through the network; None for the one with the largest loss.

    Raises ConfigError where the sample is not in the step's batch.
    """
    row = _followed(step, sample)
    yield from _network(step, show)
    yield from _data(step, dataset, row, show)
    yield from _forward(step, row, show)
    yield from _error(step, row, show)
    yield from _backward(step, row, show)
    yield from _gradient(step, row, show)
    yield from _update(step, show)


def _followed(step: Step, sample: int | None) -> int:
    if sample is None:
        return int(np.argmax(step.losses))
    found = np.flatnonzero(step.rows == sample - 1)
    if not len(found):
        rows = step.rows + 1
        some = ", ".join(map(str, np.sort(rows)[:ROWS])) + (", ..." if len(rows) > ROWS else "")
        raise ConfigError(f"--sample must be one of this step's ({some}), got {sample}.")
    return int(found[0])


def _network(step: Step, show: Show) -> Iterator[Block]:
    config, network = step.config, step.problem.network
    sizes = "-".join(map(str, network.sizes))
    yield Heading(1, f"One step of backpropagation: {config.data.name} on a {sizes} network")
    yield Paragraph(
        f"Epoch {step.epoch} of {config.epochs}, seed {config.seed}, learning rate "
        f"η = {show(config.lr)}, update rule {config.optimizer.name.replace('_', ' ')}. "
        "Every number is the engine's, rounded only where it is printed."
    )
    yield Heading(2, "1. The network")
    rows = [
        (
            str(layer), _count(n_out, f"{name.replace('_', ' ')} unit"),
            f"z = Wᵀ {_below(layer)} + {_bias_input(step)}b",
            f"a = {ACTIVATIONS[name].notation.symbol}(z)",
            ACTIVATIONS[name].notation.formula,
        )
        for layer, ((_, n_out), name) in enumerate(
            zip(pairwise(network.sizes), network.functions, strict=True), start=1
        )
    ]  # fmt: skip
    yield Table(("layer", "units", "sum", "activation", "f(z)"), rows)
    if max(network.sizes) <= WIDTH and len(network.sizes) <= 4:
        yield _diagram(step, show)
    state = (
        "Initial weights" if step.epoch == 1
        else f"Weights after {_count(step.epoch - 1, 'epoch')}"
    )  # fmt: skip
    yield Paragraph(
        f"{state}; wᵢⱼ leads from unit i of the layer below to unit j."
        + (
            f" Of each layer the first {WIDTH} units are shown."
            if max(network.sizes) > WIDTH
            else ""
        )
    )
    weights, biases = network.split(step.before)
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        shown = range(min(W.shape[1], WIDTH))
        columns = (
            f"{indexed('W', layer)} from",
            *(f"to {indexed('a', layer, j + 1)}" for j in shown),
        )
        listed = [
            (indexed("a", layer - 1, i + 1), *(show(W[i, j]) for j in shown))
            for i in range(min(W.shape[0], WIDTH))
        ]
        listed.append((f"bias {indexed('b', layer)}", *(show(b[0, j]) for j in shown)))
        yield Table(columns, listed)


def _diagram(step: Step, show: Show) -> Diagram:
    network = step.problem.network
    weights, _ = network.split(step.before)
    names = ("input", *(name.replace("_", " ") for name in network.functions))
    return Diagram(
        [
            [(indexed("a", layer, i + 1), name) for i in range(n)]
            for layer, (n, name) in enumerate(zip(network.sizes, names, strict=True))
        ],
        [[[(float(w), show(w)) for w in line] for line in W] for W in weights],
    )


def _data(step: Step, dataset: Dataset, row: int, show: Show) -> Iterator[Block]:
    X, Y, A = step.problem.X, step.problem.Y, step.activations[-1]
    yield Heading(2, "2. The data")
    if step.n_batches > 1:
        which = (
            f"The first of {step.n_batches} batches of this epoch: "
            f"{len(X)} of {len(dataset.X)} samples, in the epoch's seeded order."
        )
    else:
        which = f"All {len(X)} samples at once, with the output that the network gives now."
    few, some = min(X.shape[1], WIDTH), min(Y.shape[1], WIDTH)
    left = _left_out(X.shape[1], "input") + _left_out(Y.shape[1], "output")
    yield Paragraph(
        which + left + (" Inputs are standardised." if step.config.data.standardize else "")
    )
    names = [
        f"{indexed('x', 0, i + 1)} is {name}" for i, name in enumerate(dataset.inputs[:few])
        if name != f"x{i + 1}"
    ] + [
        f"{_target(i + 1)} is {name}"
        for i, name in enumerate(dataset.targets[:some]) if name != f"y{i + 1}"
    ]  # fmt: skip
    if names:
        yield Paragraph(f"{'; '.join(names)}.")
    last = len(step.Z)
    columns = (
        "sample", *(indexed("x", 0, i + 1) for i in range(few)),
        *(_target(i + 1) for i in range(some)),
        *(indexed("a", last, i + 1) for i in range(some)), "loss",
    )  # fmt: skip
    numbers = sorted({*range(min(len(X), ROWS)), row})
    yield Table(
        columns,
        [
            (
                f"{step.rows[n] + 1}{' ←' if n == row else ''}",
                *(show(v) for v in (*X[n, :few], *Y[n, :some], *A[n, :some])),
                show(step.losses[n]),
            )
            for n in numbers
        ],
    )
    rest = len(X) - len(numbers)
    yield Paragraph(
        f"Sample {step.rows[row] + 1} is followed below"
        + (", the one with the largest loss" if row == int(np.argmax(step.losses)) else "")
        + (f"; {_count(rest, 'more sample')} not shown." if rest else ".")
    )


def _forward(step: Step, row: int, show: Show) -> Iterator[Block]:
    network = step.problem.network
    weights, biases = network.split(step.before)
    yield Heading(2, f"3. Forward pass of sample {step.rows[row] + 1}")
    for layer, (W, b, name) in enumerate(
        zip(weights, biases, network.functions, strict=True), start=1
    ):
        n_in, n_out = W.shape
        terms = range(min(n_in, WIDTH))
        yield Heading(3, f"Layer {layer}: z = Wᵀ {_below(layer)} + {_bias_input(step)}b, "
                         f"a = {ACTIVATIONS[name].notation.symbol}(z)")  # fmt: skip
        below, Z, A = (v[row] for v in (step.activations[layer - 1], step.Z[layer - 1],
                                        step.activations[layer]))  # fmt: skip
        for j in range(min(n_out, WIDTH)):
            bias, z, a = (indexed(s, layer, j + 1) for s in "bza")
            symbols = [
                f"{indexed('w', layer, i + 1, j + 1)} {indexed('a', layer - 1, i + 1)}"
                for i in terms
            ]
            values = [f"{factor(show(W[i, j]))} · {factor(show(below[i]))}" for i in terms]
            fed = show(network.bias_input)
            times = "" if network.bias_input == 1.0 else f"{factor(fed)} · "
            lines = [
                (z, f"{plus(symbols, n_in - WIDTH)} + {_bias_input(step)}{bias}"),
                ("", f"{plus(values, n_in - WIDTH)} + {times}{factor(show(b[0, j]))}"),
                ("", show(Z[j])),
            ]
            if name == "softmax":
                exps = [f"e^{factor(show(v))}" for v in Z[:WIDTH]]
                put_in = f"e^{factor(show(Z[j]))} / ({plus(exps, n_out - WIDTH)})"
            else:
                put_in = f"{ACTIVATIONS[name].notation.symbol}({show(Z[j])})"
            yield Equations([*lines, (a, f"{put_in} = {show(A[j])}")])
        if n_out > WIDTH:
            yield Paragraph(_others(n_out).strip())


def _error(step: Step, row: int, show: Show) -> Iterator[Block]:
    network = step.problem.network
    last, n_out = len(step.Z), step.problem.Y.shape[1]
    A, Y = step.activations[-1][row], step.problem.Y[row]
    some = range(min(n_out, WIDTH))
    yield Heading(2, "4. Error")
    if network.loss == "half_squared":
        formula = "½ Σ (a − y)²" if n_out > 1 else "½ (a − y)²"
        squares = [f"({show(A[k])} − {factor(show(Y[k]))})²" for k in some]
        summed = plus(squares, n_out - WIDTH)
        put_in = f"½ ({summed})" if n_out > 1 else f"½ {summed}"
    elif network.functions[-1] == "softmax":
        formula = "−Σ y ln a"
        logs = [f"{show(Y[k])} · ln {show(A[k])}" for k in some if Y[k] != 0.0]
        put_in = f"−({plus(logs, 0)})" if logs else "−(… of units not shown)"
    else:
        formula = "−Σ [y ln a + (1 − y) ln(1 − a)]"
        logs = [
            f"{show(Y[k])} · ln {show(A[k])} + {show(1.0 - Y[k])} · ln(1 − {show(A[k])})"
            for k in some
        ]
        put_in = f"−({plus(logs, n_out - WIDTH)})"
    yield Equations([
        (f"E of sample {step.rows[row] + 1}", formula), ("", put_in), ("", show(step.losses[row])),
    ])  # fmt: skip
    per_sample = (
        f"2 E / ({len(step.losses)} · {n_out})" if network.loss == "half_squared"
        else f"E / {len(step.losses)}"
    )  # fmt: skip
    named = (
        "mean squared error" if network.loss == "half_squared" else "mean cross-entropy"
    )  # fmt: skip
    parts = [show(v) for v in step.losses[:ROWS]]
    yield Equations([
        ("E", f"{plus(parts, len(step.losses) - ROWS)} = {show(step.total)}"),
        (f"logged loss ({named})", f"{per_sample} = {show(step.loss)}"),
    ])  # fmt: skip
    yield Paragraph(
        f"Training follows E, the sum over the batch; {indexed('a', last)} is the output, "
        "y the target."
    )


def _backward(step: Step, row: int, show: Show) -> Iterator[Block]:
    network = step.problem.network
    weights, _ = network.split(step.before)
    last = len(weights)
    yield Heading(2, f"5. Backward pass of sample {step.rows[row] + 1}")
    yield Paragraph("δ = ∂E/∂z of a unit: by the chain rule, ∂E/∂a times ∂a/∂z = f′(z).")
    if network.error == "arctanh":
        yield Paragraph("In place of ∂E/∂a = d stands e(d) = ln((1 + d) / (1 − d)), within ±17.")
    if network.dead_zone:
        yield Paragraph(f"e(d) counts |d| < {network.dead_zone:g} as 0.")
    yield Heading(3, f"Layer {last}, the output")
    for k in range(min(network.sizes[-1], WIDTH)):
        yield Equations(_output_delta(step, row, k, show))
    for layer in reversed(range(1, last)):
        name = network.functions[layer - 1]
        yield Heading(3, f"Layer {layer}: δ comes back through {indexed('W', layer + 1)}")
        W, above = weights[layer], step.deltas[layer][row]
        n_out = W.shape[1]
        ks = range(min(n_out, WIDTH))
        for j in range(min(network.sizes[layer], WIDTH)):
            delta, a = indexed("δ", layer, j + 1), show(step.activations[layer][row, j])
            symbols = [
                f"{indexed('w', layer + 1, j + 1, k + 1)} {indexed('δ', layer + 1, k + 1)}"
                for k in ks
            ]
            values = [f"{factor(show(W[j, k]))} · {factor(show(above[k]))}" for k in ks]
            slope, error = show(step.slopes[layer - 1][row, j]), step.errors[layer - 1][row, j]
            slope_of = _with_offset(step, f"f′({indexed('z', layer, j + 1)})")
            put_in = _with_offset(step, ACTIVATIONS[name].notation.evaluated(a))
            yield Equations([
                (delta, f"({plus(symbols, n_out - WIDTH)}) · {slope_of}"),
                ("", f"({plus(values, n_out - WIDTH)}) · {put_in}"),
                ("", f"{factor(show(error))} · {_with_offset(step, slope)}"),
                ("", show(step.deltas[layer - 1][row, j])),
            ])  # fmt: skip
        yield Paragraph(
            f"f′ of {name.replace('_', ' ')} by its activation: "
            f"{ACTIVATIONS[name].notation.derivative}." + _others(network.sizes[layer])
        )


def _output_delta(step: Step, row: int, k: int, show: Show) -> list[tuple[str, str]]:
    network = step.problem.network
    last, name = len(step.Z), network.functions[-1]
    delta, a, y = indexed("δ", last, k + 1), indexed("a", last, k + 1), _target(k + 1)
    A, target = show(step.activations[-1][row, k]), factor(show(step.problem.Y[row, k]))
    result = show(step.deltas[-1][row, k])
    if network.loss == "cross_entropy":
        return [
            (delta, f"{a} − {y}  (∂E/∂a · f′(z), in which f′ cancels)"),
            ("", f"{A} − {target}"), ("", result),
        ]  # fmt: skip
    error = step.errors[-1][row]
    plain = network.error == "linear" and not network.dead_zone
    signal = f"({a} − {y})" if plain else f"e({a} − {y})"
    put_in = f"({A} − {target})" if plain else f"e({A} − {target})"
    if name == "softmax":
        terms = [
            f"{factor(show(error[m]))} · {show(step.activations[-1][row, m])}"
            for m in range(min(len(error), WIDTH))
        ]
        return [
            (delta, f"{a} · ({signal} − Σ (a − y) a)"),
            ("", f"{A} · ({put_in} − ({plus(terms, len(error) - WIDTH)}))"),
            ("", result),
        ]
    slope_of = _with_offset(step, f"f′({indexed('z', last, k + 1)})")
    return [
        (delta, f"{signal} · {slope_of}"),
        ("", f"{put_in} · {_with_offset(step, ACTIVATIONS[name].notation.evaluated(A))}"),
        ("", f"{factor(show(error[k]))} · "
             f"{_with_offset(step, show(step.slopes[-1][row, k]))}"),
        ("", result),
    ]  # fmt: skip


def _with_offset(step: Step, slope: str) -> str:
    offset = step.problem.network.offset
    return f"({slope} + {offset:g})" if offset else slope


def _gradient(step: Step, row: int, show: Show) -> Iterator[Block]:
    network = step.problem.network
    n_samples = len(step.rows)
    yield Heading(2, "6. Gradient")
    bias = "∂E/∂bⱼ = Σ δⱼ" if network.bias_input == 1.0 else (
        f"∂E/∂bⱼ = {show(network.bias_input)} · Σ δⱼ"
    )  # fmt: skip
    yield Paragraph(
        f"∂E/∂wᵢⱼ = Σ aᵢ δⱼ and {bias}, summed over the "
        f"{_count(n_samples, 'sample')}. Beside it the central difference "
        f"(E(w + h) − E(w − h)) / 2h, h = {H:.2g}, which knows nothing of the chain rule."
    )
    each = list(range(n_samples)) if n_samples <= WIDTH else [row]
    names = [f"sample {step.rows[n] + 1}" for n in each]
    rest = [f"the other {n_samples - 1}"] if n_samples > len(each) else []
    rows = []
    for index, symbol, terms in _parameters(step):
        gradient, numeric = step.gradient[index], central_difference(step, index)
        parts = [show(terms[n]) for n in each]
        others = [show(gradient - terms[row])] if rest else []
        rows.append((
            f"∂E/∂{symbol}", *parts, *others, show(gradient), show(numeric),
            f"{abs(gradient - numeric):.0e}",
        ))  # fmt: skip
    yield Table(("", *names, *rest, "gradient", "central difference", "apart"), rows)
    left = network.n_parameters - len(rows)
    if left:
        yield Paragraph(f"{_count(left, 'more parameter')} not shown.")
    changed = [
        text for used, text in (
            (network.offset, f"the derivative's offset {network.offset:g}"),
            (network.error != "linear", f"the {network.error} error"),
            (network.dead_zone, f"the dead zone {network.dead_zone:g}"),
        ) if used
    ]  # fmt: skip
    if changed:
        yield Paragraph(
            f"With {' and '.join(changed)}, what is followed is not the gradient of E: the two "
            "columns differ by intent."
        )


def _parameters(step: Step) -> Iterator[tuple[int, str, Array]]:
    """The parameters that are shown: place, symbol and each sample's part of the gradient."""
    network = step.problem.network
    places, biases = network.split(np.arange(network.n_parameters))  # type: ignore[arg-type]
    for layer, (W, b) in enumerate(zip(places, biases, strict=True), start=1):
        below, deltas = step.activations[layer - 1], step.deltas[layer - 1]
        for j in range(min(W.shape[1], WIDTH)):
            for i in range(min(W.shape[0], WIDTH)):
                symbol = indexed("w", layer, i + 1, j + 1)
                yield int(W[i, j]), symbol, below[:, i] * deltas[:, j]
            bias = network.bias_input * deltas[:, j]
            yield int(b[0, j]), indexed("b", layer, j + 1), bias


def _update(step: Step, show: Show) -> Iterator[Block]:
    config, rule = step.config, step.config.optimizer.name
    yield Heading(2, f"7. Update by {rule.replace('_', ' ')}")
    parameters = list(_parameters(step))
    last = len(step.Z)
    index, symbol, _ = next(p for p in parameters if p[1] == indexed("w", last, 1, 1))
    g = step.gradient + config.optimizer.weight_decay * step.before
    if config.optimizer.weight_decay:
        yield Paragraph(
            f"g is the gradient with weight decay: ∂E/∂w + {show(config.optimizer.weight_decay)} w."
        )
    if config.optimizer.by_fan_in:
        yield Paragraph("η is divided by the number of connections into the unit.")
    if step.rates.max() != config.lr and not config.optimizer.by_fan_in:
        yield Paragraph(f"In this epoch the schedule makes η = {show(step.rates[0])}.")
    yield Paragraph(f"For {symbol}:")
    old, new = step.slots
    optimizer = OPTIMIZERS[rule]
    numbers = UpdateNumbers(
        w=step.before[index],
        g=g[index],
        before=optimizer.state(*old[:, index].tolist()),
        after=optimizer.state(*new[:, index].tolist()),
        lr=step.rates[index],
        hyperparameters=optimizer.hyperparameters(*step.settings.tolist()),
        new_w=step.after[index],
    )
    yield Equations(optimizer.explain(numbers, show))
    slots = [i for i, name in enumerate(optimizer.initial_state) if name in optimizer.symbols]
    kept = tuple(optimizer.symbols.values())
    yield Table(
        ("", "before", "g", *(f"{name} then" for name in kept), "change", "after"),
        [
            (
                name, show(step.before[i]), show(g[i]),
                *(show(new[slot, i]) for slot in slots),
                show(step.after[i] - step.before[i]), show(step.after[i]),
            )
            for i, name, _ in parameters
        ],
    )  # fmt: skip
    if step.ending is not RunStatus.RUNNING:
        yield Paragraph(
            f"In the run itself {ENDINGS[step.ending]} at this forward pass, so that it ends "
            "here and this update is not made."
        )
    where = "loss" if step.n_batches == 1 else "loss of this batch"
    direction = "down" if step.loss_after < step.loss else "up"
    yield Paragraph(
        f"With the new weights the {where} goes {direction} from {show(step.loss)} to "
        f"{show(step.loss_after)}."
    )


def _target(k: int) -> str:
    return indexed("x", 0, k).replace("x", "y")


def _below(layer: int) -> str:
    return "x" if layer == 1 else indexed("a", layer - 1)


def _bias_input(step: Step) -> str:
    value = step.problem.network.bias_input
    return "" if value == 1.0 else f"{value:g} "


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _left_out(n: int, noun: str) -> str:
    return f" Of {n:,} {noun}s the first {WIDTH} are shown." if n > WIDTH else ""


def _others(n: int) -> str:
    return f" Likewise {_count(n - WIDTH, 'more unit')}." if n > WIDTH else ""
