"""Sections 1 and 2 of the document: the network with its weights, and the data."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from bpexp.config.schema import TrainConfig, flatten
from bpexp.data.dataset import Dataset
from bpexp.data.target_scaling import UNSCALED
from bpexp.explain.symbols import indexed
from bpexp.explain.view import MAX_SAMPLES, MAX_UNITS, View, count, layer_input, spoken, target
from bpexp.nn.activations import ACTIVATIONS
from bpexp.render.document import Block, Heading, NetworkDiagram, Paragraph, Table
from bpexp.runs.variation import DRAWS
from bpexp.typing import Array

MAX_DIAGRAM_LAYERS = 4
"""Networks with more layers than this, the inputs included, have no diagram."""


def network(view: View) -> Iterator[Block]:
    """The title, the layers and the weights before the step."""
    step, network, show = view.step, view.network, view.show
    config = step.config
    sizes = "-".join(map(str, network.sizes))
    yield Heading(1, f"One step of backpropagation: {config.data.name} on a {sizes} network")
    yield Paragraph(
        f"Epoch {step.epoch} of {config.epochs}, seed {config.seed}{_own_seeds(config)}, "
        "learning rate "
        f"η = {show(config.lr)}, optimizer {spoken(config.optimizer.name)}. "
        "All numbers are those of the training engine, rounded only for printing."
    )
    yield Heading(2, "1. The network")
    yield Table(("layer", "units", "sum", "activation", "f(z)"), [
        (
            str(layer), count(n_out, f"{spoken(name)} unit"),
            f"z = Wᵀ {layer_input(layer)} + {view.bias_factor}b",
            f"a = {ACTIVATIONS[name].notation.symbol}(z)",
            ACTIVATIONS[name].notation.formula,
        )
        for layer, ((_, n_out), name) in enumerate(
            zip(pairwise(network.sizes), network.activation_names, strict=True), start=1
        )
    ])  # fmt: skip
    is_wide = max(network.sizes) > MAX_UNITS
    if not is_wide and len(network.sizes) <= MAX_DIAGRAM_LAYERS:
        yield _diagram(view)
    state = (
        "Initial weights" if step.epoch == 1
        else f"Weights after {count(step.epoch - 1, 'epoch')}"
    )  # fmt: skip
    yield Paragraph(
        f"{state}; wᵢⱼ leads from unit i of the layer below to unit j."
        + (f" Of each layer the first {MAX_UNITS} units are shown." if is_wide else "")
    )
    weights, biases = network.split(step.before)
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        yield _weights(view, layer, W, b)


def _own_seeds(config: TrainConfig) -> str:
    """The sources of randomness that have a seed of their own."""
    settings = flatten(asdict(config))
    seeds = {of: settings.get(key) for key, of in DRAWS.items()}
    return "".join(f", seed of the {of} {seed}" for of, seed in seeds.items() if seed is not None)


def _weights(view: View, layer: int, W: Array, b: Array) -> Table:
    columns = range(min(W.shape[1], MAX_UNITS))
    header = (
        f"{indexed('W', layer)} from", *(f"to {indexed('a', layer, j + 1)}" for j in columns)
    )  # fmt: skip
    rows = [
        (indexed("a", layer - 1, i + 1), *(view.show(W[i, j]) for j in columns))
        for i in range(min(W.shape[0], MAX_UNITS))
    ]
    rows.append((f"bias {indexed('b', layer)}", *(view.show(b[0, j]) for j in columns)))
    return Table(header, rows)


def _diagram(view: View) -> NetworkDiagram:
    network = view.network
    weights, _ = network.split(view.step.before)
    names = ("input", *map(spoken, network.activation_names))
    return NetworkDiagram(
        [
            [(indexed("a", layer, i + 1), name) for i in range(n)]
            for layer, (n, name) in enumerate(zip(network.sizes, names, strict=True))
        ],
        [[[(float(w), view.show(w)) for w in row] for row in W] for W in weights],
    )


def data(view: View, dataset: Dataset) -> Iterator[Block]:
    """The samples of the batch, with the outputs and losses before the step."""
    step, show = view.step, view.show
    X, Y, A = step.problem.X, step.problem.Y, step.forward.activations[-1]
    yield Heading(2, "2. The data")
    if step.n_mini_batches > 1:
        batch = (
            f"The first of {step.n_mini_batches} batches of this epoch: "
            f"{len(X)} of {len(dataset.X)} samples, in the epoch's seeded order."
        )
    else:
        batch = f"All {len(X)} samples at once, with the current output of the network."
    yield Paragraph(
        batch + _first_shown(X.shape[1], "input") + _first_shown(Y.shape[1], "output")
        + (" Inputs are standardized." if step.config.data.standardize else "")
        + (_SCALED if dataset.scaling_for(step.config.model.output) is not UNSCALED else "")
    )  # fmt: skip
    n_in, n_out = min(X.shape[1], MAX_UNITS), min(Y.shape[1], MAX_UNITS)
    inputs = [indexed("x", 0, i + 1) for i in range(n_in)]
    targets = [target(k + 1) for k in range(n_out)]
    names = [
        f"{symbol} is {name}"
        for letter, symbols, columns in (
            ("x", inputs, dataset.inputs[:n_in]), ("y", targets, dataset.targets[:n_out]),
        )
        for number, (symbol, name) in enumerate(zip(symbols, columns, strict=True), start=1)
        if name != f"{letter}{number}"
    ]  # fmt: skip
    if names:
        yield Paragraph(f"{'; '.join(names)}.")
    outputs = [indexed("a", len(step.forward.Z), k + 1) for k in range(n_out)]
    listed = sorted({*range(min(len(X), MAX_SAMPLES)), view.row})
    yield Table(
        ("sample", *inputs, *targets, *outputs, "loss"),
        [
            (
                f"{step.rows[n] + 1}{' ←' if n == view.row else ''}",
                *(show(v) for v in (*X[n, :n_in], *Y[n, :n_out], *A[n, :n_out])),
                show(step.forward.losses[n]),
            )
            for n in listed
        ],
    )
    n_hidden = len(X) - len(listed)
    has_largest_loss = view.row == int(np.argmax(step.forward.losses))
    yield Paragraph(
        f"Sample {view.sample} is followed below"
        + (", the one with the largest loss" if has_largest_loss else "")
        + (f"; {count(n_hidden, 'more sample')} not shown." if n_hidden else ".")
    )


_SCALED = (
    " Targets are scaled to mean 0 and deviation 1, and outputs and losses are those of scaled "
    "targets."
)


def _first_shown(n: int, noun: str) -> str:
    return f" Of {n:,} {noun}s the first {MAX_UNITS} are shown." if n > MAX_UNITS else ""
