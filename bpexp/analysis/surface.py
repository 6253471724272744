"""What a trained network answers over the plane of its two inputs."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bpexp.analysis.findings import Findings, exemplars
from bpexp.config.schema import TrainConfig, parse_train
from bpexp.data import load
from bpexp.data.dataset import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import NATIVE
from bpexp.nn.mlp import forward
from bpexp.nn.network import Network
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

GRID = 120
"""Points along each side of the plane."""

ReadArtifact = Callable[[Any, str], bytes | None]
"""(row of a run, file name) -> its content."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Outputs over the plane of a run: (GRID, GRID), rows along the second input.

    With several outputs ``Z`` is the number of the largest one.
    """

    title: str
    dataset: Dataset
    x: Array
    y: Array
    Z: Array


def surfaces(findings: Findings, read: ReadArtifact) -> list[Surface]:
    """Those of the best, the median and the worst run that did not diverge.

    None for data of more or fewer than two inputs, or whose files are not there any more.
    """
    found = [_surface(title, row, read) for title, row in exemplars(findings)]
    return [surface for surface in found if surface is not None]


def _surface(title: str, row: "pd.Series[Any]", read: ReadArtifact) -> Surface | None:
    config, weights = read(row, "config.yaml"), read(row, "weights.npz")
    if config is None or weights is None:
        return None
    try:
        settings = parse_train(yaml.safe_load(config))
        dataset = load(settings.data)
    except ConfigError:
        return None
    if dataset.X.shape[1] != 2:
        return None
    layers = _layers(weights)
    x, y = (_range(dataset.X[:, column]) for column in (0, 1))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    outputs = _outputs(points, *layers, settings)
    Z = outputs[:, 0] if outputs.shape[1] == 1 else outputs.argmax(axis=1).astype(float)
    loss = f"{float(row['final_loss']):.3g}"
    return Surface(f"{title} run, loss {loss}", dataset, x, y, Z.reshape(GRID, GRID))


def _range(values: Array) -> Array:
    margin = 0.25 * (values.max() - values.min())
    return np.linspace(values.min() - margin, values.max() + margin, GRID)


def _layers(weights: bytes) -> tuple[list[Array], list[Array]]:
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        numbers = range(1, sum(name.startswith("W") for name in arrays.files) + 1)
        return [arrays[f"W{i}"] for i in numbers], [arrays[f"b{i}"] for i in numbers]


def _outputs(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], config: TrainConfig
) -> Array:
    model = config.model
    sizes = (X.shape[1], *(W.shape[1] for W in weights))
    functions = (*(model.activation for _ in config.hidden), model.output)
    network = Network(sizes, functions, model.loss, bias_input=model.bias_input)
    # A picture needs no exact bits.
    return forward(network, X, weights, biases, NATIVE)[0][-1]
