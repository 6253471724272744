"""Summarize each group of runs, rank the groups and compare them with each other."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from bpexp.analysis import estimates, intervals, permutation, statistics, survival
from bpexp.analysis.estimates import as_measured
from bpexp.analysis.groups import (
    FINAL_LOSS,
    REPLICATE,
    TIME_TO_CONVERGE,
    Group,
    Grouped,
    RowIndices,
    available_objectives,
)
from bpexp.analysis.intervals import Interval
from bpexp.analysis.survival import ConvergenceCurve
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.variation import SEED, Unit
from bpexp.sweeps.samplers import betting
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

STATISTICS: dict[str, statistics.Statistic] = {
    "iqm": statistics.interquartile_mean,
    "mean": np.mean,
}
"""The statistics of each metric besides the median."""


@dataclass(frozen=True, eq=False)
class Summary:
    """The results of one group over its seeds.

    The intervals of all groups hold together with ``intervals.CONFIDENCE``, so that the interval
    of the best group is valid although it was selected by the same runs. Those of ``convergence``
    hold at each epoch by itself.

    Attributes:
        group: The runs.
        outcomes: Number of runs with each outcome.
        converged: Share of converged runs.
        convergence: Share of converged runs by epoch.
        epochs: Median epochs to converge, see ``survival.median``.
        epochs_mean: Mean epochs to converge, restricted to the maximum number of epochs.
        epochs_sd: Standard deviation, restricted likewise.
        estimates: Estimates of each metric by statistic, as in
            ``estimates["final_loss"]["median"]``. Only medians have an interval: none for means
            holds with few runs of an unknown distribution.
    """

    group: Group
    outcomes: Mapping[str, int]
    converged: Interval
    convergence: ConvergenceCurve
    epochs: Interval
    epochs_mean: float
    epochs_sd: float
    estimates: Mapping[str, Mapping[str, Interval]]

    @property
    def n_runs(self) -> int:
        """Number of finished runs."""
        return len(self.group)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Group ``a`` compared with group ``b``.

    If the groups share their seeds, the runs with the same seed are pairs: they start from the
    same random numbers, so their difference varies less than that of two unrelated runs.
    Intervals of comparisons that were selected by the same runs hold together.

    If runs share levels of a source, such as splits, the levels are compared and not the runs: see
    ``n_units``. The p-value of several sources that are crossed is ``permutation.combined``.

    Attributes:
        a: The first group.
        b: The second group.
        n_shared_seeds: Number of replicates that both groups contain.
        n_pairs: Number of independent pairs in a paired comparison, the smallest one of all
            sources; 0 if it is unpaired.
        n_units: How many independent splits, seeds or others there are, by their name:
            ``{"split": 5, "seed": 10}``; the smaller number of both groups if the comparison is
            unpaired.
        sources: What two runs of a pair share, such as seed and split.
        n_independent: Number of independent results of each group, the smallest one of all sources.
        improvement: Probability that a run of ``a`` is better than a run of ``b`` with the same
            seed; of ``b`` with any seed if the comparison is unpaired.
        difference: Median of the differences within pairs, or, unpaired, the difference of the
            medians, without an interval if runs share levels of a source. Epochs to converge are
            restricted to the smaller maximum number of epochs.
        mean_difference: Difference of the means of epochs to converge, restricted likewise; nan for
            other objectives.
        sd: Standard deviation of the differences within pairs, or, unpaired, of a run in its group;
            of those of a level if runs share levels; nan if a score is infinite.
        p: p-value of the permutation test (see ``permutation``): for epochs to converge of the
            restricted means, otherwise of the ranks.
        direction: 1 if the test statistic is in favor of ``a``, -1 if it is in favor of ``b``. The
            ranks may favor the group that has the worse median. 0 if it favors neither, or if the
            statistics of several sources contradict each other, which is no evidence (p = 1).
        smallest_p: A lower bound of the p-values that the test can give with these numbers of runs.
        p_adjusted: ``p`` corrected for several comparisons.
    """

    a: Group
    b: Group
    n_shared_seeds: int
    n_pairs: int
    n_units: Mapping[str, int]
    sources: Sequence[str]
    n_independent: tuple[int, int]
    improvement: Interval
    difference: Interval
    mean_difference: float
    sd: float
    p: float
    direction: int
    smallest_p: float
    p_adjusted: float

    @property
    def is_significant(self) -> bool:
        """Whether the groups differ significantly, in whichever direction."""
        return self.p_adjusted < permutation.ALPHA

    @property
    def is_better(self) -> bool:
        """Whether ``a`` is significantly better than ``b``."""
        return self.is_significant and self.direction > 0

    @property
    def is_worse(self) -> bool:
        """Whether ``a`` is significantly worse than ``b``, by what is tested."""
        return self.is_significant and self.direction < 0

    @property
    def max_epochs(self) -> float:
        """The smaller maximum number of epochs of the two groups."""
        return min(self.a.max_epochs, self.b.max_epochs)

    @property
    def degrees_of_freedom(self) -> int:
        """Of the standard deviation."""
        return self.n_pairs - 1 if self.n_pairs else sum(self.n_independent) - 2

    @property
    def smallest_unit(self) -> str:
        """What is independent and has the smallest number, such as "split"."""
        return min(self.n_units, key=lambda name: self.n_units[name])


