"""Ranks the runs of a sweep, and its combinations by the ``Objective.statistic`` over replicates.

Runs that differ only in a key of ``REPLICATE_KEYS`` are replicates of one combination. The best run
of a sweep is the best run of its best combination, so that no combination wins by one lucky seed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from bpexp.render.wording import counted
from bpexp.runs import comparability, variation
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.sweeps import comparable
from bpexp.sweeps.job import Combination, Job, format_setting
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.row import Row
from bpexp.typing import Array

Planned = Mapping[Combination, int]


@dataclass(frozen=True)
class RankedCombination:
    """The results of one combination over its replicates.

    Attributes:
        rank: Its rank, from 1; combinations with equal results have the same rank.
        job: The job of its best run.
        rows: Its runs that have a result, the best first; one of those with the same random
            numbers, which are the same run.
        scores: Their scores in ascending order, (n,): smaller is better, +inf without a value.
        center: The ``objective.statistic`` of their values, by which combinations are ranked;
            infinite if most of them have none.
        pruned_at: The epoch after which runs were stopped; None if all were trained to their ends.
    """

    rank: int
    job: Job
    rows: Sequence[Row]
    scores: Array
    center: float
    pruned_at: int | None = None

    @property
    def best(self) -> Row:
        """Its best run."""
        return self.rows[0]

    @property
    def is_independent(self) -> bool:
        """Whether no two runs share a level of a source of variation, such as a split."""
        return are_independent(self.rows)


@dataclass(frozen=True)
class Ranking:
    """The results of a sweep, ranked.

    Attributes:
        objective: What they are ranked by.
        combinations: The combinations that have a run with a result, the best first. Those of
            pruned runs come after the others: the later they were stopped, the better. Last come
            those all of whose runs diverged.
        runs: All runs that neither failed nor diverged, the best first.
        part: The settings that tell these runs from those that cannot be ranked together with them,
            such as ``data.name=xor``; "" if all runs of the sweep are ranked together.
        n_repeated: Number of runs with a result that are left out of ``combinations``, because they
            have the combination and the random numbers of another run.
    """

    objective: Objective
    combinations: Sequence[RankedCombination]
    runs: Sequence[Row]
    part: str = ""
    n_repeated: int = 0

    @property
    def is_replicated(self) -> bool:
        """Whether any combination has several runs."""
        return any(len(combination.rows) > 1 for combination in self.combinations)

    @property
    def best(self) -> Row | None:
        """The best run of the best combination; None if every run failed or diverged.

        None as well if the combinations are not ranked together.
        """
        if not self.runs or not self.combinations:
            return None
        best_runs = (combination.best for combination in self.combinations)
        return next((run for run in best_runs if not is_diverged(run)), None)


def final_objective(plan: Plan, rows: Iterable[Row]) -> Objective:
    """The objective of a plan; by default the final loss of a grid in which no run converged.

    A search and a race are ranked by what decided which runs were trained.
    """
    is_default = plan.runtime.objective.name is None
    if plan.search is not None or plan.is_race:
        return plan.objective
    has_converged = any(row.outcome == Outcome.CONVERGED for row in rows)
    if is_default and plan.objective.is_time and not has_converged:
        return objectives()["final_loss"]
    return plan.objective


def planned_runs(plan: Plan) -> Planned | None:
    """The number of planned runs of each combination of a race; None for another sweep."""
    if not plan.is_race:
        return None
    return Counter(job.combination_key for job in plan.jobs)


def rank(rows: Iterable[Row], objective: Objective, planned: Planned | None = None) -> Ranking:
    """Rank the rows of a sweep and its combinations, see ``rank_combinations``."""
    rows = list(rows)
    combinations = rank_combinations(rows, objective, planned)
    n_repeated = sum(bool(row.metrics) for row in rows) - sum(len(one.rows) for one in combinations)
    return Ranking(objective, combinations, rank_runs(rows, objective), n_repeated=n_repeated)


def rank_parts(
    rows: Iterable[Row], objective: Objective, planned: Planned | None = None
) -> list[Ranking]:
    """Rank the rows of a sweep: all together, or those of each ``comparability`` part.

    Args:
        rows: The rows.
        objective: What ranks them.
        planned: See ``rank_combinations``.

    Returns:
        At least one ranking.
    """
    rows = list(rows)
    found = comparability.parts(comparable.decisive_settings([row.job for row in rows], objective))
    if len(found) <= 1:
        return [rank(rows, objective, planned)]
    return [
        replace(rank([rows[index] for index in indices], objective, planned), part=part)
        for part, indices in found.items()
    ]


def are_independent(rows: Sequence[Row]) -> bool:
    """Whether no two runs share a level of a source of variation, such as a split."""
    units = variation.independent_units(sources_of([row.job for row in rows]).levels)
    return variation.are_independent(units, len(rows))


def sources_of(jobs: Sequence[Job]) -> variation.Sources:
    """The sources of variation of jobs."""
    columns = {key: _texts(jobs, key) for key in variation.KEYS}
    return variation.sources_of(columns, len(jobs))


def _texts(jobs: Sequence[Job], key: str) -> list[str]:
    """The values of a setting, "null" for a job that does not have it."""
    group, *names = key.split(".")
    parts = [getattr(job.config, group, None) for job in jobs]
    # Most runs of a sweep share the objects of their groups of settings.
    of_part: dict[int, str] = {}
    for part in {id(part): part for part in parts}.values():
        value: Any = part
        for name in names:
            value = getattr(value, name, None)
        of_part[id(part)] = format_setting(value)
    return [of_part[id(part)] for part in parts]


def rank_runs(rows: Iterable[Row], objective: Objective) -> list[Row]:
    """Rows by their score, then by final loss and index, without failed and diverged runs."""
    ranked = [row for row in rows if row.metrics and not is_diverged(row)]
    return _best_first(ranked, scores_of(ranked, objective))


def rank_combinations(
    rows: Iterable[Row], objective: Objective, planned: Planned | None = None
) -> list[RankedCombination]:
    """The combinations that have a result, the best first, see ``Objective.ranking_key``.

    Combinations of which no run converged are tied by the epochs to converge, and in the order of
    their median final losses.

    Args:
        rows: The rows.
        objective: What ranks them.
        planned: Of a race, the number of planned runs of each combination: those with more come
            first, because the others have stopped as worse, although their few runs may have been
            lucky.
    """
    with_result = [row for row in rows if row.metrics]
    if not with_result:
        return []
    runs_of = _different_runs(with_result)
    horizon = min(max(run.job.config.epochs for run in runs) for runs in runs_of.values())
    are_pruned = any(is_pruned(row) for row in with_result)
    unranked: list[_Unranked] = []
    for combination, runs in runs_of.items():
        scores = scores_of(runs, objective)
        best_first = _best_first(runs, scores)
        ranking_key = objective.ranking_key(scores, horizon)
        epoch = max((pruned_at(run) for run in runs if is_pruned(run)), default=None)
        # Pruned runs have at least finite losses.
        is_last = are_pruned and is_diverged(best_first[0])
        n_planned = (-planned[combination],) if planned else ()
        tie_key = objective.tie_key(scores, scores_of(runs, objectives()["final_loss"]))
        unranked.append(
            _Unranked(
                (is_last, -_reached(epoch), *n_planned, *ranking_key),
                tie_key,
                RankedCombination(
                    rank=0,
                    job=best_first[0].job,
                    rows=best_first,
                    scores=np.sort(scores),
                    center=objective.as_measured(ranking_key[0]),
                    pruned_at=epoch,
                ),
            )
        )
    # Stable: tied combinations stay in the order of their jobs.
    ordered = sorted(unranked, key=lambda found: (found.rank_key, found.tie_key))
    ranks: dict[tuple[float, ...], int] = {}
    return [
        replace(found.combination, rank=ranks.setdefault(found.rank_key, place))
        for place, found in enumerate(ordered, start=1)
    ]


def _different_runs(rows: Sequence[Row]) -> dict[Combination, list[Row]]:
    """The runs of each combination; of those with the same random numbers, the first one."""
    found: dict[Combination, dict[int, Row]] = {}
    distinct = sources_of([row.job for row in rows]).distinct.tolist()
    for row, drawn in zip(rows, distinct, strict=True):
        found.setdefault(row.job.combination_key, {}).setdefault(drawn, row)
    return {combination: list(runs.values()) for combination, runs in found.items()}


class _Unranked(NamedTuple):
    """A combination that has no rank yet.

    Attributes:
        rank_key: What ranks it: combinations with the same key have the same rank.
        tie_key: What orders those of the same rank.
        combination: The combination.
    """

    rank_key: tuple[float, ...]
    tie_key: float
    combination: RankedCombination


def scores_of(rows: Sequence[Row], objective: Objective) -> Array:
    """The scores of rows, (n,): smaller is better, +inf for a run without a value."""
    return objective.scores(*_measured(rows, objective))


def values_of(rows: Sequence[Row], objective: Objective) -> list[float]:
    """The values of the objective; the worst one, infinite or not, for a run without a value."""
    return [objective.as_measured(score) for score in scores_of(rows, objective).tolist()]


def scores_to_tell(rows: Sequence[Row], objective: Objective) -> list[float | None]:
    """The scores of rows as ``Sampler.tell`` receives them."""
    return objective.scores_to_tell(*_measured(rows, objective))


def _measured(rows: Sequence[Row], objective: Objective) -> tuple[Array, Any]:
    """The metric of the objective of each row, (n,), NaN where it is missing, and the outcomes."""
    measured = np.array([row.metrics.get(objective.metric, np.nan) for row in rows], float)
    return measured, np.array([row.outcome for row in rows], object)


def why_best(ranking: Ranking) -> str:
    """Why the best run of a ranking is the best, with numbers."""
    objective, best = ranking.objective, ranking.best
    assert best is not None
    if objective.is_time and best.outcome != Outcome.CONVERGED:
        return "it did not converge; the final loss decides between such runs"
    value = best.metrics.get(objective.metric, math.nan)
    reason = f"the run with the {objective.superlative} {objective.label}, {value:.6g}"
    if not ranking.is_replicated:
        return reason
    combination = next(found for found in ranking.combinations if found.best is best)
    name = best.job.combination_name
    which = f"of the best combination, {name}" if name else "of the only combination"
    center = f"{objective.statistic} {combination.center:.6g}"
    return f"{reason}, {which} ({center} over {counted(len(combination.rows), 'run')})"


def is_pruned(row: Row) -> bool:
    """Whether a run was stopped before its end because other combinations were better."""
    return row.outcome == Outcome.PRUNED


def is_diverged(row: Row) -> bool:
    """Whether the loss of a run was not finite any more."""
    return row.outcome == Outcome.DIVERGED


def pruned_at(row: Row) -> int:
    """The epoch after which a pruned run was stopped."""
    return int(row.metrics["epochs_run"])


def _reached(pruned_at: int | None) -> float:
    """How far a run or combination came: the epoch where it was stopped, or inf."""
    return math.inf if pruned_at is None else float(pruned_at)


class OrderKey(NamedTuple):
    """What orders runs: the smallest key is that of the best run.

    Attributes:
        is_diverged: Whether the run diverged.
        minus_epoch: Minus the epoch after which it was pruned; -inf if it was not.
        score: Its score, see ``Objective.scores``.
        final_loss: Its final loss; +inf if it is no number.
        job_index: The index of its job.
    """

    is_diverged: bool
    minus_epoch: float
    score: float
    final_loss: float
    job_index: int


def order_key(row: Row, score: float) -> OrderKey:
    """The key of a run with a score."""
    epoch = pruned_at(row) if is_pruned(row) else None
    loss = row.metrics.get("final_loss", math.inf)
    loss = math.inf if math.isnan(loss) else loss
    return OrderKey(is_diverged(row), -_reached(epoch), score, loss, row.job.index)


def _best_first(rows: Sequence[Row], scores: Array) -> list[Row]:
    keyed = [(order_key(row, score), row) for row, score in zip(rows, scores.tolist(), strict=True)]
    return [row for _, row in sorted(keyed, key=lambda pair: pair[0])]
