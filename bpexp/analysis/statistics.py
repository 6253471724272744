"""Estimates with confidence intervals and tests, for one group of runs or for two.

All scores are smaller-is-better. ``+inf`` marks a run that is worse than every finite one: a
diverged run, or a run that never converged. Intervals have the confidence level ``CONFIDENCE``.

>>> import numpy as np
>>> wilson(15, 20).estimate
0.75
>>> round(probability_of_improvement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])), 3)
0.833
>>> holm([0.04, 0.01, 0.02])
[0.04, 0.03, 0.04]
>>> seeds_needed(0.7)
33.0
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bpexp.typing import Array

CONFIDENCE = 0.95
"""Confidence level of every interval."""

RESAMPLES = 2000
"""Number of bootstrap resamples."""

POWER = 0.8
"""Power of a test for which ``seeds_needed`` computes the sample size."""

Statistic = Callable[..., Any]
"""A function ``statistic(sample, axis=...)`` that reduces ``axis``, such as ``np.median``."""


class Interval(NamedTuple):
    """A point estimate with the bounds of its confidence interval; nan where undefined."""

    estimate: float
    low: float
    high: float


@cache
def wilson(successes: int, n: int) -> Interval:
    """Estimate a proportion with its Wilson score interval (Wilson 1927).

    Args:
        successes: Number of successes.
        n: Number of trials, at least 1.

    Returns:
        ``successes / n`` with its interval.
    """
    return Interval(successes / n, *_wilson_bounds(successes / n, n))


def _wilson_bounds(share: float, n: int) -> tuple[float, float]:
    """Bounds of the Wilson score interval of a share of n, (p + z^2/2n ± ...) / (1 + z^2/n)."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + CONFIDENCE / 2.0))
    center = share + z * z / (2.0 * n)
    half = z * np.sqrt(share * (1.0 - share) / n + (z / (2.0 * n)) ** 2)
    low, high = (center - half) / (1.0 + z * z / n), (center + half) / (1.0 + z * z / n)
    return 0.0 if share == 0.0 else float(low), 1.0 if share == 1.0 else float(high)


def interquartile_mean(scores: Array, axis: int | None = None) -> Any:
    """Mean of the middle half of the scores (Agarwal et al. 2021).

    A quarter of the values is removed at each end.

    Args:
        scores: Scores, for example (n_runs,) or (n_runs, n_tasks).
        axis: Axis to reduce. By default the mean is over all values, as in rliable.

    Returns:
        The trimmed mean, a scalar or an array without ``axis``.
    """
    from scipy.stats import trim_mean

    return trim_mean(scores, 0.25, axis=axis)


def bootstrap(sample: Array, statistic: Statistic, seed: int) -> Interval:
    """Estimate a statistic of one sample with its percentile bootstrap interval (Efron 1979).

    Args:
        sample: Scores, (n,).
        statistic: A mean or a quantile.
        seed: Seed of the resampling.

    Returns:
        The estimate and its interval. The bounds are nan for fewer than two scores.
    """
    return bootstrap_many(sample, [statistic], seed)[0]


def bootstrap_many(sample: Array, statistics: Sequence[Statistic], seed: int) -> list[Interval]:
    """Apply ``bootstrap`` to several statistics, using the same resamples for each.

    Args:
        sample: Scores, (n,).
        statistics: The statistics.
        seed: Seed of the resampling.

    Returns:
        One interval for each statistic, equal to what ``bootstrap`` returns for it.
    """
    if len(sample) == 1:
        return [Interval(float(sample[0]), np.nan, np.nan) for _ in statistics]

    def all_statistics(x: Array, axis: int) -> Any:
        return np.stack([statistic(x, axis=axis) for statistic in statistics])

    return _percentile_intervals((sample,), all_statistics, seed)


def difference(a: Array, b: Array, statistic: Statistic, seed: int) -> Interval:
    """Estimate ``statistic(a) - statistic(b)`` with its percentile bootstrap interval.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,). The groups are resampled independently.
        statistic: A mean or a quantile.
        seed: Seed of the resampling.

    Returns:
        The difference and its interval. The bounds are nan if a group has fewer than two scores.
    """

    def subtract(x: Array, y: Array, axis: int) -> Any:
        return np.stack([statistic(x, axis=axis) - statistic(y, axis=axis)])

    return _percentile_intervals((a, b), subtract, seed)[0]


