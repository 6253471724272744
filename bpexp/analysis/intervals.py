"""Exact confidence intervals of shares and medians.

The intervals assume nothing about the distribution of the scores and cover with at least their
confidence level for any number of runs. Where no such interval exists, the bounds are nan.

The table at the end of a sweep needs this module. It therefore uses ``scipy.special`` alone:
``scipy.stats`` takes several times as long to import.

>>> import numpy as np
>>> [round(bound, 3) for bound in share_interval(15, 20)]
[0.75, 0.509, 0.913]
>>> median_interval(np.array([4.0, 1.0, 3.0, 2.0, 5.0, 6.0]))
Interval(estimate=3.5, low=1.0, high=6.0)
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, betaincinv

from bpexp.typing import Array

CONFIDENCE = 0.95
"""Confidence level of an interval, or of several intervals together."""


class Interval(NamedTuple):
    """A point estimate with the bounds of its confidence interval; nan where undefined."""

    estimate: float
    low: float
    high: float

    @classmethod
    def without_bounds(cls, estimate: float) -> "Interval":
        """An estimate for which no interval holds."""
        return cls(estimate, math.nan, math.nan)

    @property
    def has_bounds(self) -> bool:
        """Whether there is an interval to show; one of its bounds may be infinite."""
        return math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def negated(self) -> "Interval":
        """The interval of the negated quantity."""
        # Subtract from 0.0 to avoid a negative zero.
        return Interval(0.0 - self.estimate, 0.0 - self.high, 0.0 - self.low)


def confidence_of_each(n_intervals: int) -> float:
    """Confidence level of each of several intervals that hold together with ``CONFIDENCE``.

    Bonferroni's inequality: none of n intervals fails with a probability of at least 95% if each
    fails with a probability of at most 5% / n. An interval that is selected by the data, such as
    that of the best group, then still covers with at least 95%.
    """
    return 1.0 - (1.0 - CONFIDENCE) / max(1, n_intervals)


@cache
def share_interval(successes: float, n: int, level: float = CONFIDENCE) -> Interval:
    """Estimate a share with its exact interval (Clopper and Pearson 1934).

    Args:
        successes: Number of successes; a fraction if ties count one half, or if trials are fewer
            than runs.
        n: Number of trials, at least 1.
        level: Confidence level.

    Returns:
        ``successes / n`` with its interval.
    """
    low, high = share_bounds(np.array([successes]), n, level)
    return Interval(successes / n, float(low[0]), float(high[0]))


def share_bounds(successes: Array, n: int, level: float = CONFIDENCE) -> tuple[Array, Array]:
    """Bounds of ``share_interval`` for several numbers of successes, (k,) each.

    The bounds are quantiles of beta distributions, which are defined for fractions as well.
    """
    tail, failures = (1.0 - level) / 2.0, n - successes
    # A parameter of 0 is undefined; those bounds are 0 or 1.
    low = betaincinv(np.where(successes > 0.0, successes, 1.0), failures + 1.0, tail)
    high = betaincinv(successes + 1.0, np.where(failures > 0.0, failures, 1.0), 1.0 - tail)
    return np.where(successes > 0.0, low, 0.0), np.where(failures > 0.0, high, 1.0)


def median_interval(sample: Array, level: float = CONFIDENCE) -> Interval:
    """Estimate the median with its exact interval between two order statistics.

    The interval from the k-th smallest to the k-th largest value contains the median with a
    probability of at least ``level`` for any distribution (David and Nagaraja 2003, 7.1).

    Args:
        sample: Scores, (n,).
        level: Confidence level.

    Returns:
        The median and its interval; the bounds are nan for fewer than ``runs_for_median(level)``
        values, which cannot give an interval with this confidence.
    """
    n, ordered = len(sample), np.sort(sample)
    # The k-th smallest value is above the median if fewer than k values are below it.
    k = int(np.searchsorted(bdtr(np.arange(n + 1), n, 0.5), (1.0 - level) / 2.0))
    low, high = (float(ordered[k - 1]), float(ordered[n - k])) if k else (np.nan, np.nan)
    return Interval(float(np.median(ordered)), low, high)


def runs_for_median(level: float = CONFIDENCE) -> int:
    """Smallest number of runs for which ``median_interval`` has bounds.

    The smallest and the largest of n values enclose the median with probability 1 - 2 / 2^n.
    """
    return math.ceil(1.0 - math.log2(1.0 - level))


def median_difference(a: Array, b: Array, level: float = CONFIDENCE) -> Interval:
    """Estimate ``median(a) - median(b)`` of two independent groups with a conservative interval.

    The bounds are differences of the bounds of two median intervals, each with the confidence
    sqrt(``level``): both hold with the probability ``level``.

    Args:
        a: Scores of the first group, (n,).
        b: Scores of the second group, (m,).
        level: Confidence level of the difference.

    Returns:
        The difference with its interval; all nan if both medians are infinite.
    """
    x, y = (median_interval(scores, math.sqrt(level)) for scores in (a, b))
    if math.isinf(x.estimate) and math.isinf(y.estimate):
        return Interval.without_bounds(np.nan)
    with np.errstate(invalid="ignore"):
        low, high = np.subtract(x.low, y.high), np.subtract(x.high, y.low)
    return Interval(
        x.estimate - y.estimate,
        -np.inf if math.isinf(x.low) and math.isinf(y.high) else float(low),
        np.inf if math.isinf(x.high) and math.isinf(y.low) else float(high),
    )