@dataclass(frozen=True, eq=False)
class Findings:
    """The ranked groups and their comparisons.

    Attributes:
        grouped: All groups.
        objective: The objective that ranks the groups.
        summaries: One summary per group, the best first.
        comparisons: The best group against every other one. Groups of a single run are not
            compared.
        n_compared: Number of groups that the data could have selected for a comparison.
        seed: Seed for the choice of runs that are drawn in plots.
        verdict: Of groups whose number of seeds follows from their results (``seeds=auto``), what
            the tests of the race found, as sentences; there are no comparisons then, since their
            p-values would be those of a fixed number of seeds. None for other groups.
    """

    grouped: Grouped
    objective: Objective
    summaries: Sequence[Summary]
    comparisons: Sequence[Comparison]
    n_compared: int
    seed: int
    verdict: str | None = None

    @cached_property
    def n_runs(self) -> int:
        """Number of finished runs in all groups."""
        return sum(summary.n_runs for summary in self.summaries)

    @cached_property
    def ranks(self) -> list[int]:
        """The rank of each summary, from 1; groups with equal estimates have the same rank."""
        first: dict[tuple[float, ...], int] = {}
        keys = [
            _ranking_key(summary, self.objective, self.horizon, is_race=self.is_race)
            for summary in self.summaries
        ]
        return [first.setdefault(key, rank) for rank, key in enumerate(keys, start=1)]

    @property
    def what_decides(self) -> str:
        """What tells the first two groups apart if their centers are equal; "" otherwise.

        It is the first part of ``Objective.ranking_key`` that differs.
        """
        first, second = (
            self.objective.ranking_key(summary.group.scores(self.objective), self.horizon)
            for summary in self.summaries[:2]
        )
        names = ("median", "share of converged runs") if self.objective.is_time else (
            "interquartile mean", "mean", "share of diverged runs"
        )  # fmt: skip
        if first[0] != second[0] or first == second:
            return ""
        parts = zip(names, first[1:], second[1:], strict=True)
        return next(name for name, a, b in parts if a != b)

    @cached_property
    def horizon(self) -> float:
        """The smallest maximum number of epochs of all groups."""
        return min(summary.group.max_epochs for summary in self.summaries)

    @cached_property
    def has_scores(self) -> bool:
        """Whether any run has a finite score; otherwise there is nothing to plot."""
        return any(np.isfinite(s.group.scores(self.objective)).any() for s in self.summaries)

    @property
    def is_race(self) -> bool:
        """Whether the number of seeds of a group follows from its results."""
        return self.verdict is not None

    @property
    def can_be_significant(self) -> bool:
        """Whether the number of seeds allows any comparison to be significant."""
        smallest = [c.smallest_p for c in self.comparisons]
        return bool(smallest) and self.n_pairs * min(smallest) < permutation.ALPHA

    @property
    def n_pairs(self) -> int:
        """Number of pairs of groups, any of which the data could have selected for a comparison."""
        return math.comb(self.n_compared, 2)


def find(grouped: Grouped, objective: Objective, seed: int, verdict: str | None = None) -> Findings:
    """Summarize, rank and compare the groups.

    Args:
        grouped: The groups.
        objective: The objective that ranks and compares them.
        seed: Seed for the choice of runs that are drawn in plots.
        verdict: See ``Findings``. The intervals of medians then hold at every number of seeds, and
            groups with more seeds are ranked before those that stopped.

    Returns:
        The summaries, the best first, and the comparisons of the best with each other group.
    """
    metrics = [m for m in available_objectives(grouped) if not m.is_time]
    level = intervals.confidence_of_each(len(grouped.groups))
    is_race = verdict is not None
    summaries = [_summarize(group, metrics, level) for group in grouped.groups]
    if is_race:
        summaries = [_with_anytime_intervals(summary, len(summaries)) for summary in summaries]
    horizon = min(group.max_epochs for group in grouped.groups)

    def key(summary: Summary) -> tuple[tuple[float, ...], float]:
        scores, losses = (summary.group.scores(one) for one in (objective, FINAL_LOSS))
        ranking_key = _ranking_key(summary, objective, horizon, is_race=is_race)
        return ranking_key, objective.tie_key(scores, losses)

    ranked = sorted(summaries, key=key)
    groups = [summary.group for summary in ranked]
    pairs = [(groups[0], other) for other in groups[1:] if min(len(groups[0]), len(other)) > 1]
    if is_race:
        pairs = []
    return Findings(
        grouped=grouped,
        objective=objective,
        summaries=ranked,
        comparisons=compare_with_best(pairs, objective),
        n_compared=len(pairs) + 1,
        seed=seed,
        verdict=verdict,
    )


