"""Simulated intervals: how often they contain the true value."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bpexp.analysis import intervals, statistics
from bpexp.analysis.intervals import Interval
from bpexp.typing import Array

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Draws values of the given shape."""


def _bimodal(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Losses of XOR: most runs near 0, some stuck at 0.125 or 0.25."""
    stuck = rng.choice([0.0, 0.125, 0.25], p=[0.6, 0.25, 0.15], size=size)
    return np.asarray(stuck + 0.002 * rng.lognormal(0.0, 0.5, size))


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, size: 10.0 + rng.normal(size=size),
    "lognormal": lambda rng, size: rng.lognormal(0.0, 1.0, size),
    "bimodal": _bimodal,
}
"""Distributions of a measure; the last one is that of losses of XOR."""


def covered(interval: Interval, true: float) -> float:
    """Whether the interval contains the true value; nan if it is not printed."""
    if math.isnan(interval.low) and math.isnan(interval.high):
        return math.nan
    return float(interval.low <= true <= interval.high)


def _median(a: Array, _: Array, n: int) -> Interval:
    return intervals.median_interval(a)


def _share(a: Array, _: Array, n: int) -> Interval:
    return intervals.share_interval(int((a < 0.0).sum()), n)


def _paired_share(a: Array, b: Array, n: int) -> Interval:
    return statistics.paired_improvement(a, b)


def _unpaired_share(a: Array, b: Array, n: int) -> Interval:
    return statistics.improvement_interval(a, b)


def _paired_difference(a: Array, b: Array, n: int) -> Interval:
    return intervals.median_interval(statistics.paired_differences(a, b))


def _unpaired_difference(a: Array, b: Array, n: int) -> Interval:
    return intervals.median_difference(a, b)


@dataclass(frozen=True)
class Case:
    """An interval that is printed.

    Attributes:
        interval: Of two samples, (n,) each, and n.
        true: The true value; None for the median of the distribution.
        draws: The distributions; all where it assumes nothing about them.
    """

    interval: Callable[[Array, Array, int], Interval]
    true: float | None
    draws: Mapping[str, Draw]


def _centered(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.normal(-1.2815515655446004, 1.0, size)


INTERVALS = {
    "median": Case(_median, None, DISTRIBUTIONS),
    "share of runs, 90%": Case(_share, 0.9, {"normal": _centered}),
    "P(first is better), paired": Case(_paired_share, 0.5, DISTRIBUTIONS),
    "P(first is better), unpaired": Case(_unpaired_share, 0.5, DISTRIBUTIONS),
    "median difference, paired": Case(_paired_difference, 0.0, DISTRIBUTIONS),
    "difference of medians, unpaired": Case(_unpaired_difference, 0.0, DISTRIBUTIONS),
}


def coverage(name: str, n: int, repetitions: int, rng: np.random.Generator) -> float:
    """The lowest coverage of an interval over its distributions; nan if it is not printed."""
    case, lowest = INTERVALS[name], math.nan
    for draw in case.draws.values():
        true = case.true
        if true is None:
            true = float(np.median(draw(np.random.default_rng(0), (1_000_001,))))
        hits = [covered(case.interval(*draw(rng, (2, n)), n), true) for _ in range(repetitions)]
        lowest = float(np.fmin(lowest, np.mean(hits)))
    return lowest
