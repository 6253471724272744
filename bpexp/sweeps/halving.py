"""Successive halving: chooses the combinations of a generation that are trained further."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bpexp.config.schema import SearchConfig
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.sweeps.job import Job, by_combination
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.ranking import scores_of, scores_to_tell
from bpexp.sweeps.row import Row
from bpexp.sweeps.rungs import Rung, brackets, n_kept, rung_epochs


class HalvedGeneration:
    """The combinations of a generation that go on, and when they are judged.

    Attributes:
        epochs: The epochs after which combinations are judged, in this order.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        settings: SearchConfig,
        objective: Objective,
        known: Sequence[Rung] = (),
    ) -> None:
        """Start with all combinations.

        Args:
            jobs: All jobs of the generation.
            settings: The settings of successive halving.
            objective: What combinations are judged by.
            known: Rungs that are not judged again.
        """
        longest = max(job.config.epochs for job in jobs)
        self.epochs = rung_epochs(settings, longest)
        self._settings, self._objective = settings, objective
        self._known = {rung.key: rung for rung in known}
        self._brackets = brackets(jobs, settings, longest)

    def jobs_to_judge(self, epoch: int) -> list[Job]:
        """The jobs that are to be trained for so many epochs: those whose rung is not known."""
        judged = self._judged_brackets(epoch)
        return [job for jobs in judged if self._known_rung(jobs, epoch) is None for job in jobs]

    def judge(self, epoch: int, rows: Mapping[int, Row]) -> list[Rung]:
        """Judge the brackets that are due; the combinations that are not kept leave.

        Args:
            epoch: One of ``epochs``.
            rows: The rows of ``jobs_to_judge`` after that epoch, by index.

        Returns:
            The rung of each bracket.
        """
        found = [
            self._known_rung(jobs, epoch)
            or judge(jobs, rows, epoch, self._objective, self._settings)
            for jobs in self._judged_brackets(epoch)
        ]
        out = {index for rung in found for index in rung.scores.keys() - rung.kept}
        self._brackets = [[job for job in jobs if job.index not in out] for jobs in self._brackets]
        return found

    def _judged_brackets(self, epoch: int) -> list[list[Job]]:
        """The brackets that are judged after an epoch: each starts one rung after the last."""
        started = self._brackets[: self.epochs.index(epoch) + 1]
        return [jobs for jobs in started if len(by_combination(jobs)) > 1]

    def _known_rung(self, jobs: Sequence[Job], epoch: int) -> Rung | None:
        return self._known.get((epoch, frozenset(job.index for job in jobs)))


def scores_told(jobs: Sequence[Job], rows: Mapping[int, Row], plan: Plan) -> list[float | None]:
    """The score of each of some trained jobs, see ``Sampler.tell``.

    That of a pruned job is the one that it was pruned by, also after it was trained to its end.

    Args:
        jobs: The jobs.
        rows: The rows of jobs by index.
        plan: The plan, with its rungs.
    """
    pruned = {index: rung.scores[index] for rung in plan.rungs for index in rung.pruned}
    scores = scores_to_tell([rows[job.index] for job in jobs], plan.objective)
    return [pruned.get(job.index, score) for job, score in zip(jobs, scores, strict=True)]


def judge(
    jobs: Sequence[Job],
    rows: Mapping[int, Row],
    epoch: int,
    objective: Objective,
    settings: SearchConfig,
) -> Rung:
    """Choose the combinations that go on.

    Args:
        jobs: The jobs of the combinations.
        rows: Their rows after ``epoch`` epochs.
        epoch: The epoch.
        objective: Ranks the combinations, see ``Objective.ranking_key``. Equal ones, as before any
            run has converged, are ranked by their final losses.
        settings: The settings of successive halving.
    """
    told = scores_to_tell([rows[job.index] for job in jobs], objective)
    scores = {
        job.index: math.inf if score is None else score
        for job, score in zip(jobs, told, strict=True)
    }
    losses = _final_losses([rows[job.index] for job in jobs])

    def key(some: Sequence[Job]) -> tuple[float, ...]:
        values, ties = (
            np.array([by_index[job.index] for job in some]) for by_index in (scores, losses)
        )
        return *objective.ranking_key(values, epoch), float(np.median(ties))

    ranked = sorted(by_combination(jobs), key=key)
    best = ranked[: n_kept(len(ranked), settings)]
    kept = frozenset(job.index for some in best for job in some)
    # A paused job has the row of one that does not go on, see ``PausedResult``.
    unfinished = {index for index, row in rows.items() if row.outcome == Outcome.PRUNED}
    return Rung(epoch, scores, kept, frozenset(scores.keys() & unfinished - kept))


def _final_losses(rows: Sequence[Row]) -> dict[int, float]:
    """The final loss of each job, inf for one that failed or diverged, by its index."""
    scores = scores_of(rows, objectives()["final_loss"]).tolist()
    return {row.job.index: score for row, score in zip(rows, scores, strict=True)}
