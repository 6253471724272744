"""Simulated intervals: how often they contain the true value."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import norm

from bpexp.analysis import intervals, statistics, survival
from bpexp.analysis.intervals import Interval
from bpexp.studies.comparison import difference_of_shares
from bpexp.studies.definition import Published
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
"""Distributions of an objective; the last one is that of losses of XOR."""


def covered(interval: Interval, true: float) -> float:
    """Whether the interval contains the true value; nan if it is not printed."""
    if math.isnan(interval.low) and math.isnan(interval.high):
        return math.nan
    return float(interval.low <= true <= interval.high)


def _median(samples: Array) -> Interval:
    return intervals.median_interval(samples[0])


def _median_of_best(samples: Array) -> Interval:
    """The interval of the group that looks best, as in a report."""
    best = min(samples, key=lambda sample: float(np.median(sample)))
    return intervals.median_interval(best, intervals.confidence_of_each(len(samples)))


def _median_epochs(samples: Array) -> Interval:
    return survival.median(samples[0])


def _share(samples: Array) -> Interval:
    return intervals.share_interval(int((samples[0] < 0.0).sum()), samples.shape[1])


def _paired_share(samples: Array) -> Interval:
    return statistics.paired_improvement(*samples)


def _unpaired_share(samples: Array) -> Interval:
    return statistics.improvement_interval(*samples)


def _paired_difference(samples: Array) -> Interval:
    return intervals.median_interval(statistics.paired_differences(*samples))


def _unpaired_difference(samples: Array) -> Interval:
    return intervals.median_difference(*samples)


def _difference_of_shares(samples: Array) -> Interval:
    ours, theirs = (samples < 0.0).sum(axis=1).tolist()
    n = samples.shape[1]
    return difference_of_shares(ours, n, Published(n, theirs / n)).percent


@dataclass(frozen=True)
class Case:
    """An interval that is printed.

    Attributes:
        interval: Of samples of n values, (n_samples, n).
        true: The true value; None for the median of the distribution.
        draws: The distributions; all where it assumes nothing about them.
        n_samples: Number of samples.
    """

    interval: Callable[[Array], Interval]
    true: float | None
    draws: Mapping[str, Draw]
    n_samples: int = 2


def _below_zero(share: float) -> Mapping[str, Draw]:
    """Normal values of which a share is negative."""
    return {"normal": lambda rng, size: rng.normal(-norm.ppf(share), 1.0, size)}


def _first_is_better(share: float) -> Mapping[str, Draw]:
    """Two normal samples of which the first is smaller with a probability."""
    shift = np.array([[0.0], [math.sqrt(2.0) * float(norm.ppf(share))]])
    return {"normal": lambda rng, size: rng.normal(size=size) + shift}


def _censored(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Epochs to converge, of which the largest 30% are not reached."""
    drawn = rng.lognormal(0.0, 0.5, size)
    return np.where(drawn <= math.exp(0.5 * float(norm.ppf(0.7))), drawn, np.inf)


INTERVALS = {
    "median": Case(_median, None, DISTRIBUTIONS),
    "median of the best of 6 equal groups": Case(_median_of_best, None, DISTRIBUTIONS, 6),
    "median of the best of 20 equal groups": Case(_median_of_best, None, DISTRIBUTIONS, 20),
    "median epochs, 30% censored": Case(_median_epochs, None, {"censored": _censored}),
    "share of runs, 90%": Case(_share, 0.9, _below_zero(0.9)),
    "share of runs, 99%": Case(_share, 0.99, _below_zero(0.99)),
    "P(first is better) = 0.5, paired": Case(_paired_share, 0.5, DISTRIBUTIONS),
    "P(first is better) = 0.9, paired": Case(_paired_share, 0.9, _first_is_better(0.9)),
    "P(first is better) = 0.99, paired": Case(_paired_share, 0.99, _first_is_better(0.99)),
    "P(first is better) = 0.5, unpaired": Case(_unpaired_share, 0.5, DISTRIBUTIONS),
    "P(first is better) = 0.9, unpaired": Case(_unpaired_share, 0.9, _first_is_better(0.9)),
    "P(first is better) = 0.99, unpaired": Case(_unpaired_share, 0.99, _first_is_better(0.99)),
    "median difference, paired": Case(_paired_difference, 0.0, DISTRIBUTIONS),
    "difference of medians, unpaired": Case(_unpaired_difference, 0.0, DISTRIBUTIONS),
    "difference of shares in a study, 90%": Case(_difference_of_shares, 0.0, _below_zero(0.9)),
}


@cache
def median_of(draw: Draw) -> float:
    """The median of a distribution, of a million values."""
    return float(np.median(draw(np.random.default_rng(0), (1_000_001,))))


def coverage(name: str, n: int, repetitions: int, rng: np.random.Generator) -> float:
    """The lowest coverage of an interval over its distributions; nan if it is not printed."""
    case, lowest = INTERVALS[name], math.nan
    for draw in case.draws.values():
        true = median_of(draw) if case.true is None else case.true
        samples = (draw(rng, (case.n_samples, n)) for _ in range(repetitions))
        hits = [covered(case.interval(of_one), true) for of_one in samples]
        lowest = float(np.fmin(lowest, np.mean(hits)))
    return lowest
