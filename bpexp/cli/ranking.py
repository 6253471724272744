"""The table at the end of a sweep: its best combinations, or its best runs if nothing is
replicated.

The intervals of replicated combinations need SciPy, which is imported only for them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from bpexp.cli.tables import fitted, number
from bpexp.config.replicates import is_replicate_key
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.sweeps.ranking import RankedCombination, Ranking, scores_of
from bpexp.sweeps.row import Row, metric_names
from bpexp.tracking.ids import short

if TYPE_CHECKING:
    from bpexp.sweeps.race_result import RaceResult

MAX_LISTED = 10
"""Maximum number of combinations or runs in the table."""


def ranking_title(ranking: Ranking) -> str:
    """The title of ``ranking_table``: how many combinations or runs it has, and their order."""
    part = f" with {ranking.part}" if ranking.part else ""
    if ranking.is_replicated:
        n_ranked, one, several = len(ranking.combinations), " combination", " combinations"
        by = ranking.objective.center_label
    else:
        n_ranked, one, several = len(ranking.runs), " run", ""
        by = ranking.objective.label
    if n_ranked == 1:
        return f"1{one}{part} by {by}"
    return f"Best {min(n_ranked, MAX_LISTED)} of {n_ranked}{several}{part} by {by}"


def ranking_table(
    out: Console, ranking: Ranking, varying: Sequence[str], race: "RaceResult | None" = None
) -> Table:
    """The best combinations over their replicates, or the best runs.

    Args:
        out: The console, whose width limits the table.
        ranking: The ranked results; at least one run is ranked.
        varying: The keys that vary.
        race: How the combinations came out, if they raced.
    """
    if ranking.is_replicated:
        columns = _columns_of_combinations(
            ranking, ranking.combinations[:MAX_LISTED], varying, race
        )
    else:
        columns = _columns_of_runs(ranking, ranking.runs[:MAX_LISTED], varying)
    objective = ranking.objective
    return fitted(out, columns, foldable=varying, kept=(objective.metric, objective.name))


def _columns_of_runs(
    ranking: Ranking, runs: Sequence[Row], varying: Sequence[str]
) -> dict[str, list[str]]:
    metrics = _objective_first(metric_names(ranking.runs), ranking.objective.metric)
    return {
        "rank": [str(place) for place, _ in enumerate(runs, start=1)],
        **{key: [row.job.shown(key) for row in runs] for key in varying},
        **{name: [number(row.metrics.get(name)) for row in runs] for name in metrics},
        "outcome": [row.outcome for row in runs],
        "run": [short(row.run_id) for row in runs],
    }


def _columns_of_combinations(
    ranking: Ranking,
    combinations: Sequence[RankedCombination],
    varying: Sequence[str],
    race: "RaceResult | None",
) -> dict[str, list[str]]:
    """A column for each part of the combinations and of their results: medians over the runs."""
    columns = {
        "rank": [str(combination.rank) for combination in combinations],
        **{
            key: [combination.job.shown(key) for combination in combinations]
            for key in varying
            if not is_replicate_key(key)
        },
        "runs": [str(len(combination.rows)) for combination in combinations],
    }
    if race is not None:
        columns["race"] = [race.state(race.of(combination.job)) for combination in combinations]
    for outcome in (Outcome.CONVERGED, Outcome.DIVERGED):
        counts = [
            sum(row.outcome == outcome for row in combination.rows) for combination in combinations
        ]
        if any(counts):
            columns[outcome.value] = [str(count) for count in counts]
    if any(combination.pruned_at for combination in combinations):
        columns["pruned at"] = [str(combination.pruned_at or "") for combination in combinations]
    columns |= _estimates(ranking, combinations, race)
    objective = ranking.objective
    others = [n for n in metric_names(ranking.runs) if n not in (objective.metric, "epochs_run")]
    for name in others:
        columns[name] = [_median_of(name, combination.rows) for combination in combinations]
    columns["best run"] = [short(combination.best.run_id) for combination in combinations]
    return columns


class _Estimate(NamedTuple):
    """A number and its interval, as text; "" without an interval."""

    value: str
    interval: str


def _estimates(
    ranking: Ranking, combinations: Sequence[RankedCombination], race: "RaceResult | None"
) -> dict[str, list[str]]:
    """The columns of what ranks the combinations, with an interval of the number before it.

    The interval of a race holds at every number of seeds. It is that of the median, or, of epochs
    to converge, of the mean.
    """
    objective = ranking.objective
    raced: list[_Estimate] | None = None
    if race is not None and race.objective == objective:
        raced = [
            _estimate(objective, *race.of(combination.job).center) for combination in combinations
        ]
    if not objective.is_time:
        estimates = raced or [_median(ranking, combination) for combination in combinations]
        return {objective.name: _values(estimates), **_interval_column(estimates)}
    means = {"mean epochs": [number(combination.center) for combination in combinations]}
    medians = [_median(ranking, combination) for combination in combinations]
    if raced is not None:
        return {**means, **_interval_column(raced), "median": _values(medians)}
    return {**means, "median": _values(medians), **_interval_column(medians)}


def _values(estimates: Sequence[_Estimate]) -> list[str]:
    return [one.value for one in estimates]


def _interval_column(estimates: Sequence[_Estimate]) -> dict[str, list[str]]:
    """The column of the intervals; none if no estimate has one."""
    intervals = [one.interval for one in estimates]
    return {"95% interval": intervals} if any(intervals) else {}


def _median(ranking: Ranking, combination: RankedCombination) -> _Estimate:
    """The median of the objective."""
    from bpexp.analysis import estimates
    from bpexp.analysis.intervals import confidence_of_each

    level = confidence_of_each(len(ranking.combinations))
    median = estimates.median(
        ranking.objective, combination.scores, level, combination.is_independent
    )
    return _estimate(ranking.objective, *median)


def _estimate(objective: Objective, value: float, low: float, high: float) -> _Estimate:
    if not np.isfinite(value):
        return _Estimate("not reached" if objective.is_time else "diverged", "")
    if np.isnan(low) or np.isnan(high):
        return _Estimate(number(value), "")
    return _Estimate(number(value), f"{_end(low)} to {_end(high)}")


def _end(value: float) -> str:
    return f"{value:.4g}".replace("inf", "∞")


def _median_of(name: str, rows: Sequence[Row]) -> str:
    """The median of a metric over runs; a diverged run counts as in the rankings by it."""
    measured = [row for row in rows if row.outcome == Outcome.DIVERGED or name in row.metrics]
    if not measured:
        return ""
    objective = objectives()[name]
    return number(objective.as_measured(float(np.median(scores_of(measured, objective)))))


def _objective_first(names: Sequence[str], metric: str) -> list[str]:
    return [metric, *(name for name in names if name != metric)]
