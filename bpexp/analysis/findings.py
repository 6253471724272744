"""Summarize each group of runs, rank the groups and compare them with each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.analysis import permutation, statistics, survival
from bpexp.analysis.groups import FINAL_LOSS, REPLICATE, Group, Grouped, Measure, available_measures
from bpexp.analysis.statistics import Interval
from bpexp.analysis.survival import ConvergenceCurve
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

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

    If the groups share their seeds, the runs with the same seed are pairs: they start from the
    same random numbers, so their difference varies less than that of two unrelated runs.

    Attributes:
        a: The first group.
        b: The second group.
        shared_seeds: Number of seeds that both groups contain.
        pairs: Number of pairs with the same seed in a paired comparison; 0 if it is unpaired.
        improvement: Probability that a run of ``a`` is better than a run of ``b`` with the same
            seed; of ``b`` with any seed if the comparison is unpaired.
        difference: Median of the differences within pairs, or, unpaired, the difference of the
            medians. For epochs to converge the difference of the means, restricted to the smaller
            maximum number of epochs.
        p: p-value of the permutation test (see ``permutation``): for epochs to converge of the
            restricted means, otherwise of the ranks.
        p_holm: ``p`` with the Holm correction for all comparisons.
    """

    a: Group
    b: Group
    shared_seeds: int
    pairs: int
    improvement: Interval
    difference: Interval
    p: float
    p_holm: float

    @property
    def max_epochs(self) -> float:
        """The smaller maximum number of epochs of the two groups."""
        return min(self.a.max_epochs, self.b.max_epochs)

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that the test can give with these numbers of runs."""
        if self.pairs:
            return permutation.smallest_p(self.pairs, self.pairs, is_paired=True)
        return permutation.smallest_p(len(self.a), len(self.b), is_paired=False)


@dataclass(frozen=True, eq=False)
class Findings:
    """The ranked groups and their comparisons.

    Attributes:
        grouped: All groups.
        measure: The measure that ranks the groups.
        summaries: One summary per group, the best first.
        comparisons: The best group against every other one. Groups of a single run are not
            compared.
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
        keys = [_ranking_key(summary, self.measure, self.horizon) for summary in self.summaries]
        return [first.setdefault(key, rank) for rank, key in enumerate(keys, start=1)]

    @cached_property
    def horizon(self) -> float:
        """The smallest maximum number of epochs of all groups."""
        return min(summary.group.max_epochs for summary in self.summaries)

    @cached_property
    def has_scores(self) -> bool:
        """Whether any run has a finite score; otherwise there is nothing to plot."""
        return any(np.isfinite(self.measure.scores(s.group)).any() for s in self.summaries)

    @property
    def can_be_significant(self) -> bool:
        """Whether the number of seeds allows any comparison to be significant."""
        smallest = [c.smallest_p for c in self.comparisons]
        return bool(smallest) and len(smallest) * min(smallest) < permutation.ALPHA


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
    horizon = min(group.max_epochs for group in grouped.groups)
    ranked = sorted(summaries, key=lambda summary: _ranking_key(summary, measure, horizon))
    groups = [summary.group for summary in ranked]
    pairs = [(groups[0], other) for other in groups[1:] if min(len(groups[0]), len(other)) > 1]
    return Findings(
        grouped=grouped,
        measure=measure,
        summaries=ranked,
        comparisons=compare(pairs, measure, seed),
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


def _ranking_key(summary: Summary, measure: Measure, horizon: float) -> tuple[float, ...]:
    if measure.is_time:
        # The quantity that is tested comes first, so that ranks and tests cannot disagree.
        mean, _ = survival.restricted_mean(summary.convergence, horizon)
        return (mean, summary.epochs.estimate, -summary.converged.estimate, summary.epochs_mean)
    sign = -1.0 if measure.larger_is_better else 1.0
    estimates = summary.estimates[measure.key]
    # If most runs of a group diverged, all its estimates are infinite.
    diverged = summary.outcomes.get("diverged", 0) / summary.runs
    return (*(sign * estimates[name].estimate for name in STATISTICS), diverged)


def compare(pairs: Sequence[tuple[Group, Group]], measure: Measure, seed: int) -> list[Comparison]:
    """Compare pairs of groups.

    Args:
        pairs: The pairs, each group with at least two runs.
        measure: The measure to compare.
        seed: Seed of the bootstrap.

    Returns:
        One comparison per pair, with p-values that are corrected for all of them.
    """
    compared = [_compare(a, b, measure, seed) for a, b in pairs]
    corrected = statistics.holm([comparison.p for comparison in compared])
    return [replace(c, p_holm=p) for c, p in zip(compared, corrected, strict=True)]


def _compare(a: Group, b: Group, measure: Measure, seed: int) -> Comparison:
    """Compare two groups, without a correction for other comparisons."""
    x, y = measure.scores(a), measure.scores(b)
    if measure.is_time:
        # A run with the larger maximum may converge at an epoch that the other group never reaches.
        end = min(a.max_epochs, b.max_epochs)
        x, y = (np.where(scores <= end, scores, np.inf) for scores in (x, y))
    shared, in_a, in_b = np.intersect1d(
        a.column(REPLICATE), b.column(REPLICATE), return_indices=True
    )
    # With fewer pairs than this, dropping the runs without a partner loses more than it gains.
    is_paired = len(shared) > 1 and 2 * len(shared) >= max(len(a), len(b))
    if is_paired:
        x, y = x[in_a], y[in_b]
    if measure.is_time:
        p, difference = _restricted_means(np.minimum(x, end), np.minimum(y, end), seed, is_paired)
    else:
        p, difference = _medians(x, y, seed, is_paired)
        difference = _as_measured(measure, difference)
    return Comparison(
        a=a,
        b=b,
        shared_seeds=len(shared),
        pairs=len(shared) if is_paired else 0,
        improvement=(
            statistics.paired_improvement(x, y)
            if is_paired
            else statistics.improvement_interval(x, y, seed)
        ),
        difference=difference,
        p=p,
        p_holm=p,
    )


def _restricted_means(x: Array, y: Array, seed: int, is_paired: bool) -> tuple[float, Interval]:
    """p-value and difference of the means of restricted epochs to converge."""
    if is_paired:
        return permutation.sign_flip_test(x - y), statistics.bootstrap(x - y, np.mean, seed)
    return permutation.mean_test(x, y), statistics.difference(x, y, np.mean, seed)


def _medians(x: Array, y: Array, seed: int, is_paired: bool) -> tuple[float, Interval]:
    """p-value of the rank test, and the median difference."""
    if is_paired:
        differences = statistics.paired_differences(x, y)
        undefined = bool(np.isinf(x).sum() > len(x) / 2 and np.isinf(y).sum() > len(y) / 2)
        estimate = Interval(np.nan, np.nan, np.nan)
        if not undefined:
            estimate = statistics.median_interval(differences)
        return permutation.signed_rank_test(differences), estimate
    p = permutation.rank_sum_test(x, y)
    if np.isinf(np.median(x)) and np.isinf(np.median(y)):
        return p, Interval(np.nan, np.nan, np.nan)
    return p, statistics.difference(x, y, np.median, seed)


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
