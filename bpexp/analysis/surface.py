"""Decision surfaces: the outputs of trained networks over the plane of their two inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bpexp.analysis.findings import Findings, representative_runs
from bpexp.config.schema import parse_train
from bpexp.data import load
from bpexp.data.dataset import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.runs.objective import Objective
from bpexp.runs.result import Outcome
from bpexp.tracking import artifact_files
from bpexp.tracking.stored_results import layers_of
from bpexp.training.predictor import Predictor
from bpexp.training.run_batch import make_network
from bpexp.typing import Array

GRID = 120
"""Number of grid points along each input."""

ReadArtifact = Callable[[Any, str], bytes | None]
"""A function (row of a run, file name) -> content; None if the file does not exist."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The outputs of one run's network over the plane of its inputs.

    Attributes:
        title: The rank of the run and what it is ranked by.
        dataset: The data the run was trained on.
        x: Values of the first input, (GRID,).
        y: Values of the second input, (GRID,).
        Z: The output, (GRID, GRID), rows along the second input. For several outputs, the
            index of the largest one.
    """

    title: str
    dataset: Dataset
    x: Array
    y: Array
    Z: Array


def surfaces(findings: Findings, read_artifact: ReadArtifact) -> list[Surface]:
    """Compute the surfaces of the best, the median and the worst run that did not diverge.

    Args:
        findings: The ranked groups.
        read_artifact: Reads an artifact of a run.

    Returns:
        One surface per run. Runs are left out if their data do not have exactly two inputs, if
        their data or artifacts are missing, or if the weights do not fit the data.

    Raises:
        ConfigError: A weights.npz is damaged.
    """
    computed = [
        _surface(f"{rank} run, {_result(findings.measure, row)}", row, read_artifact)
        for rank, row in representative_runs(findings)
    ]
    return [surface for surface in computed if surface is not None]


def _result(measure: Objective, row: "pd.Series[Any]") -> str:
    """What the run is ranked by."""
    if measure.is_time and row["outcome"] != Outcome.CONVERGED.value:
        return "not converged"
    return f"{measure.label} {float(row[measure.metric]):.3g}"


def _surface(title: str, row: "pd.Series[Any]", read_artifact: ReadArtifact) -> Surface | None:
    content = read_artifact(row, "config.yaml")
    if content is None:
        return None
    try:
        config = parse_train(artifact_files.mapping(content, "config.yaml"))
        dataset = load(config.data)
    except ConfigError:
        return None
    if dataset.X.shape[1] != 2:
        return None
    weights = read_artifact(row, "weights.npz")
    if weights is None:
        return None
    arrays = artifact_files.arrays(weights, f"weights.npz of run {row['run_id'][:8]}")
    try:
        layers = layers_of(make_network(config, dataset), arrays)
    except ConfigError:
        # The data have changed since the run was trained.
        return None
    x, y = (_axis(dataset.X[:, column]) for column in (0, 1))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    outputs = Predictor(config, dataset, *layers).outputs_of_inputs(points)
    Z = outputs[:, 0] if outputs.shape[1] == 1 else outputs.argmax(axis=1).astype(float)
    return Surface(title=title, dataset=dataset, x=x, y=y, Z=Z.reshape(GRID, GRID))


def _axis(values: Array) -> Array:
    """Grid points over the range of an input with a margin of a quarter on each side."""
    margin = 0.25 * (values.max() - values.min())
    return np.linspace(values.min() - margin, values.max() + margin, GRID)
