"""Decision surfaces: the outputs of trained networks over the plane of their two inputs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bpexp.analysis.findings import Findings, Summary, best_first, representative_runs
from bpexp.analysis.groups import SWEEP
from bpexp.analysis.words import number
from bpexp.config.schema import TrainConfig
from bpexp.data.dataset import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.runs.objective import Objective
from bpexp.runs.result import Outcome
from bpexp.tracking import artifact_files
from bpexp.tracking.ids import short
from bpexp.tracking.stored_results import layers_of
from bpexp.training.predictor import Predictor
from bpexp.training.run_batch import make_network
from bpexp.typing import Array

GRID = 120
"""Number of grid points along each input."""
CELL_GRID = 60
"""The same for a surface in a grid of surfaces."""
MAX_LEVELS = 6
"""Maximum number of values of a setting along a side of a grid of surfaces."""

ReadArtifact = Callable[[Any, str], bytes | None]
"""A function (row of a run, file name) -> content; None if the file does not exist."""
ReadData = Callable[[Any], tuple[TrainConfig, Dataset] | None]
"""A function (row of a run) -> configuration and data; None if the data are not its own."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The outputs of one run's network over the plane of its inputs.

    Attributes:
        title: The rank of the run and what it is ranked by.
        dataset: The data the run was trained on.
        x: Values of the first input, (n_points,).
        y: Values of the second input, (n_points,).
        Z: The output, (n_points, n_points), rows along the second input. For several outputs, the
            index of the largest one.
    """

    title: str
    dataset: Dataset
    x: Array
    y: Array
    Z: Array


@dataclass(frozen=True, eq=False)
class SurfaceGrid:
    """The surfaces of the best runs with each combination of the values of two settings.

    Attributes:
        label: What the titles of the surfaces are the values of.
        keys: The settings: rows, columns.
        levels: The values that are drawn of each of them, ascending.
        n_levels: How many values each of them has.
        cells: A surface by its row and column; a combination without a run has none.
        best: Row and column of the best group.
        others: Other settings that vary, with the value that all cells have: that of the best
            group.
    """

    label: str
    keys: tuple[str, str]
    levels: tuple[Sequence[str], Sequence[str]]
    n_levels: tuple[int, int]
    cells: Mapping[tuple[int, int], Surface]
    best: tuple[int, int]
    others: Mapping[str, str]


def surfaces(findings: Findings, read_artifact: ReadArtifact, read_data: ReadData) -> list[Surface]:
    """Compute the surfaces of the best, the median and the worst run that did not diverge.

    Args:
        findings: The ranked groups.
        read_artifact: Reads an artifact of a run.
        read_data: Reads the configuration and the data of a run.

    Returns:
        One surface per run. Runs are left out if their data do not have exactly two inputs, or if
        their data or artifacts are missing or have changed.

    Raises:
        ConfigError: A weights.npz is damaged.
    """
    computed = [
        _surface(_title(rank, row, findings), row, read_artifact, read_data, GRID)
        for rank, row in representative_runs(findings)
    ]
    return [surface for surface in computed if surface is not None]


def surface_grid(
    findings: Findings, read_artifact: ReadArtifact, read_data: ReadData
) -> SurfaceGrid | None:
    """Compute the surface of the best run with each combination of two settings.

    Args:
        findings: The ranked groups.
        read_artifact: Reads an artifact of a run.
        read_data: Reads the configuration and the data of a run.

    Returns:
        The grid over the first two settings that vary where all others are as in the best group;
        None if there are no two, if the values were not combined with each other, as in a zip, or
        if the data do not have two inputs.

    Raises:
        ConfigError: A weights.npz is damaged.
    """
    if not findings.has_scores:
        return None
    best = findings.summaries[0].group.settings
    keys = [key for key in best if key != SWEEP and _varies(findings, key)][:2]
    if len(keys) < 2:
        return None
    others = {key: value for key, value in best.items() if key not in keys}
    inside = [s for s in findings.summaries if others.items() <= s.group.settings.items()]
    y_key, x_key = keys
    ys, xs = _levels(findings, inside, y_key), _levels(findings, inside, x_key)
    drawn = {
        (ys.index(s.group.settings[y_key]), xs.index(s.group.settings[x_key])): s
        for s in inside
        if s.group.settings[y_key] in ys and s.group.settings[x_key] in xs
    }
    rows, columns = (Counter(place[axis] for place in drawn) for axis in (0, 1))
    if max(rows.values()) < 2 or max(columns.values()) < 2:
        return None
    cells: dict[tuple[int, int], Surface] = {}
    for place, summary in drawn.items():
        found = _surface_of_best(findings, summary, read_artifact, read_data)
        if found is not None:
            cells[place] = found
        elif not cells:
            # The best group comes first: its data do not have two inputs, or it has no weights.
            return None
    n_ys, n_xs = (len({s.group.settings[key] for s in inside}) for key in keys)
    return SurfaceGrid(
        findings.objective.label, (y_key, x_key), (ys, xs), (n_ys, n_xs), cells,
        (ys.index(best[y_key]), xs.index(best[x_key])), others,
    )  # fmt: skip


def _varies(findings: Findings, key: str) -> bool:
    """Whether a setting has several values where all other settings are as in the best group."""
    best = findings.summaries[0].group.settings
    others = {name: value for name, value in best.items() if name != key}
    return sum(others.items() <= s.group.settings.items() for s in findings.summaries) > 1


def _levels(findings: Findings, summaries: Sequence[Summary], key: str) -> list[str]:
    """The values of a setting, or some of them with the first, the last and the best one."""
    present = {summary.group.settings[key] for summary in summaries}
    found = [value for value in findings.grouped.varying[key] if value in present]
    if len(found) <= MAX_LEVELS:
        return found
    best = found.index(findings.summaries[0].group.settings[key])
    places = np.linspace(0, len(found) - 1, MAX_LEVELS).round().astype(int)
    if best not in places:
        inner = places[1:-1]
        inner[np.argmin(abs(inner - best))] = best
    return [found[place] for place in sorted(places)]


def _surface_of_best(
    findings: Findings, summary: Summary, read_artifact: ReadArtifact, read_data: ReadData
) -> Surface | None:
    """The surface of the best run of a group, which the ranking names."""
    for row_index in best_first([summary.group], findings.objective)[:1]:
        row = summary.group.table.frame.iloc[row_index]
        title = _value(findings.objective, row)
        return _surface(title, row, read_artifact, read_data, CELL_GRID)
    return None


def _value(objective: Objective, row: "pd.Series[Any]") -> str:
    """The value that the run is ranked by."""
    if objective.is_time and row["outcome"] != Outcome.CONVERGED.value:
        return "not converged"
    return number(float(row[objective.metric]))


def _title(rank: str, row: "pd.Series[Any]", findings: Findings) -> str:
    """The rank of the run, and what it is ranked by with its value."""
    value = _value(findings.objective, row)
    result = value if value == "not converged" else f"{findings.objective.label} {value}"
    return f"{rank} run, {result}"


def _surface(
    title: str,
    row: "pd.Series[Any]",
    read_artifact: ReadArtifact,
    read_data: ReadData,
    n_points: int,
) -> Surface | None:
    """Compute the surface of one run.

    Args:
        title: Its title.
        row: The row of the run in the table.
        read_artifact: Reads an artifact of the run.
        read_data: Reads its configuration and data.
        n_points: Number of grid points along each input.

    Returns:
        The surface; None as in ``surfaces``.

    Raises:
        ConfigError: The weights.npz is damaged.
    """
    found = read_data(row)
    if found is None or found[1].X.shape[1] != 2:
        return None
    config, dataset = found
    weights = read_artifact(row, "weights.npz")
    if weights is None:
        return None
    arrays = artifact_files.arrays(weights, f"weights.npz of run {short(row['run_id'])}")
    try:
        layers = layers_of(make_network(config, dataset), arrays)
    except ConfigError:
        # Those of another network.
        return None
    x, y = (_axis(dataset.X[:, column], n_points) for column in (0, 1))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    outputs = Predictor(config, dataset, *layers).outputs_of_inputs(points)
    Z = outputs[:, 0] if outputs.shape[1] == 1 else outputs.argmax(axis=1).astype(float)
    return Surface(title=title, dataset=dataset, x=x, y=y, Z=Z.reshape(n_points, n_points))


def _axis(values: Array, n_points: int) -> Array:
    """Grid points over the range of an input with a margin of a quarter on each side."""
    margin = 0.25 * (values.max() - values.min())
    return np.linspace(values.min() - margin, values.max() + margin, n_points)
