"""What the runs say: each group summed up, the groups ranked and compared."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.analysis import statistics, survival
from bpexp.analysis.groups import ACCURACIES, MEASURES, Group, Grouped, Measure, measured
from bpexp.analysis.statistics import Interval
from bpexp.analysis.survival import Curve
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

ALL_PAIRS = 6
"""Up to so many groups each is compared with each; beyond, the best with every other."""

STATISTICS: dict[str, statistics.Statistic] = {
    "median": np.median,
    "iqm": statistics.interquartile_mean,
    "mean": np.mean,
}


@dataclass(frozen=True, eq=False)
class Summary:
    """One group over its seeds.

    ``estimates`` holds median, interquartile mean and mean of each figure, as
    ``estimates["final_loss"]["median"]``. ``convergence`` is the curve of the share that has
    converged; ``epochs`` its median; ``epochs_mean`` and ``epochs_sd`` are restricted to
    the group's budget.
    """

    group: Group
    outcomes: Mapping[str, int]
    converged: Interval
    convergence: Curve
    epochs: Interval
    epochs_mean: float
    epochs_sd: float
    estimates: Mapping[str, Mapping[str, Interval]]

    @property
    def runs(self) -> int:
        """Finished runs."""
        return len(self.group)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Group ``a`` against group ``b``: does a run of ``a`` do better?

    ``difference`` is a's minus b's median, for epochs to converge the mean; these are looked
    at within the shorter budget. ``p`` is of Mann and Whitney's test, for epochs to converge
    the log-rank test; ``p_holm`` is corrected for all pairs of groups. ``seeds_needed`` is
    what the test would need with that correction.
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
    """Groups best first, and comparisons of the best with the others or of all pairs.

    Groups of a single run are not compared.
    """

    grouped: Grouped
    measure: Measure
    summaries: Sequence[Summary]
    comparisons: Sequence[Comparison]
    seed: int

    @cached_property
    def runs(self) -> int:
        """Finished runs of all groups."""
        return sum(summary.runs for summary in self.summaries)

    @cached_property
    def ranks(self) -> list[int]:
        """1, 2, ...; groups whose estimates are all equal share the first one's."""
        first: dict[tuple[float, ...], int] = {}
        keys = [_rank(summary, self.measure) for summary in self.summaries]
        return [first.setdefault(key, place) for place, key in enumerate(keys, start=1)]

    @property
    def pairs(self) -> int:
        """Of groups: so many comparisons the p values are corrected for."""
        return math.comb(len(self.summaries), 2)

    @cached_property
    def can_be_drawn(self) -> bool:
        """Whether any run has reached what is measured; runs that all diverged have not."""
        return any(np.isfinite(self.measure.scores(s.group)).any() for s in self.summaries)

    @property
    def against_best(self) -> list[Comparison]:
        """The best group against each other one, in the order of the ranks."""
        best = self.summaries[0].group
        return [c for c in self.comparisons if c.a is best]


def find(grouped: Grouped, measure: Measure, seed: int) -> Findings:
    """Sum up, rank and compare. Every interval is drawn anew from ``seed``."""
    shown = [m for m in measured(grouped) if m.key != "epochs_to_converge"]
    summaries = [_summary(group, shown, seed) for group in grouped.groups]
    ranked = sorted(summaries, key=lambda summary: _rank(summary, measure))
    groups = [summary.group for summary in ranked]
    if len(groups) <= ALL_PAIRS:
        pairs = list(itertools.combinations(groups, 2))
    else:
        pairs = [(groups[0], other) for other in groups[1:]]
    # One run says nothing of the next one of its group.
    pairs = [(a, b) for a, b in pairs if min(len(a), len(b)) > 1]
    compared = compare(pairs, measure, seed, math.comb(len(groups), 2))
    return Findings(grouped, measure, ranked, compared, seed)


def _summary(group: Group, measures: Sequence[Measure], seed: int) -> Summary:
    times = group.times
    curve = survival.converged_by(times)
    mean, sd = survival.restricted_mean(curve, group.budget)
    return Summary(
        group,
        dict(sorted(Counter(group.outcomes.tolist()).items())),
        statistics.wilson(int(times.converged.sum()), len(times.converged)),
        curve, survival.median(curve), mean, sd,
        {m.key: _estimates(m, group, seed) for m in measures},
    )  # fmt: skip


