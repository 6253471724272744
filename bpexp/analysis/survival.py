"""Time to converge, where some runs did not: Kaplan and Meier (1958).

A run that did not converge is a censored observation: it would have taken longer than it was
given. It is not dropped, for then the slow groups would look as fast as their luckiest runs.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpexp.analysis.statistics import CONFIDENCE, Interval, reach
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Times:
    """Epochs of runs, (n,), and whether each converged then, (n,) of booleans."""

    epochs: Array
    converged: Any

    @property
    def _censored(self) -> Any:
        from scipy.stats import CensoredData

        return CensoredData(
            uncensored=self.epochs[self.converged], right=self.epochs[~self.converged]
        )


@dataclass(frozen=True, eq=False)
class Curve:
    """Share of runs converged by each epoch, a step function that starts at (0, 0).

    ``low`` and ``high`` are the ends of Greenwood's log-log interval; nan where there is none.
    """

    epochs: Array
    share: Array
    low: Array
    high: Array


def converged_by(times: Times) -> Curve:
    """One minus Kaplan and Meier's estimate of the share that has not converged yet."""
    if len(times.epochs) == 1:
        share = np.append(0.0, times.converged)
        unknown = np.array([0.0, np.nan])
        return Curve(np.append(0.0, times.epochs), share, unknown, unknown)
    from scipy.stats import ecdf

    survival = ecdf(times._censored).sf
    with warnings.catch_warnings():
        # Where all or none are left Greenwood's variance is 0/0; those ends come out as nan.
        warnings.filterwarnings("ignore", "The confidence interval is undefined")
        ends = survival.confidence_interval(CONFIDENCE, method="log-log")
    start = np.zeros(1)
    return Curve(
        np.concatenate([start, survival.quantiles]),
        np.concatenate([start, 1.0 - survival.probabilities]),
        np.concatenate([start, 1.0 - ends.high.probabilities]),
        np.concatenate([start, 1.0 - ends.low.probabilities]),
    )


def median(curve: Curve) -> Interval:
    """The epoch by which half of the runs have converged; inf where they never do.

    The interval holds the epochs at which the curve's own interval crosses one half
    (Brookmeyer and Crowley 1982); its low end is nan where too few runs tell.
    """
    parts = (curve.share, curve.high, curve.low)
    estimate, low, high = (_reaches_half(curve.epochs, part) for part in parts)
    return Interval(estimate, low if low <= estimate else np.nan, high)


def _reaches_half(epochs: Array, share: Array) -> float:
    # A product of shares that is one half can be off in the last bit.
    there = np.flatnonzero(share >= 0.5 - 1e-12)
    return float(epochs[there[0]]) if len(there) else np.inf


def restricted_mean(curve: Curve, horizon: float) -> tuple[float, float]:
    """Mean and standard deviation of min(epochs to converge, ``horizon``).

    Areas under the Kaplan-Meier curve S: the mean is the integral of S, the second moment
    that of 2 t S, both from 0 to ``horizon`` (Irwin 1949). Nobody knows the mean beyond it.
    """
    inside = curve.epochs < horizon
    edges = np.append(curve.epochs[inside], horizon)
    left = 1.0 - curve.share[inside]
    mean = float((left * np.diff(edges)).sum())
    square = float((left * np.diff(edges**2)).sum())
    return mean, float(np.sqrt(max(0.0, square - mean**2)))


def logrank(a: Times, b: Times) -> tuple[float, float]:
    """z and two-sided p of the log-rank test that two groups converge at the same rate.

    (0, 1) where the test says nothing: no run of either converged.
    """
    from scipy import stats

    if not (a.converged.any() or b.converged.any()):
        return 0.0, 1.0
    with np.errstate(all="ignore"):
        found = stats.logrank(a._censored, b._censored)
    return (0.0, 1.0) if np.isnan(found.pvalue) else (float(found.statistic), float(found.pvalue))


def seeds_needed(a: Times, b: Times, family: int = 1) -> float:
    """Seeds a group for the log-rank test to find what it saw of two groups; inf for nothing.

    Schoenfeld (1981), Biometrika 68:316: 4 ``reach``^2 / (log hazard ratio)^2 runs must
    converge. With the ratio that the test's own z implies, and as many runs converging as
    here, that is ``reach``^2 / z^2 times the harmonic mean of the groups' sizes, rounded up.
    """
    z, _ = logrank(a, b)
    if z == 0.0:
        return np.inf
    n, m = len(a.epochs), len(b.epochs)
    return float(np.ceil(2.0 * n * m / (n + m) * (reach(family) / z) ** 2))
