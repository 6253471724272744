"""Successive halving: chooses the combinations of a generation that are trained further."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bpexp.config.schema import SearchConfig
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.sweeps.job import Job, by_combination
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.ranking import scores_of, scores_to_tell
from bpexp.sweeps.row import Row
from bpexp.sweeps.rungs import Rung, brackets, n_kept, rung_epochs

RowsAfter = Callable[[Sequence[Job], int], Mapping[int, Row]]
"""Trains jobs for so many epochs, unless they end before, and returns their rows by index."""


def rungs(
    jobs: Sequence[Job],
    settings: SearchConfig,
    objective: Objective,
    rows_after: RowsAfter,
    known: Sequence[Rung] = (),
) -> Iterator[Sequence[Rung]]:
    """Judge the combinations of a generation.

    Args:
        jobs: All jobs of the generation.
        settings: The settings of successive halving.
        objective: What combinations are judged by.
        rows_after: Trains jobs that are to be judged.
        known: Rungs that are not judged again.

    Yields:
        The rungs of one epoch after the other, one for each bracket.
    """
    longest = max(job.config.epochs for job in jobs)
    done = {rung.key: rung for rung in known}
    left = brackets(jobs, settings, longest)
    for number, epoch in enumerate(rung_epochs(settings, longest)):
        judged = [some for some in left[: number + 1] if len(by_combination(some)) > 1]
        if not judged:
            continue
        keys = [(epoch, frozenset(job.index for job in some)) for some in judged]
        new = [
            job for key, some in zip(keys, judged, strict=True) if key not in done for job in some
        ]
        rows = rows_after(new, epoch) if new else {}
        found = [
            done[key] if key in done else judge(some, rows, epoch, objective, settings)
            for key, some in zip(keys, judged, strict=True)
        ]
        yield found
        out = {index for rung in found for index in rung.scores.keys() - rung.kept}
        left = [[job for job in some if job.index not in out] for some in left]


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