def _with_anytime_intervals(summary: Summary, n_groups: int) -> Summary:
    """Replace the intervals by those that hold at every number of seeds; shares have none."""
    group = summary.group

    def median(scores: Array) -> Interval:
        ends = math.nan, math.nan
        if group.is_independent:
            ends = betting.median_bounds(scores, n_groups)
        return Interval(float(np.median(scores)), *ends)

    known = objectives()
    epochs = median(group.scores(TIME_TO_CONVERGE))
    estimates = {
        name: {**found, "median": as_measured(known[name], median(group.scores(known[name])))}
        for name, found in summary.estimates.items()
    }
    return replace(
        summary,
        converged=summary.converged._replace(low=math.nan, high=math.nan),
        epochs=epochs._replace(estimate=summary.epochs.estimate),
        estimates=estimates,
    )


def _summarize(group: Group, metrics: Sequence[Objective], level: float) -> Summary:
    times = group.scores(TIME_TO_CONVERGE)
    restricted = np.minimum(times, group.max_epochs)
    return Summary(
        group=group,
        outcomes=dict(sorted(Counter(group.outcomes.tolist()).items())),
        converged=_share_converged(group, level),
        convergence=survival.cumulative_incidence(times, group.n_trials),
        epochs=estimates.median(TIME_TO_CONVERGE, times, level, group.is_independent),
        epochs_mean=float(restricted.mean()),
        epochs_sd=float(restricted.std(ddof=1)) if len(restricted) > 1 else math.nan,
        estimates={metric.name: _estimates(metric, group, level) for metric in metrics},
    )


def _estimates(metric: Objective, group: Group, level: float) -> dict[str, Interval]:
    scores = group.scores(metric)
    found = {
        name: Interval.without_bounds(float(statistic(scores)))
        for name, statistic in STATISTICS.items()
    }
    found = {name: as_measured(metric, interval) for name, interval in found.items()}
    return {"median": estimates.median(metric, scores, level, group.is_independent), **found}


def _share_converged(group: Group, level: float) -> Interval:
    """The share of converged runs, see ``Group.n_trials``."""
    share = float(np.isfinite(group.scores(TIME_TO_CONVERGE)).mean())
    n = group.n_trials
    return intervals.share_interval(share * n, n, level)


def _ranking_key(
    summary: Summary, objective: Objective, horizon: float, *, is_race: bool
) -> tuple[float, ...]:
    key = objective.ranking_key(summary.group.scores(objective), horizon)
    return (-float(summary.n_runs + summary.group.n_unfinished), *key) if is_race else key


def compare(pairs: Sequence[tuple[Group, Group]], objective: Objective) -> list[Comparison]:
    """Compare pairs of groups that were not selected by their results.

    Args:
        pairs: The pairs, each of two groups with at least one run.
        objective: The objective to compare.

    Returns:
        One comparison per pair, with p-values that Holm's method corrects for all of them.
    """
    level = intervals.confidence_of_each(len(pairs))
    compared = [_compare(a, b, objective, level) for a, b in pairs]
    return _with_adjusted(compared, statistics.holm([c.p for c in compared]))


def compare_with_best(
    pairs: Sequence[tuple[Group, Group]], objective: Objective
) -> list[Comparison]:
    """Compare the best group with each other one, corrected for the choice of the best group.

    Args:
        pairs: The best group with each other one; groups of at least two runs.
        objective: The objective to compare.

    Returns:
        One comparison per pair, with p-values that Shaffer's method corrects for all pairs of
        groups.
    """
    level = intervals.confidence_of_each(math.comb(len(pairs) + 1, 2))
    compared = [_compare(a, b, objective, level) for a, b in pairs]
    return _with_adjusted(compared, statistics.shaffer([c.p for c in compared]))