def _estimates(measure: Measure, group: Group, seed: int) -> dict[str, Interval]:
    scores = measure.scores(group)
    found = dict(
        zip(STATISTICS, statistics.bootstraps(scores, [*STATISTICS.values()], seed), strict=True)
    )
    if measure.column not in ACCURACIES:
        return found
    # Scores are smaller-is-better: an accuracy is their negative, its ends change places.
    return {k: Interval(0.0 - v.estimate, 0.0 - v.high, 0.0 - v.low) for k, v in found.items()}


def _rank(summary: Summary, measure: Measure) -> tuple[float, ...]:
    if measure.key == "epochs_to_converge":
        return (summary.epochs.estimate, -summary.converged.estimate, summary.epochs_mean)
    # Where most runs of a group diverged, its estimates are all infinite.
    diverged = summary.outcomes.get("diverged", 0) / summary.runs
    sign = -1.0 if measure.column in ACCURACIES else 1.0
    found = summary.estimates[measure.key]
    return (*(sign * found[name].estimate for name in STATISTICS), diverged)


def compare(
    pairs: Sequence[tuple[Group, Group]], measure: Measure, seed: int, family: int
) -> list[Comparison]:
    """Each pair compared; p values are corrected for ``family`` comparisons."""
    tests = [_test(a, b, measure) for a, b in pairs]
    corrected = statistics.holm(tests, family)
    return [
        Comparison(a, b, *_contrast(a, b, measure, seed, family), p=p, p_holm=p_holm)
        for (a, b), p, p_holm in zip(pairs, tests, corrected, strict=True)
    ]


def _test(a: Group, b: Group, measure: Measure) -> float:
    if measure.key == "epochs_to_converge":
        return survival.logrank(a.times, b.times)[1]
    return statistics.rank_test(measure.scores(a), measure.scores(b))


def _contrast(
    a: Group, b: Group, measure: Measure, seed: int, family: int
) -> tuple[Interval, Interval, float]:
    """Probability of improvement, difference, seeds needed."""
    x, y = measure.scores(a), measure.scores(b)
    if measure.key == "epochs_to_converge":
        end = min(a.budget, b.budget)
        # A run with the longer budget may have converged when the others were not asked any more.
        x, y = (np.where(scores <= end, scores, np.inf) for scores in (x, y))
        apart = statistics.difference(np.minimum(x, end), np.minimum(y, end), np.mean, seed)
        needed = survival.seeds_needed(a.times, b.times, family)
        return statistics.improvement(x, y, seed), apart, needed
    better = statistics.improvement(x, y, seed)
    needed = statistics.seeds_needed(better.estimate, family)
    return better, _difference(x, y, measure, seed), needed


def _difference(x: Array, y: Array, measure: Measure, seed: int) -> Interval:
    if np.isinf(np.median(x)) and np.isinf(np.median(y)):
        return Interval(np.nan, np.nan, np.nan)
    found = statistics.difference(x, y, np.median, seed)
    if measure.column in ACCURACIES:
        return Interval(0.0 - found.estimate, 0.0 - found.high, 0.0 - found.low)
    return found


def exemplars(findings: Findings) -> list[tuple[str, "pd.Series[Any]"]]:
    """The best, the median and the worst run that did not diverge: what it is, and its row."""
    groups = [summary.group for summary in findings.summaries]
    frame, measure = groups[0].table.frame, findings.measure
    places = np.concatenate([group.places for group in groups])
    scores = np.concatenate([measure.scores(group) for group in groups])
    losses = np.concatenate([MEASURES["final_loss"].scores(group) for group in groups])
    order = np.lexsort((places, losses, scores))
    ordered = places[order][np.isfinite(losses[order])]
    last = len(ordered) - 1
    titles = {"best": 0, "median": last // 2, "worst": last}
    if last < 2:
        titles = {"best": 0, "worst": last} if last else {"only": 0}
    return [(title, frame.iloc[ordered[i]]) for title, i in titles.items() if last >= 0]
