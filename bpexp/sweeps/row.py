"""One line of a sweep's table of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bpexp.runs import metrics
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective
from bpexp.runs.result import Failure, Outcome, Validation
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import logged_epochs
from bpexp.typing import Array

CURVE_POINTS = 100
"""Maximum number of points of a loss curve."""

Curve = tuple[Sequence[int], Array]
"""Epochs, counted from 1, and the training or validation losses in them."""
NO_CURVE: Curve = ((), np.empty(0))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sweep's table of results.

    Attributes:
        job: The job.
        outcome: The value of an ``Outcome``, or of a ``NoResult``.
        reason: Why the run failed or diverged.
        metrics: Values by metric name; empty for a run without a result.
        curve: Some points of the curve of the loss, on the validation rows if these are what runs
            are compared by; empty if the run is not one of the best.
        run_id: The id of the tracked run; "" while it is not tracked.
    """

    job: Job
    outcome: str
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = NO_CURVE
    run_id: str = ""


def row_of(trained: JobResult, objective: Objective | None = None) -> Row:
    """The row of a job that has been trained, with the curve of the rows that decide.

    A diverged run has no curve.

    Args:
        trained: The job and its result.
        objective: What runs are compared by; None for the curve of the training rows.
    """
    job, result = trained.job, trained.result
    if isinstance(result, Failure):
        return Row(job, result.outcome.value, result.reason)
    curve = curve_of(result.losses)
    if result.outcome is Outcome.DIVERGED:
        # It is never one of the best, and its losses need not stay in memory.
        curve = NO_CURVE
    elif objective is not None and shows_validation(objective):
        curve = NO_CURVE if result.validation is None else validation_curve(result.validation)
    reason = reason_of(result.outcome, result.epochs_run)
    return Row(job, result.outcome.value, reason, result.metrics, curve)


def shows_validation(objective: Objective) -> bool:
    """Whether rows have the curve of the validation loss: if validation rows decide."""
    return objective.split is Split.VALIDATION


def reason_of(outcome: str, epochs_run: float) -> str:
    """Why a run diverged; "" for another outcome."""
    return f"not finite at epoch {int(epochs_run)}" if outcome == Outcome.DIVERGED else ""


def curve_of(losses: Array) -> Curve:
    """At most ``CURVE_POINTS`` points of the losses of all epochs, (epochs_run,)."""
    epochs = logged_epochs(len(losses), CURVE_POINTS)
    return epochs, losses[np.subtract(epochs, 1)]


def validation_curve(validation: Validation) -> Curve:
    """At most ``CURVE_POINTS`` points of the validation losses of a run."""
    chosen = np.subtract(logged_epochs(len(validation.epochs), CURVE_POINTS), 1)
    return validation.epochs[chosen].tolist(), validation.losses[chosen]


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The metrics in tables that at least one row has, in the order of the table of metrics."""
    shown = [name for name, metric in metrics.METRICS.items() if metric.in_tables]
    return [name for name in shown if any(name in row.metrics for row in rows)]
