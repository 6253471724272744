"""Compares the metrics and the logged curves of stored runs with their results."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bpexp.runs import record_digests, run_tags
from bpexp.runs.metrics import METRICS
from bpexp.runs.result import TrainResult, Validation
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import Point, StoredRun, restored
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

_REQUIRED = ("final_loss", "epochs_run")
"""Metrics that every finished run has."""


def problems(run: StoredRun, result: TrainResult, curves: Curves) -> list[str]:
    """How the metrics of a run contradict its result.

    Args:
        run: The run. A metric that was added to bpexp later may be missing in the store.
        result: Its result.
        curves: Its logged curves, which are compared with the losses of the result.
    """
    found = altered_metrics(run, result.metrics)
    return [
        *(found or _missing_or_added(run, result.metrics)),
        *curve_problems(run, result.losses, result.validation, curves),
    ]


def _missing_or_added(run: StoredRun, expected: Mapping[str, float]) -> list[str]:
    """Which metrics were deleted or added, if those that are stored do not match their digest."""
    recorded = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
    digest = recorded.get(record_digests.METRICS_KEY)
    if digest in (None, record_digests.of_metrics(run.tags, run.metrics)):
        return []
    own = [name for name in METRICS if name in run.metrics]
    added = [name for name in own if name not in expected]
    lacking = [name for name in expected if name not in run.metrics]
    return [f"The metric {name} was added: the result has none." for name in added] + [
        f"The metric {name} is missing." for name in lacking
    ]


def curve_problems(
    run: StoredRun, losses: Array, validation: Validation | None, curves: Curves
) -> list[str]:
    """How the logged curves of a run contradict its losses."""
    originals = {"loss": Validation(np.arange(1, len(losses) + 1), losses)}
    if validation is not None:
        originals["validation_loss"] = validation
    return [
        sentence
        for name, original in originals.items()
        if name in run.metrics
        for sentence in _curve_problem(name, run.metrics[name], curves.get(name, ()), original)
    ]


def _curve_problem(
    name: str, latest: object, points: Sequence[Point], original: Validation
) -> list[str]:
    """How a logged curve contradicts the original one; the first difference.

    Args:
        name: The metric.
        latest: Its last value in the store.
        points: The logged points.
        original: Epochs, in ascending order, and losses.
    """
    epochs, losses = original
    if not _is_stored_as(latest, float(losses[-1])):
        return [_altered_metric(name, latest, float(losses[-1]))]
    # Somebody may have written text to a column of SQLite.
    steps = [point.step if isinstance(point.step, int) else 0 for point in points]
    places = np.minimum(np.searchsorted(epochs, steps), len(epochs) - 1)
    expected = zip(epochs[places].tolist(), losses[places].tolist(), strict=True)
    for point, (epoch, loss) in zip(points, expected, strict=True):
        if point.step != epoch:
            return [f"The metric {name} has a value at step {point.step}, which the run lacks."]
        # Most are equal: the comparison with a rule for each kind of value takes longer.
        if point.value != loss and not _is_stored_as(point.value, loss):
            return [_altered_metric(f"{name} at step {epoch}", point.value, loss)]
    return []


def altered_metrics(run: StoredRun, expected: Mapping[str, float]) -> list[str]:
    """A sentence for each metric that is required and missing, or has not the expected value."""
    missing = [name for name in _REQUIRED if name not in run.metrics]
    return [f"The metric {name} is missing." for name in missing] + [
        _altered_metric(name, run.metrics[name], value)
        for name, value in expected.items()
        if name in run.metrics and not _is_stored_as(run.metrics[name], value)
    ]


def _altered_metric(name: str, stored: object, expected: float) -> str:
    return f"The metric {name} was altered: it is {stored!r}, but the result has {expected!r}."


def _is_stored_as(stored: object, value: float) -> bool:
    """Whether MLflow stores ``value`` like this."""
    if not isinstance(stored, int | float):
        return False
    if math.isnan(value):
        return math.isnan(stored)
    # A value that was too large for a float is stored as an infinite one.
    return restored(stored) == restored(value)


class ComparedTable:
    """A table of results, to be compared with the metrics of the runs that it lists."""

    def __init__(self, table: "pd.DataFrame") -> None:
        """Prepare the comparison; the table has a row per run with ``run_id`` and metrics."""
        self._rows = {run_id: row for row, run_id in enumerate(table["run_id"])}
        self._columns = {name: table[name].to_numpy("float64", na_value=np.nan) for name in METRICS}

    def problem_of(self, run: StoredRun) -> str:
        """The first metric that differs, without a full stop; "" if none does, or without a row."""
        row = self._rows.get(run.run_id)
        if row is None:
            return ""
        for name, metric in run.metrics.items():
            if name not in self._columns:
                continue
            value = float(self._columns[name][row])
            # Most are equal: the comparison with a rule for each kind of value takes longer.
            if metric != value and not _is_stored_as(metric, value):
                return (
                    f"{name} of {run.label} is {value!r} in the table, and {metric!r} as a metric"
                )
        return ""
