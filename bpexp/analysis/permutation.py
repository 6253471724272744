"""Permutation tests, exact for small samples, with or without pairs.

The p-value is the share of all assignments of the signs or of the group labels whose statistic is
at least as far from its expectation as the observed one. It needs no assumption about the
distribution of the scores, and ties are taken into account.

>>> import numpy as np
>>> signed_rank_test(np.array([-3.0, -1.0, -2.0, -5.0]))
0.125
>>> rank_sum_test(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
0.1
>>> replicates_needed(n_comparisons=5, is_paired=True)
8
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from bpexp.typing import Array

ALPHA = 0.05
"""Level of significance."""

MAX_PAIRS = 200
"""Up to this many pairs the distribution is computed exactly, for more a normal approximation."""

MAX_OPERATIONS = 2**23
"""Likewise for two unpaired groups: the largest number of additions for the exact distribution."""

SIGN_GRID, LABEL_GRID = 2**16, 2**12
"""Values that add up to more than this are rounded to a grid with this many steps."""


def signed_rank_test(differences: Array) -> float:
    """Signed-rank test of the hypothesis that differences are symmetric around 0 (Wilcoxon 1945).

    Args:
        differences: Differences within pairs, (n,); infinities are allowed. Zeros are dropped.

    Returns:
        The two-sided p-value; 1 if all differences are zero.
    """
    nonzero = differences[differences != 0.0]
    # Twice the ranks are integers, because ties have the mean of their ranks.
    return _sign_test((2.0 * rankdata(np.abs(nonzero))).astype(int), nonzero > 0.0)


def signed_rank_sum(differences: Array) -> float:
    """The sum of the ranks of the sizes of differences, with their signs, (n,) of them."""
    nonzero = differences[differences != 0.0]
    return float(np.sign(nonzero) @ rankdata(np.abs(nonzero)))


def sign_flip_test(differences: Array) -> float:
    """Permutation test of the hypothesis that differences have the mean 0 (Fisher 1935).

    Args:
        differences: Finite differences within pairs, (n,).

    Returns:
        The two-sided p-value; 1 if all differences are zero.
    """
    nonzero = differences[differences != 0.0]
    sizes = np.abs(nonzero)
    if 0 < len(sizes) <= MAX_PAIRS:
        sizes = _on_grid(sizes, SIGN_GRID)
    return _sign_test(sizes, nonzero > 0.0)


def rank_sum_test(a: Array, b: Array) -> float:
    """Rank-sum test of the hypothesis that neither group tends to score lower.

    Mann and Whitney (1947). The distribution is conditional on the ties.

    Args:
        a: Scores of the first group, (n,); infinities are allowed.
        b: Scores of the second group, (m,).

    Returns:
        The two-sided p-value; 1 if all scores are equal.
    """
    ranks = (2.0 * rankdata(np.concatenate([a, b]))).astype(int)
    return _label_test(ranks, len(a))


def mean_test(a: Array, b: Array) -> float:
    """Permutation test of the hypothesis that two groups have the same distribution, by means.

    Args:
        a: Finite scores of the first group, (n,).
        b: Finite scores of the second group, (m,).

    Returns:
        The two-sided p-value; 1 if all scores are equal.
    """
    scores = np.concatenate([a, b])
    scores = scores - scores.min()
    if scores.any() and len(scores) * min(len(a), len(b)) * LABEL_GRID <= MAX_OPERATIONS:
        scores = _on_grid(scores, LABEL_GRID)
    return _label_test(scores, len(a))


def smallest_p(n: int, m: int, *, is_paired: bool) -> float:
    """A lower bound of the two-sided p-values that these tests can give.

    If all signs of the pairs or the labels of two equal groups are exchanged, the statistic is as
    far from its expectation on the other side. Groups of different sizes have no such counterpart:
    with ties or skewed scores, the observed assignment may be the only one that is as extreme.

    Args:
        n: Replicates of the first group, or the number of pairs.
        m: Replicates of the second group.
        is_paired: Whether the replicates are pairs.
    """
    if is_paired:
        return min(1.0, 0.5 ** (n - 1))
    return min(1.0, (2 if n == m else 1) / math.comb(n + m, n))


def replicates_needed(n_comparisons: int, *, is_paired: bool, n_sources: int = 1) -> int:
    """Smallest number of replicates per group with which a difference can be significant.

    Args:
        n_comparisons: The factor by which the smallest p-value is multiplied.
        is_paired: Whether the groups share their replicates.
        n_sources: Number of sources of variation that are crossed; the number is that of each.
    """
    n = 2
    while n_comparisons * combined([smallest_p(n, n, is_paired=is_paired)] * n_sources) >= ALPHA:
        n += 1
    return n


def combined(p_values: Sequence[float]) -> float:
    """The two-sided p-value of a difference whose variance has several parts.

    Each p-value is of a test that knows one part only, such as the variance between splits and that
    between seeds if all splits have the same seeds. The variance of the difference is at most the
    sum of the parts (Cameron, Gelbach and Miller 2011, J. Bus. Econ. Stat. 29:238, who subtract
    what both have in common). As z is the difference divided by the root of its variance, 1 / z^2
    is the sum of those of the tests.

    >>> round(combined([0.01, 0.01]), 3), combined([0.01])
    (0.069, 0.01)
    """
    if len(p_values) == 1:
        return p_values[0]
    z = norm.isf(np.array(p_values) / 2.0)
    if not z.all():
        return 1.0
    with np.errstate(divide="ignore"):  # p-values that are 0 in floating point
        return float(2.0 * norm.sf(np.sum(z**-2.0) ** -0.5))


def _on_grid(values: Array, grid: int) -> Any:
    """Nonnegative values as integers in the same order, with a sum of about ``grid`` at most.

    Distinct values stay distinct, and only zero becomes zero, so that complete separation of two
    groups is never lost to rounding.
    """
    total = float(values.sum())
    if total <= grid and (values == np.rint(values)).all():
        return values.astype(int)
    distinct, index = np.unique(values, return_inverse=True)
    steps = np.rint(distinct * (grid / total)).astype(int)
    first = 0 if distinct[0] == 0.0 else 1
    order = np.arange(len(steps))
    # The smallest strictly increasing sequence of integers that is not below ``steps``.
    steps = np.maximum.accumulate(np.maximum(steps, first) - order) + order
    return steps[index]


def _sign_test(weights: Any, is_positive: Any) -> float:
    """Two-sided p-value of the sum of positive weights, where all signs are equally likely."""
    if not len(weights):
        return 1.0
    total, observed = weights.sum(), weights[is_positive].sum()
    deviation = abs(2 * observed - total)
    if len(weights) > MAX_PAIRS:
        return float(2.0 * norm.sf(deviation / np.sqrt((weights.astype(float) ** 2).sum())))
    probability, size = np.zeros(total + 1), 1
    probability[0] = 1.0
    for weight in weights:
        half = 0.5 * probability[:size]
        probability[:size] = half
        probability[weight : size + weight] += half
        size += weight
    is_extreme = np.abs(2 * np.arange(total + 1) - total) >= deviation
    return min(1.0, float(probability[is_extreme].sum()))


def _label_test(values: Any, n: int) -> float:
    """Two-sided p-value of the sum of the first n values, where all subsets are equally likely."""
    if not np.ptp(values):
        return 1.0
    values, N = values - values.min(), len(values)
    observed, total = values[:n].sum(), values.sum()
    if 2 * n > N:
        n, observed = N - n, total - observed
    deviation = abs(N * observed - n * total)
    size = int(np.sort(values)[N - n :].sum()) + 1
    if values.dtype != int or N * n * size > MAX_OPERATIONS:
        sd = N * math.sqrt(n * (N - n) / (N - 1)) * float(values.std())
        return float(2.0 * norm.sf(float(deviation) / sd))
    counts = np.zeros((n + 1, size))
    counts[0, 0] = 1.0
    for value in values[values < size]:
        counts[1:, value:] += counts[:-1, : size - value]
    is_extreme = np.abs(N * np.arange(size) - n * total) >= deviation
    return min(1.0, float(counts[n, is_extreme].sum() / counts[n].sum()))