def _with_adjusted(compared: Sequence[Comparison], p_values: Sequence[float]) -> list[Comparison]:
    return [replace(c, p_adjusted=p) for c, p in zip(compared, p_values, strict=True)]


def _compare(a: Group, b: Group, objective: Objective, level: float) -> Comparison:
    """Compare two groups, without a correction for other comparisons."""
    x, y = a.scores(objective), b.scores(objective)
    # A run with the larger maximum may converge at an epoch that the other group never reaches.
    end = min(a.max_epochs, b.max_epochs) if objective.is_time else np.inf
    x, y = (np.where(scores <= end, scores, np.inf) for scores in (x, y))
    shared, in_a, in_b = np.intersect1d(
        a.column(REPLICATE), b.column(REPLICATE), return_indices=True
    )
    # With fewer pairs than this, dropping the runs without a partner loses more than it gains.
    is_paired = len(shared) > 1 and 2 * len(shared) >= max(len(a), len(b))
    if is_paired:
        compared = _paired(x[in_a], y[in_b], a.table.units_of(shared), objective, end, level)
    else:
        compared = _unpaired(x, y, (a.units, b.units), objective, end, level)
    return Comparison(
        a=a,
        b=b,
        n_shared_seeds=len(shared),
        n_pairs=compared.n_independent[0] if is_paired else 0,
        sources=a.table.varying_sources,
        p_adjusted=compared.p,
        **compared._replace(difference=as_measured(objective, compared.difference))._asdict(),
    )


class _Compared(NamedTuple):
    """The parts of a ``Comparison`` that two samples determine."""

    n_units: Mapping[str, int]
    n_independent: tuple[int, int]
    improvement: Interval
    difference: Interval
    mean_difference: float
    sd: float
    p: float
    direction: int
    smallest_p: float


def _paired(
    x: Array, y: Array, units: Sequence[Unit], objective: Objective, end: float, level: float
) -> _Compared:
    """Compare pairs of runs by the differences of independent units.

    Args:
        x: Scores of the first group, (n,).
        y: Scores of its partners in the second group, (n,).
        units: The independent units of the pairs.
        objective: The objective to compare.
        end: The largest number of epochs to converge that counts; infinity for other objectives.
        level: Confidence level of the intervals.
    """
    n = min(unit.n for unit in units)
    n_trials = min(unit.n_trials for unit in units)
    wins = statistics.paired_improvement(x, y, level, n_trials)
    x, y = np.minimum(x, end), np.minimum(y, end)
    differences = x - y if objective.is_time else statistics.paired_differences(x, y)
    test = permutation.sign_flip_test if objective.is_time else permutation.signed_rank_test
    center = np.mean if objective.is_time else permutation.signed_rank_sum
    of_units = [_by_level(differences, unit, objective) for unit in units]
    of_smallest_unit = min(of_units, key=len)
    p, direction = _of_all_sources(
        [test(of_unit) for of_unit in of_units], [-float(center(of_unit)) for of_unit in of_units]
    )
    return _Compared(
        n_units={unit.name: unit.n for unit in units},
        n_independent=(n, n),
        improvement=wins,
        difference=_median_of_pairs(x, y, level, is_independent=n == len(x)),
        mean_difference=_mean_difference(x, y, objective),
        sd=_sd(of_smallest_unit) if np.isfinite([x, y]).all() else math.nan,
        p=p,
        direction=direction,
        smallest_p=permutation.combined([
            permutation.smallest_p(unit.n, unit.n, is_paired=True) for unit in units
        ]),
    )  # fmt: skip


def _unpaired(
    x: Array,
    y: Array,
    units: tuple[Sequence[Unit], Sequence[Unit]],
    objective: Objective,
    end: float,
    level: float,
) -> _Compared:
    """Compare two samples, (n,) and (m,), by the results of independent units of each.

    The arguments are those of ``_paired``, with the units of each group.
    """
    n, m = (min((unit.n for unit in of_group), default=1) for of_group in units)
    n_trials = min((unit.n_trials for unit in (*units[0], *units[1])), default=1)
    wins = statistics.improvement_interval(x, y, level, n_trials)
    x, y = np.minimum(x, end), np.minimum(y, end)
    difference = intervals.median_difference(x, y, level)
    if objective.is_time:
        # Of the medians that the groups are said to have, see ``survival.median``.
        medians = (survival.median(scores).estimate for scores in (x, y))
        difference = difference._replace(estimate=next(medians) - next(medians))
    if (n, m) != (len(x), len(y)):
        difference = Interval.without_bounds(difference.estimate)
    test = permutation.mean_test if objective.is_time else permutation.rank_sum_test
    by_name = [{unit.name: unit for unit in of_group} for of_group in units]
    names = list(dict.fromkeys(name for of_group in by_name for name in of_group)) or [SEED]
    tested = {
        name: (_by_level(x, by_name[0].get(name), objective),
               _by_level(y, by_name[1].get(name), objective))
        for name in names
    }  # fmt: skip
    p, direction = _of_all_sources(
        [test(*results) for results in tested.values()],
        [_lead(*results, objective) for results in tested.values()],
    )
    return _Compared(
        n_units={name: min(map(len, results)) for name, results in tested.items()},
        n_independent=(n, m),
        improvement=wins,
        difference=difference,
        mean_difference=_mean_difference(x, y, objective),
        sd=_sd(*min(tested.values(), key=lambda results: min(map(len, results)))),
        p=p,
        direction=direction,
        smallest_p=permutation.combined([
            permutation.smallest_p(*map(len, results), is_paired=False)
            for results in tested.values()
        ]),
    )  # fmt: skip


