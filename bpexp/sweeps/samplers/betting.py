"""Tests and intervals that hold at every number of seeds, however often they are looked at.

A test by betting (Waudby-Smith and Ramdas 2024): a gambler bets on outcomes d in [-1, 1] and starts
with a capital of 1. With the bet b, an outcome d multiplies the capital by 1 + b d. If no outcome
has an expectation above 0 given the ones before it, the expected capital never grows, and the
probability that it ever reaches c is at most 1 / c (Ville 1939). So a capital of 20 shows, at a
level of 5%, that the outcomes have a positive expectation, whenever the gambler looks. The capital
is divided equally between the bets ``BETS``, because the best one is not known before.

Only sums, products and comparisons in a fixed order are used: every machine finds the same capital.

>>> [float(total(capital_after(np.full(6, outcome))).round(2)) for outcome in (1.0, -1.0)]
[16.72, 0.11]
>>> median_bounds(np.arange(1.0, 22.0), n_intervals=1)
(4.0, 18.0)
>>> [round(end, 1) for end in mean_bounds(np.full(100, 30.0), largest=100.0, n_intervals=1)]
[28.4, 33.8]
"""

import math
from functools import cache

import numpy as np

from bpexp.typing import Array

ALPHA = 0.05
"""Probability of an error, for all combinations and all looks together."""
BETS = np.arange(1, 10) / 10.0
"""The bets: shares of the capital."""
HALVINGS = 50
"""How often the range that holds an end of an interval is halved."""


def capital_after(outcomes: Array, capital: Array | float = 1.0) -> Array:
    """The capital of each bet after outcomes in [-1, 1].

    Args:
        outcomes: In their order, (..., n).
        capital: The capital of each bet before, (..., n_bets).

    Returns:
        (..., n_bets); inf if it is too large for a number, which is more than any limit.
    """
    after = np.broadcast_to(capital, (*outcomes.shape[:-1], len(BETS))).copy()
    with np.errstate(over="ignore"):
        for index in range(outcomes.shape[-1]):
            after *= 1.0 + outcomes[..., index, None] * BETS
    return after


def total(capital: Array) -> Array:
    """The whole capital, as a multiple of the one at the start, (...)."""
    return np.asarray(np.add.reduce(capital, axis=-1) / len(BETS))


def median_bounds(sample: Array, n_intervals: int) -> tuple[float, float]:
    """An interval of the median that holds at every number of seeds together (95%).

    A value m is excluded if the bets that more than half of the values are above m, or those that
    more than half are below it, win too much. The ends are order statistics. Ties and infinite
    values are allowed. Howard and Ramdas (2022) call it a confidence sequence for quantiles.

    Args:
        sample: The values, (n,).
        n_intervals: How many intervals hold together (Bonferroni), so that the one of the best
            combination holds, which the same values select.

    Returns:
        Its ends; nan for too few values.
    """
    n, ordered = len(sample), np.sort(sample)
    wins = _wins_needed(n, 2 * n_intervals / ALPHA)
    if wins > n:
        return math.nan, math.nan
    return float(ordered[n - wins]), float(ordered[wins - 1])


def mean_bounds(sample: Array, largest: float, n_intervals: int) -> tuple[float, float]:
    """An interval of a mean of bounded values that holds at every number of seeds together (95%).

    A mean m is excluded if the bets that the true one is larger, or those that it is smaller, win
    too much. The outcomes of the bets are x / m - 1 and (m - x) / (largest - m), which are at least
    -1 and have the expectation 0 if m is the mean (Waudby-Smith and Ramdas 2024).

    Args:
        sample: The values, from 0 to ``largest``, (n,) with n > 0.
        largest: The largest possible value.
        n_intervals: See ``median_bounds``.

    Returns:
        Its ends. The upper one is never far below ``largest`` for few values, because rare large
        values may be missing among them.
    """
    limit, outcomes = 2 * n_intervals / ALPHA, np.empty((len(sample), 1))

    def excludes(mean: float, *, is_low: bool) -> bool:
        scale = mean if is_low else mean - largest
        outcomes[:, 0] = (sample - mean) / scale
        with np.errstate(over="ignore"):
            capital = np.multiply.reduce(1.0 + outcomes * BETS, axis=0)
        return bool(total(capital) >= limit)

    low, inside = 0.0, largest
    for _ in range(HALVINGS):
        middle = (low + inside) / 2.0
        low, inside = (middle, inside) if excludes(middle, is_low=True) else (low, middle)
    high, inside = largest, 0.0
    for _ in range(HALVINGS):
        middle = (high + inside) / 2.0
        high, inside = (middle, inside) if excludes(middle, is_low=False) else (high, middle)
    return low, high


@cache
def _wins_needed(n: int, limit: float) -> int:
    """The smallest number of wins among n outcomes 1 and -1 that brings the capital to a limit.

    It is n + 1 if n wins do not suffice.
    """
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        outcomes = np.where(np.arange(n) < middle, 1.0, -1.0)
        if total(capital_after(outcomes)) >= limit:
            high = middle
        else:
            low = middle + 1
    return low
