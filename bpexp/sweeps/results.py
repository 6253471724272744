"""Collects the results of a sweep while it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from bpexp.runs.objective import Objective
from bpexp.runs.result import TrainResult
from bpexp.sweeps.job import Combination, Job, JobResult
from bpexp.sweeps.ranking import OrderKey, order_key, rank_runs, scores_of
from bpexp.sweeps.row import NO_CURVE, Row, row_of
from bpexp.typing import Array

MAX_CURVES = 500
"""Maximum number of loss curves in the plot of a sweep: those of the best runs."""
MAX_SHOWN_INPUTS = 64
"""Maximum number of input values of a data set whose predictions are printed."""


class StoredPredictions(Protocol):
    """Reads the predictions of runs that were not trained now, but stored already."""

    def predictions(self, job: Job) -> Array | None:
        """The predictions of a job's run, (n_samples, n_outputs); None if it has none."""


class _Predictions(NamedTuple):
    """Predictions of a run, (n_samples, n_outputs), and what it is ranked by."""

    order: OrderKey
    predictions: Array


class SweepResults:
    """Collects the rows of a sweep, with the loss curves of the best runs only.

    Attributes:
        objective: What runs are ranked by.
        rows: Rows by the index of their job.
    """

    def __init__(
        self,
        objective: Objective,
        rows: Mapping[int, Row] | None = None,
        stored: StoredPredictions | None = None,
    ) -> None:
        """Start with the rows of runs that are stored already, and what reads their predictions."""
        self.objective, self.rows = objective, dict(rows or {})
        self._stored = [] if stored is None else [stored]
        self._with_curve: list[Row] = []
        # The best combination is known only at the end: one run of each combination is kept.
        self._best_of_combination: dict[Combination, _Predictions] = {}

    def add(self, trained: Sequence[JobResult]) -> list[Row]:
        """Add the results of jobs and return their rows."""
        rows = [row_of(one, self.objective) for one in trained]
        self.rows |= {row.job.index: row for row in rows}
        self._keep_predictions(rows, trained)
        self._with_curve += rank_runs(rows, self.objective)
        if len(self._with_curve) > 2 * MAX_CURVES:
            best_first = rank_runs(self._with_curve, self.objective)
            dropped = best_first[MAX_CURVES:]
            self.rows |= {row.job.index: replace(row, curve=NO_CURVE) for row in dropped}
            self._with_curve = best_first[:MAX_CURVES]
        return rows

    def add_stored(self, results: "SweepResults") -> None:
        """Add the results of jobs whose runs are stored already."""
        self.rows |= results.rows
        self._stored += results._stored

    def _keep_predictions(self, rows: Sequence[Row], trained: Sequence[JobResult]) -> None:
        """Keep the predictions of the best run of each combination, if its data set is small."""
        scores = scores_of(rows, self.objective).tolist()
        for row, score, (job, result, *_) in zip(rows, scores, trained, strict=True):
            if not isinstance(result, TrainResult) or not shows_predictions(job):
                continue
            order = order_key(row, score)
            best = self._best_of_combination.get(job.combination_key)
            if best is None or order < best.order:
                # A copy: a view would keep the predictions of the whole batch in memory.
                kept = _Predictions(order, result.predictions.copy())
                self._best_of_combination[job.combination_key] = kept

    def predictions(self, row: Row) -> Array | None:
        """The predictions of the best run of a combination, (n_samples, n_outputs).

        None if its data set is too large to be printed, or if they cannot be read.
        """
        if not shows_predictions(row.job):
            return None
        for best in self._best_of_combination.values():
            if best.order.job_index == row.job.index:
                return best.predictions
        found = (stored.predictions(row.job) for stored in self._stored)
        return next((predictions for predictions in found if predictions is not None), None)

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Set the ids of tracked runs, which are given by the index of their job."""
        for index, run_id in run_ids.items():
            self.rows[index] = replace(self.rows[index], run_id=run_id)

    def in_order(self, jobs: Sequence[Job]) -> list[Row]:
        """All rows in the order of their jobs, with the names that the jobs have in the plan."""
        return [
            row if row.job is jobs[index] else replace(row, job=jobs[index])
            for index, row in sorted(self.rows.items())
        ]


def shows_predictions(job: Job) -> bool:
    """Whether the data set of a job is small enough to print its predictions."""
    return job.dataset.X.size <= MAX_SHOWN_INPUTS
