"""Summarize each group of runs, rank the groups and compare them with each other."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.analysis import statistics, survival
from bpexp.analysis.groups import FINAL_LOSS, Group, Grouped, Measure, available_measures
from bpexp.analysis.statistics import Interval
from bpexp.analysis.survival import ConvergenceCurve
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

ALL_PAIRS = 6
"""Up to this many groups, all pairs are compared; with more, only the best with each other one."""

STATISTICS: dict[str, statistics.Statistic] = {
    "median": np.median,
    "iqm": statistics.interquartile_mean,
    "mean": np.mean,
}
"""The statistics of each metric, in the order in which they rank the groups."""


@dataclass(frozen=True, eq=False)
class Summary:
    """The results of one group over its seeds.

    Attributes:
        group: The runs.
        outcomes: Number of runs with each outcome.
        converged: Share of converged runs.
        convergence: Share of converged runs by epoch.
        epochs: Median epochs to converge.
        epochs_mean: Mean epochs to converge, restricted to the maximum number of epochs.
        epochs_sd: Standard deviation, restricted likewise.
        estimates: Estimates of each metric by statistic, as in
            ``estimates["final_loss"]["median"]``.
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
    def runs(self) -> int:
        """Number of finished runs."""
        return len(self.group)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Group ``a`` compared with group ``b``.

    Attributes:
        a: The first group.
        b: The second group.
        improvement: Probability that a run of ``a`` is better than a run of ``b``.
        difference: Median of ``a`` minus median of ``b``. For epochs to converge the difference
            of the means, restricted to the smaller maximum number of epochs.
        seeds_needed: Seeds per group for which the test would detect the observed difference.
        p: p-value of the Mann-Whitney test, or of the log-rank test for epochs to converge.
        p_holm: ``p`` with the Holm correction for all pairs of groups.
    """

    a: Group
    b: Group
    improvement: Interval
    difference: Interval
    seeds_needed: float
    p: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class Findings:
    """The ranked groups and their comparisons.

    Attributes:
        grouped: All groups.
        measure: The measure that ranks the groups.
        summaries: One summary per group, the best first.
        comparisons: The best group against every other one, or all pairs of few groups. Groups
            of a single run are not compared.
        seed: Seed of the bootstrap.
    """

    grouped: Grouped
    measure: Measure
    summaries: Sequence[Summary]
    comparisons: Sequence[Comparison]
    seed: int

    @cached_property
    def runs(self) -> int:
        """Number of finished runs in all groups."""
        return sum(summary.runs for summary in self.summaries)

    @cached_property
    def ranks(self) -> list[int]:
        """The rank of each summary, from 1; groups with equal estimates have the same rank."""
        first: dict[tuple[float, ...], int] = {}
        keys = [_ranking_key(summary, self.measure) for summary in self.summaries]
        return [first.setdefault(key, rank) for rank, key in enumerate(keys, start=1)]

    @property
    def pairs(self) -> int:
        """Number of pairs of groups, for which the p-values are corrected."""
        return math.comb(len(self.summaries), 2)

    @cached_property
    def has_scores(self) -> bool:
        """Whether any run has a finite score; otherwise there is nothing to plot."""
        return any(np.isfinite(self.measure.scores(s.group)).any() for s in self.summaries)

    @property
    def against_best(self) -> list[Comparison]:
        """The comparisons of the best group with the others, in the order of the ranks."""
        best = self.summaries[0].group
        return [c for c in self.comparisons if c.a is best]


def find(grouped: Grouped, measure: Measure, seed: int) -> Findings:
    """Summarize, rank and compare the groups.

    Args:
        grouped: The groups.
        measure: The measure that ranks and compares them.
        seed: Seed of the bootstrap; every interval uses a new generator with this seed.

    Returns:
        The summaries, the best first, and the comparisons.
    """
    metrics = [m for m in available_measures(grouped) if not m.is_time]
    summaries = [_summarize(group, metrics, seed) for group in grouped.groups]
    ranked = sorted(summaries, key=lambda summary: _ranking_key(summary, measure))
    groups = [summary.group for summary in ranked]
    if len(groups) <= ALL_PAIRS:
        pairs = list(itertools.combinations(groups, 2))
    else:
        pairs = [(groups[0], other) for other in groups[1:]]
    pairs = [(a, b) for a, b in pairs if min(len(a), len(b)) > 1]
    return Findings(
        grouped=grouped,
        measure=measure,
        summaries=ranked,
        comparisons=compare(pairs, measure, seed, math.comb(len(groups), 2)),
        seed=seed,
    )


def _summarize(group: Group, metrics: Sequence[Measure], seed: int) -> Summary:
    times = group.convergence_times
    curve = survival.kaplan_meier(times)
    mean, sd = survival.restricted_mean(curve, group.max_epochs)
    return Summary(
        group=group,
        outcomes=dict(sorted(Counter(group.outcomes.tolist()).items())),
        converged=statistics.wilson(int(times.converged.sum()), len(times.converged)),
        convergence=curve,
        epochs=survival.median(curve),
        epochs_mean=mean,
        epochs_sd=sd,
        estimates={metric.key: _estimates(metric, group, seed) for metric in metrics},
    )


def _estimates(metric: Measure, group: Group, seed: int) -> dict[str, Interval]:
    scores = metric.scores(group)
    intervals = statistics.bootstrap_many(scores, [*STATISTICS.values()], seed)
    return {
        name: _as_measured(metric, interval)
        for name, interval in zip(STATISTICS, intervals, strict=True)
    }


def _as_measured(measure: Measure, interval: Interval) -> Interval:
    """Undo the negation of scores of a larger-is-better measure."""
    if not measure.larger_is_better:
        return interval
    # Subtract from 0.0 to avoid a negative zero.
    return Interval(0.0 - interval.estimate, 0.0 - interval.high, 0.0 - interval.low)


def _ranking_key(summary: Summary, measure: Measure) -> tuple[float, ...]:
    if measure.is_time:
        return (summary.epochs.estimate, -summary.converged.estimate, summary.epochs_mean)
    sign = -1.0 if measure.larger_is_better else 1.0
    estimates = summary.estimates[measure.key]
    # If most runs of a group diverged, all its estimates are infinite.
    diverged = summary.outcomes.get("diverged", 0) / summary.runs
    return (*(sign * estimates[name].estimate for name in STATISTICS), diverged)


def compare(
    pairs: Sequence[tuple[Group, Group]], measure: Measure, seed: int, n_comparisons: int
) -> list[Comparison]:
    """Compare pairs of groups.

    Args:
        pairs: The pairs, each group with at least two runs.
        measure: The measure to compare.
        seed: Seed of the bootstrap.
        n_comparisons: Number of comparisons that the Holm correction accounts for.

    Returns:
        One comparison per pair.
    """
    p_values = [_test(a, b, measure) for a, b in pairs]
    corrected = statistics.holm(p_values, n_comparisons)
    compare_pair = _compare_times if measure.is_time else _compare_scores
    comparisons = []
    for (a, b), p, p_holm in zip(pairs, p_values, corrected, strict=True):
        improvement, difference, seeds_needed = compare_pair(a, b, measure, seed, n_comparisons)
        comparisons.append(
            Comparison(
                a=a, b=b, improvement=improvement, difference=difference,
                seeds_needed=seeds_needed, p=p, p_holm=p_holm,
            )
        )  # fmt: skip
    return comparisons


def _test(a: Group, b: Group, measure: Measure) -> float:
    if measure.is_time:
        return survival.logrank(a.convergence_times, b.convergence_times)[1]
    return statistics.rank_test(measure.scores(a), measure.scores(b))


def _compare_times(
    a: Group, b: Group, measure: Measure, seed: int, n_comparisons: int
) -> tuple[Interval, Interval, float]:
    """Probability of improvement, difference of means and seeds needed for epochs to converge."""
    # A run with the larger maximum may converge at an epoch that the other group never reaches.
    end = min(a.max_epochs, b.max_epochs)
    x, y = (np.where(s <= end, s, np.inf) for s in (measure.scores(a), measure.scores(b)))
    return (
        statistics.improvement_interval(x, y, seed),
        statistics.difference(np.minimum(x, end), np.minimum(y, end), np.mean, seed),
        survival.seeds_needed(a.convergence_times, b.convergence_times, n_comparisons),
    )


def _compare_scores(
    a: Group, b: Group, measure: Measure, seed: int, n_comparisons: int
) -> tuple[Interval, Interval, float]:
    """Probability of improvement, difference of medians and seeds needed for a metric."""
    x, y = measure.scores(a), measure.scores(b)
    improvement = statistics.improvement_interval(x, y, seed)
    return (
        improvement,
        _difference_of_medians(x, y, measure, seed),
        statistics.seeds_needed(improvement.estimate, n_comparisons),
    )


def _difference_of_medians(x: Array, y: Array, measure: Measure, seed: int) -> Interval:
    if np.isinf(np.median(x)) and np.isinf(np.median(y)):
        return Interval(np.nan, np.nan, np.nan)
    return _as_measured(measure, statistics.difference(x, y, np.median, seed))


def representative_runs(findings: Findings) -> list[tuple[str, "pd.Series[Any]"]]:
    """The best, the median and the worst run of all groups that did not diverge.

    Returns:
        A name ("best", "median", "worst"; "only" for a single run) and the run's row in the
        table. Two runs have no median, and there may be no run at all.
    """
    groups = [summary.group for summary in findings.summaries]
    frame, measure = groups[0].table.frame, findings.measure
    row_indices = np.concatenate([group.row_indices for group in groups])
    scores = np.concatenate([measure.scores(group) for group in groups])
    losses = np.concatenate([FINAL_LOSS.scores(group) for group in groups])
    order = np.lexsort((row_indices, losses, scores))
    ordered = row_indices[order][np.isfinite(losses[order])]
    last = len(ordered) - 1
    positions = {"best": 0, "median": last // 2, "worst": last}
    if last < 2:
        positions = {"best": 0, "worst": last} if last else {"only": 0}
    return [(name, frame.iloc[ordered[i]]) for name, i in positions.items() if last >= 0]
