"""Comparisons of groups of scores, and corrections for multiple tests.

All scores are smaller-is-better. ``+inf`` marks a run that is worse than every finite one: a
diverged run, or a run that never converged.

>>> import numpy as np
>>> round(probability_of_improvement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])), 3)
0.833
>>> holm([0.04, 0.01, 0.02])
[0.04, 0.03, 0.04]
>>> shaffer([0.004, 0.01, 0.02])
[0.024, 0.03, 0.06]
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu, trim_mean

from bpexp.analysis.intervals import CONFIDENCE, Interval, share_interval
from bpexp.typing import Array

Statistic = Callable[..., Any]
"""A function ``statistic(sample, axis=...)`` that reduces ``axis``, such as ``np.median``."""


def interquartile_mean(scores: Array, axis: int | None = None) -> Any:
    """Mean of the middle half of the scores (Agarwal et al. 2021).

    A quarter of the values is removed at each end.

    Args:
        scores: Scores, for example (n_runs,) or (n_runs, n_tasks).
        axis: Axis to reduce. By default the mean is over all values, as in rliable.

    Returns:
        The trimmed mean, a scalar or an array without ``axis``.
    """
    return trim_mean(scores, 0.25, axis=axis)


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
    # With the arguments in this order, U counts the pairs with b > a.
    U = mannwhitneyu(b, a, method="asymptotic").statistic
    return float(U) / (len(a) * len(b))


def improvement_interval(
    a: Array, b: Array, level: float = CONFIDENCE, n_trials: int | None = None
) -> Interval:
    """Estimate ``probability_of_improvement`` with a conservative interval.

    The variance of the estimate is at most that of a share of min(n, m) independent trials
    (Birnbaum and Klose 1957), so this is the interval of ``share_interval`` for so many trials.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,).
        level: Confidence level.
        n_trials: Number of trials if runs are not independent, see ``paired_improvement``.
    """
    estimate, n = probability_of_improvement(a, b), n_trials or min(len(a), len(b))
    return share_interval(estimate * n, n, level)._replace(estimate=estimate)


def paired_differences(a: Array, b: Array) -> Array:
    """Differences ``a - b`` within pairs, (n,); two infinite scores differ by 0."""
    both = np.isinf(a) & np.isinf(b)
    return np.where(both, 0.0, np.where(both, 0.0, a) - np.where(both, 0.0, b))


def paired_improvement(
    a: Array, b: Array, level: float = CONFIDENCE, n_trials: int | None = None
) -> Interval:
    """Share of pairs in which ``a`` scores lower; ties count one half.

    Ties make the variance smaller than that of a share, so the interval is conservative. If pairs
    share levels of a source, such as splits, so does taking as many trials as there are levels with
    equally many pairs: the share of a complete crossing is a mean of shares of so many pairs that
    have no level in common, and the variance of a mean is at most the largest one of its parts.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group with the same replicates in the same order, (n,).
        level: Confidence level.
        n_trials: The smallest ``variation.Unit.n_trials`` of any source; None if the pairs are
            independent.
    """
    n = len(a) if n_trials is None else n_trials
    return share_interval(float(np.mean((a < b) + 0.5 * (a == b))) * n, n, level)


def median(sample: Array) -> float:
    """The median; 0 between two infinities of different signs."""
    ordered, n = np.sort(sample), len(sample)
    low, high = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    if low == high or low == -math.inf == -high:
        return low if low == high else 0.0
    return 0.5 * (low + high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons by the step-down method of Holm (1979).

    Args:
        p_values: The p-values of all hypotheses that are tested.

    Returns:
        The adjusted p-values in the same order, at most 1.
    """
    return _step_down(p_values, len(p_values) - np.arange(len(p_values)))


def shaffer(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of comparisons of the best of k groups with each of the k - 1 others.

    Which group is the best is decided by the same runs, so any of the k (k - 1) / 2 pairs of
    groups could have been among the comparisons, and the correction is for all of them. The
    smallest p-value is multiplied by k (k - 1) / 2. If it is significant, at least one group
    differs from another, and at most (k - 1) (k - 2) / 2 pairs can still be equal, by which the
    other p-values are multiplied (Shaffer 1986, J. Am. Stat. Assoc. 81:826).

    The p-values of pairs that are not given are assumed to be larger, which is conservative.

    Args:
        p_values: The k - 1 p-values.

    Returns:
        The adjusted p-values in the same order, at most 1. The probability of any adjusted
        p-value of at most alpha between equal groups is at most alpha.
    """
    k = len(p_values) + 1
    factors = np.full(len(p_values), max(1, math.comb(k - 1, 2)))
    factors[:1] = math.comb(k, 2)
    return _step_down(p_values, factors)


def _step_down(p_values: Sequence[float], factors: Any) -> list[float]:
    """Multiply the p-values in ascending order by decreasing factors, and keep the order."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return [float(value) for value in adjusted]


def expected_best(scores: Array, n_drawn: Sequence[int]) -> Array:
    """Expected lowest score of n runs, for each n, without bias.

    The mean of the lowest score over all sets of n of the N runs: the i-th score in ascending
    order is the lowest of C(N - i, n - 1) of the C(N, n) sets. Drawing with replacement (Dodge et
    al. 2019, eq. 4) would be biased, because the same run can be drawn twice (Tang et al. 2020,
    Proc. ACL, 2766). An infinite score is replaced by the largest finite one, so that one diverged
    run does not make every expectation infinite.

    Args:
        scores: Scores of the runs, (N,).
        n_drawn: The numbers of runs n, from 1 to N.

    Returns:
        The expectations, (len(n_drawn),); inf if no score is finite.
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.full(len(n_drawn), np.inf)
    ordered = np.sort(np.minimum(scores, finite.max()))
    N, n = len(ordered), np.asarray(n_drawn)[:, None]
    # Probability that the i-th score is the lowest, given that none of the lower ones is drawn.
    left = N - np.arange(N)
    lowest = np.minimum(1.0, n / left)
    not_yet = np.cumprod(np.hstack([np.ones_like(lowest[:, :1]), 1.0 - lowest[:, :-1]]), axis=1)
    best: Array = (lowest * not_yet) @ ordered
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