_INFINITY = 1e200
"""Replaces +inf during resampling, because inf - inf would give nan."""


def _percentile_intervals(
    samples: tuple[Array, ...], statistic: Statistic, seed: int
) -> list[Interval]:
    """Percentile intervals of a statistic that returns an array (n_values, n_resamples)."""
    from scipy import stats

    finite = np.concatenate([s[np.isfinite(s)] for s in samples])
    # Any result beyond this bound contains at least one replaced infinity.
    bound = 10.0 * max(1.0, float(np.abs(finite).max(initial=0.0)))
    replaced = [np.where(np.isfinite(s), s, _INFINITY) for s in samples]
    estimates = statistic(*replaced, axis=-1)
    low = high = np.full(len(estimates), np.nan)
    if min(map(len, replaced)) > 1:
        # SciPy also computes a standard error, which overflows for values like _INFINITY.
        with np.errstate(over="ignore"):
            low, high = stats.bootstrap(
                replaced, statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True,
                batch=max(1, 2**22 // max(map(len, replaced))), confidence_level=CONFIDENCE,
                rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
    return [
        Interval(*(float(np.copysign(np.inf, v)) if abs(v) > bound else float(v) for v in values))
        for values in zip(estimates, low, high, strict=True)
    ]


def probability_of_improvement(a: Array, b: Array) -> float:
    """Probability that a run of ``a`` scores lower than a run of ``b``; ties count one half.

    This is U / (n m) with the U statistic of Mann and Whitney (1947). Agarwal et al. (2021)
    define it for larger-is-better scores.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,).

    Returns:
        A probability; 0.5 if neither group tends to score lower.
    """
    from scipy.stats import mannwhitneyu

    # With the arguments in this order, U counts the pairs with b > a.
    U = mannwhitneyu(b, a, method="asymptotic").statistic
    return float(U) / (len(a) * len(b))


def improvement_interval(a: Array, b: Array, seed: int) -> Interval:
    """Estimate ``probability_of_improvement`` with its percentile bootstrap interval.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,). The groups are resampled independently, as in rliable.
        seed: Seed of the resampling.

    Returns:
        The probability and its interval. The bounds are nan if a group has fewer than two scores.
    """
    estimate = probability_of_improvement(a, b)
    if min(len(a), len(b)) < 2:
        return Interval(estimate, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    values, ranks = np.unique(np.concatenate([a, b]), return_inverse=True)
    n_resamples = max(400, min(RESAMPLES, 2**23 // len(values)))
    counts_a, counts_b = (
        _resampled_counts(part, len(values), n_resamples, rng) for part in np.split(ranks, [len(a)])
    )
    higher_b = counts_b.sum(axis=1, keepdims=True) - counts_b.cumsum(axis=1)
    resampled = (counts_a * (higher_b + 0.5 * counts_b)).sum(axis=1) / (len(a) * len(b))
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high))


def _resampled_counts(ranks: Any, n_values: int, n_resamples: int, rng: np.random.Generator) -> Any:
    """Count how often each rank occurs in each resample, (n_resamples, n_values).

    The counts determine U, and computing them is much faster than sorting every resample.
    """
    drawn = ranks[rng.integers(0, len(ranks), (n_resamples, len(ranks)))]
    drawn += n_values * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_values)
    return counts.reshape(n_resamples, n_values)


def paired_differences(a: Array, b: Array) -> Array:
    """Differences ``a - b`` within pairs, (n,); two infinite scores differ by 0."""
    both = np.isinf(a) & np.isinf(b)
    return np.where(both, 0.0, np.where(both, 0.0, a) - np.where(both, 0.0, b))


def paired_improvement(a: Array, b: Array) -> Interval:
    """Share of pairs in which ``a`` scores lower; ties count one half.

    The interval is Wilson's. Ties make the variance smaller than that of a proportion, so the
    interval is conservative with ties.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group with the same replicates in the same order, (n,).
    """
    share = float(np.mean((a < b) + 0.5 * (a == b)))
    return Interval(share, *_wilson_bounds(share, len(a)))


def median_interval(sample: Array) -> Interval:
    """Estimate the median with its exact interval between two order statistics.

    The interval from the k-th smallest to the k-th largest value contains the median with a
    probability of at least ``CONFIDENCE`` for any distribution (David and Nagaraja 2003, 7.1).

    Args:
        sample: Scores, (n,).

    Returns:
        The median and its interval; the bounds are nan for fewer than six values, which cannot
        give an interval with this confidence.
    """
    from scipy.stats import binom

    n, ordered = len(sample), np.sort(sample)
    # The k-th smallest value is above the median if fewer than k values are below it.
    k = int(binom.ppf((1.0 - CONFIDENCE) / 2.0, n, 0.5))
    low, high = (float(ordered[k - 1]), float(ordered[n - k])) if k else (np.nan, np.nan)
    return Interval(float(np.median(ordered)), low, high)


def holm(p_values: Sequence[float], n_hypotheses: int | None = None) -> list[float]:
    """Adjust p-values for multiple comparisons by the step-down method of Holm (1979).

    Args:
        p_values: The p-values.
        n_hypotheses: Number of hypotheses if more are tested than ``p_values`` has. The missing
            p-values are assumed to be larger than all given ones, which is conservative.

    Returns:
        The adjusted p-values in the same order, at most 1.
    """
    p = np.asarray(p_values, dtype=float)
    m, order = n_hypotheses or len(p), np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((m - np.arange(len(p))) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def required_z(n_comparisons: int) -> float:
    """Expected z statistic that a two-sided z test needs for the power ``POWER``.

    This is z(1 - alpha/2) + z(POWER), where alpha = 0.05 / ``n_comparisons`` is the level of
    the first step of the Holm correction.
    """
    from scipy.stats import norm

    return float(norm.isf((1.0 - CONFIDENCE) / n_comparisons / 2.0) + norm.ppf(POWER))


def seeds_needed(probability: float, n_comparisons: int = 1) -> float:
    """Seeds per group for which the rank test detects a probability of improvement.

    Noether (1987), J. Am. Stat. Assoc. 82:645, for two groups of equal size:
    n = ``required_z``^2 / (6 (p - 1/2)^2), rounded up.

    Args:
        probability: The probability of improvement p.
        n_comparisons: Number of comparisons that the Holm correction accounts for.

    Returns:
        The number of seeds per group; inf for a probability of one half.
    """
    effect = abs(probability - 0.5)
    if effect == 0.0:
        return np.inf
    return float(np.ceil(required_z(n_comparisons) ** 2 / (6.0 * effect**2)))


def expected_best(scores: Array, budgets: Sequence[int]) -> Array:
    """Expected lowest score of n runs, for each n.

    Dodge et al. (2019), eq. 4, for smaller-is-better: with N scores in ascending order, the
    i-th is the lowest of n draws with replacement with probability
    ((N-i+1)/N)^n - ((N-i)/N)^n. An infinite score is replaced by the largest finite one, so
    that one diverged run does not make every expectation infinite.

    Args:
        scores: Scores of the runs, (N,).
        budgets: The numbers of runs n.

    Returns:
        The expectations, (len(budgets),); inf if no score is finite.
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.full(len(budgets), np.inf)
    ordered = np.sort(np.minimum(scores, finite.max()))
    N, n = len(ordered), np.asarray(budgets, dtype=float)[:, None]
    remaining = np.arange(N, -1, -1) / N
    probabilities = remaining[:-1] ** n - remaining[1:] ** n
    best: Array = probabilities @ ordered
    return best


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Share of runs that score at or below each threshold.

    This is the score distribution of Agarwal et al. (2021), who count the runs above a
    threshold because their scores are larger-is-better.

    Args:
        scores: Scores, (n_runs,) or (n_runs, n_tasks); the share is over all values.
        thresholds: Thresholds, (k,).

    Returns:
        The shares, (k,).
    """
    ordered = np.sort(scores, axis=None)
    shares: Array = np.searchsorted(ordered, thresholds, side="right") / ordered.size
    return shares