def _lead(x: Array, y: Array, objective: Objective) -> float:
    """Above 0 if the test of two samples, (n,) and (m,), favors the first."""
    if objective.is_time:
        return float(y.mean() - x.mean())
    ranks = rankdata(np.concatenate([x, y]))
    return float(ranks.mean() - ranks[: len(x)].mean())


def _of_all_sources(p_values: Sequence[float], leads: Sequence[float]) -> tuple[float, int]:
    """The p-value and the direction of a comparison, see ``Comparison``.

    Args:
        p_values: The p-value of each source.
        leads: The test statistic of each source, above 0 if it is in favor of the first group.
    """
    signs = set(np.sign(leads).tolist())
    direction = int(signs.pop()) if len(signs) == 1 else 0
    return permutation.combined(p_values) if direction else 1.0, direction


def _by_level(values: Array, unit: Unit | None, objective: Objective) -> Array:
    """The median of the values of each level, (n_levels,), or the mean of epochs to converge.

    Without a unit, all values are of the same level.
    """
    if unit is None:
        unit = Unit("", np.zeros(len(values), np.intp), 1)
    if unit.n == len(values):
        return values
    center = np.mean if objective.is_time else statistics.median
    return np.array([float(center(values[unit.codes == code])) for code in range(unit.n)])


def _mean_difference(x: Array, y: Array, objective: Objective) -> float:
    """The difference of the means of epochs to converge; nan for other objectives."""
    return float(x.mean() - y.mean()) if objective.is_time else math.nan


def _median_of_pairs(x: Array, y: Array, level: float, *, is_independent: bool) -> Interval:
    """Median of the differences within pairs; undefined if most scores of both are infinite."""
    if np.isinf(x).sum() > len(x) / 2 and np.isinf(y).sum() > len(y) / 2:
        return Interval.without_bounds(np.nan)
    found = intervals.median_interval(statistics.paired_differences(x, y), level)
    return found if is_independent else Interval.without_bounds(found.estimate)


def _sd(*samples: Array) -> float:
    """The standard deviation of a sample, or the pooled one of two; nan if it is not known."""
    n = sum(map(len, samples))
    if not all(np.isfinite(sample).all() for sample in samples) or n <= len(samples):
        return math.nan
    # The squares of losses that are nearly too large for a float overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(np.sum((sample - sample.mean()) ** 2)) for sample in samples)
    return math.sqrt(squares / (n - len(samples)))


def best_first(groups: Sequence[Group], objective: Objective) -> RowIndices:
    """The rows of the runs of groups that did not diverge, the best first, (n,)."""
    row_indices = np.concatenate([group.row_indices for group in groups])
    scores = np.concatenate([group.scores(objective) for group in groups])
    losses = np.concatenate([group.scores(FINAL_LOSS) for group in groups])
    order = np.lexsort((row_indices, losses, scores))
    found: RowIndices = row_indices[order][np.isfinite(losses[order])]
    return found


def representative_runs(findings: Findings) -> list[tuple[str, "pd.Series[Any]"]]:
    """The best, the median and the worst run of all groups that did not diverge.

    Returns:
        A name ("best", "median", "worst"; "only" for a single run) and the run's row in the
        table. Two runs have no median, and there may be no run at all.
    """
    groups = [summary.group for summary in findings.summaries]
    frame, ordered = groups[0].table.frame, best_first(groups, findings.objective)
    last = len(ordered) - 1
    positions = {"best": 0, "median": last // 2, "worst": last}
    if last < 2:
        positions = {"best": 0, "worst": last} if last else {"only": 0}
    return [(name, frame.iloc[ordered[i]]) for name, i in positions.items() if last >= 0]
