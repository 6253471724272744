"""One line of a sweep's table of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bpexp.runs import metrics
from bpexp.runs.result import Failure, Outcome
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import logged_epochs
from bpexp.typing import Array

CURVE_POINTS = 100
"""Maximum number of points of a loss curve."""

Curve = tuple[Sequence[int], Array]
"""Epochs, counted from 1, and the training losses in them."""
NO_CURVE: Curve = ((), np.empty(0))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sweep's table of results.

    Attributes:
        job: The job.
        outcome: An ``Outcome``, or "failed" or "interrupted".
        reason: Why the run failed or diverged.
        metrics: Values by metric name; empty for a run without a result.
        curve: Some points of the loss curve; empty if the run is not one of the best.
        run_id: The id of the tracked run; "" while it is not tracked.
    """

    job: Job
    outcome: str
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = NO_CURVE
    run_id: str = ""


def row_of(trained: JobResult) -> Row:
    """The row of a job that has been trained."""
    job, result = trained.job, trained.result
    if isinstance(result, Failure):
        return Row(job, "interrupted" if result.interrupted else "failed", result.reason)
    return Row(
        job,
        result.outcome.value,
        reason_of(result.outcome, result.epochs_run),
        result.metrics,
        curve_of(result.losses),
    )


def reason_of(outcome: str, epochs_run: float) -> str:
    """Why a run diverged; "" for another outcome."""
    return f"not finite at epoch {int(epochs_run)}" if outcome == Outcome.DIVERGED else ""


def curve_of(losses: Array) -> Curve:
    """At most ``CURVE_POINTS`` points of the losses of all epochs, (epochs_run,)."""
    epochs = logged_epochs(len(losses), CURVE_POINTS)
    return epochs, losses[np.subtract(epochs, 1)]


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The metrics in tables that at least one row has, in the order of the table of metrics."""
    shown = [name for name, metric in metrics.METRICS.items() if metric.in_tables]
    return [name for name in shown if any(name in row.metrics for row in rows)]
