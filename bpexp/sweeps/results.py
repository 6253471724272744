"""The results of a sweep while it runs: a row for each job, and loss curves of the best runs.

``rank`` orders rows; ``SweepResults`` collects them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bpexp.runs import metrics
from bpexp.runs.result import Failure, Outcome, TrainResult
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import logged_epochs
from bpexp.typing import Array

MAX_CURVES = 500
"""Maximum number of loss curves in the plot of a sweep: those of the best runs."""
CURVE_POINTS = 100
"""Maximum number of points of such a curve."""

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

    @property
    def final_loss(self) -> float | None:
        """The metric ``final_loss``, if the run has it."""
        return self.metrics.get("final_loss")


def row_of(trained: JobResult) -> Row:
    """The row of a job that has been trained."""
    job, result = trained
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


def rank(rows: Iterable[Row]) -> list[Row]:
    """Rows by final loss, the lowest first, without failed and diverged runs."""
    ranked = [r for r in rows if r.final_loss is not None and r.outcome != Outcome.DIVERGED]
    return sorted(ranked, key=lambda row: (row.final_loss, row.job.index))


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The metrics in tables that at least one row has, in the order of the table of metrics."""
    shown = [name for name, metric in metrics.METRICS.items() if metric.in_tables]
    return [name for name in shown if any(name in row.metrics for row in rows)]


class SweepResults:
    """Collects the rows of a sweep, with the loss curves of the best runs only.

    Attributes:
        rows: Rows by the index of their job.
        predictions: The predictions of the best run, (n_samples, n_outputs).
    """

    def __init__(
        self, rows: Mapping[int, Row] | None = None, predictions: Array | None = None
    ) -> None:
        """Start with runs that are stored already: their rows, and the best run's predictions."""
        self.rows, self.predictions = dict(rows or {}), predictions
        self._best: list[Row] = rank(self.rows.values())[:1]
        self._with_curve: list[Row] = []

    def add(self, trained: Sequence[JobResult]) -> list[Row]:
        """Add the results of jobs and return their rows."""
        rows = [row_of(one) for one in trained]
        self.rows |= {row.job.index: row for row in rows}
        ranked = rank(rows)
        best = rank([*self._best, *ranked[:1]])[:1]
        if best != self._best:
            self._best, self.predictions = best, _predictions(trained, best[0].job.index)
        self._with_curve += ranked
        if len(self._with_curve) > 2 * MAX_CURVES:
            best_first = rank(self._with_curve)
            dropped = best_first[MAX_CURVES:]
            self.rows |= {row.job.index: replace(row, curve=NO_CURVE) for row in dropped}
            self._with_curve = best_first[:MAX_CURVES]
        return rows

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Set the ids of tracked runs, which are given by the index of their job."""
        for index, run_id in run_ids.items():
            self.rows[index] = replace(self.rows[index], run_id=run_id)

    def in_order(self) -> list[Row]:
        """All rows in the order of their jobs."""
        return [self.rows[index] for index in sorted(self.rows)]


def _predictions(trained: Sequence[JobResult], index: int) -> Array | None:
    """A copy of the predictions of one run: a view would keep those of the batch in memory."""
    for job, result in trained:
        if job.index == index and isinstance(result, TrainResult):
            return result.predictions.copy()
    return None
