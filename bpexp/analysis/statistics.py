"""Estimates with intervals, over the seeds of one group or between two.

Scores are smaller-is-better; +inf stands for a run that is worse than every finite one (a
diverged run, or one that never converged). Intervals are at 95%.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bpexp.typing import Array

CONFIDENCE = 0.95
RESAMPLES = 2000
POWER = 0.8

Statistic = Callable[..., Any]
"""(sample, axis=...) -> the statistic along ``axis``."""


class Interval(NamedTuple):
    """An estimate and the ends of its interval; nan where it is not defined."""

    estimate: float
    low: float
    high: float


@cache
def wilson(successes: int, n: int) -> Interval:
    """A share with its Wilson score interval (Wilson 1927). ``n`` must be at least 1."""
    from scipy.stats import binomtest

    ends = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high))


def interquartile_mean(scores: Array, axis: int | None = None) -> Any:
    """Mean of the middle half: a quarter is cut at each end (Agarwal et al. 2021).

    Over the whole matrix (n_runs, n_tasks) by default, as rliable does.
    """
    from scipy.stats import trim_mean

    return trim_mean(scores, 0.25, axis=axis)


def bootstrap(sample: Array, statistic: Statistic, seed: int) -> Interval:
    """A mean or quantile with its percentile bootstrap interval (Efron 1979); sample: (n,).

    With fewer than two values there is nothing to resample: the ends are nan.
    """
    return bootstraps(sample, [statistic], seed)[0]


def bootstraps(sample: Array, statistics: Sequence[Statistic], seed: int) -> list[Interval]:
    """``bootstrap`` of several statistics, each from the same resamples as it would be alone."""
    if len(sample) == 1:
        return [Interval(float(sample[0]), np.nan, np.nan) for _ in statistics]

    def each(x: Array, axis: int) -> Any:
        return np.stack([statistic(x, axis=axis) for statistic in statistics])

    return _resampled((sample,), each, seed)


def difference(a: Array, b: Array, statistic: Statistic, seed: int) -> Interval:
    """statistic(a) - statistic(b), each side resampled by itself; a: (n,), b: (m,)."""

    def subtract(x: Array, y: Array, axis: int) -> Any:
        return np.stack([statistic(x, axis=axis) - statistic(y, axis=axis)])

    return _resampled((a, b), subtract, seed)[0]


_WORST = 1e200
"""Stands for +inf while resampling, where inf - inf would be nan."""


def _resampled(samples: tuple[Array, ...], statistic: Statistic, seed: int) -> list[Interval]:
    """Intervals of a statistic that returns several values, (n_values, n_resamples)."""
    from scipy import stats

    finite = np.concatenate([s[np.isfinite(s)] for s in samples])
    bound = 10.0 * max(1.0, float(np.abs(finite).max(initial=0.0)))
    clean = [np.where(np.isfinite(s), s, _WORST) for s in samples]
    estimates = statistic(*clean, axis=-1)
    low = high = np.full(len(estimates), np.nan)
    if min(map(len, clean)) > 1:
        # SciPy also gives a standard error, whose square overflows where _WORST was drawn.
        with np.errstate(over="ignore"):
            low, high = stats.bootstrap(
                clean, statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True,
                batch=max(1, 2**22 // max(map(len, clean))), confidence_level=CONFIDENCE,
                rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
    return [
        Interval(*(float(np.copysign(np.inf, v)) if abs(v) > bound else float(v) for v in found))
        for found in zip(estimates, low, high, strict=True)
    ]


def probability_of_improvement(a: Array, b: Array) -> float:
    """P(a run of ``a`` scores lower than one of ``b``), ties counted half: U / (n m).

    Mann-Whitney's U as in Agarwal et al. (2021), there for larger-is-better.
    """
    from scipy.stats import mannwhitneyu

    # U of (b, a) counts the pairs with b > a.
    U = mannwhitneyu(b, a, method="asymptotic").statistic
    return float(U) / (len(a) * len(b))


def improvement(a: Array, b: Array, seed: int) -> Interval:
    """``probability_of_improvement`` with its percentile bootstrap interval, as rliable does."""
    estimate = probability_of_improvement(a, b)
    if min(len(a), len(b)) < 2:
        return Interval(estimate, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    values, ranks = np.unique(np.concatenate([a, b]), return_inverse=True)
    n_resamples = max(400, min(RESAMPLES, 2**23 // len(values)))
    of_a, of_b = (
        _redrawn(part, len(values), n_resamples, rng) for part in np.split(ranks, [len(a)])
    )
    above = of_b.sum(axis=1, keepdims=True) - of_b.cumsum(axis=1)
    shares = (of_a * (above + 0.5 * of_b)).sum(axis=1) / (len(a) * len(b))
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(shares, [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high))


def _redrawn(ranks: Any, n_values: int, n_resamples: int, rng: np.random.Generator) -> Any:
    """How often each resample holds each rank, (n_resamples, n_values).

    All that U needs of a resample; sorting each of them anew would take many times as long.
    """
    drawn = ranks[rng.integers(0, len(ranks), (n_resamples, len(ranks)))]
    drawn += n_values * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_values)
    return counts.reshape(n_resamples, n_values)


def rank_test(a: Array, b: Array) -> float:
    """Two-sided p of Mann and Whitney's test that neither of two groups tends to be lower."""
    from scipy.stats import mannwhitneyu

    if len(np.unique(np.concatenate([a, b]))) == 1:
        return 1.0
    return float(mannwhitneyu(a, b, method="auto").pvalue)


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's (1979) step-down adjusted p values, in the given order.

    ``family`` is the number of hypotheses where only some of their p values are known; the
    unknown ones are taken as larger than all given, which errs on the safe side.
    """
    p = np.asarray(p_values, dtype=float)
    m, order = family or len(p), np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((m - np.arange(len(p))) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def reach(family: int) -> float:
    """z_{1-alpha/2} + z_{power}: so far from 0 a test's z must lie in the mean to be found.

    Power 0.8; alpha is 0.05 / ``family``, what Holm asks of the smallest p of so many.
    """
    from scipy.stats import norm

    return float(norm.isf((1.0 - CONFIDENCE) / family / 2.0) + norm.ppf(POWER))


def seeds_needed(probability: float, family: int = 1) -> float:
    """Seeds a group for the rank test to find P(improvement) = ``probability``; inf for 1/2.

    Noether (1987), J. Am. Stat. Assoc. 82:645, two equal groups: n = ``reach``^2 /
    (6 (p - 1/2)^2), rounded up.
    """
    effect = abs(probability - 0.5)
    if effect == 0.0:
        return np.inf
    return float(np.ceil(reach(family) ** 2 / (6.0 * effect**2)))


def expected_best(scores: Array, budgets: Sequence[int]) -> Array:
    """E[lowest of n scores] for each n of ``budgets``, drawn with replacement from ``scores``.

    Dodge et al. (2019), eq. 4, for smaller-is-better: with the N scores in order, the i-th is
    the lowest of n draws with probability ((N-i+1)/N)^n - ((N-i)/N)^n. An infinite score
    counts as the largest finite one: one diverged run must not make every budget infinite.
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.full(len(budgets), np.inf)
    ordered = np.sort(np.minimum(scores, finite.max()))
    N, n = len(ordered), np.asarray(budgets, dtype=float)[:, None]
    left = np.arange(N, -1, -1) / N
    chances = left[:-1] ** n - left[1:] ** n
    best: Array = chances @ ordered
    return best


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Share of all runs, over all tasks, that score at or below each threshold.

    Score distributions of Agarwal et al. (2021), there the share above for larger-is-better.
    scores: (n_runs,) or (n_runs, n_tasks); thresholds: (k,); returns (k,).
    """
    ordered = np.sort(scores, axis=None)
    shares: Array = np.searchsorted(ordered, thresholds, side="right") / ordered.size
    return shares
