"""Survival analysis of the number of epochs until a run converges.

A run that did not converge within its maximum number of epochs is a right-censored observation.
Dropping such runs would bias the estimates towards the fastest runs of a group. The share of
converged runs is one minus the Kaplan-Meier estimate (1958) of the survival function.

Runs that diverge or stall can no longer converge. With these runs censored at the maximum number of
epochs, and not where they ended, the share of converged runs is the cumulative incidence function
of Aalen and Johansen (1978) with divergence and stalling as competing events.

>>> import numpy as np
>>> epochs = np.array([10.0, 20.0, 30.0, 30.0])
>>> times = ConvergenceTimes(epochs, converged=np.array([True, True, True, False]))
>>> curve = kaplan_meier(times)
>>> median(curve).estimate
20.0
>>> restricted_mean(curve, horizon=30.0)[0]
22.5
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpexp.analysis.statistics import CONFIDENCE, Interval
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class ConvergenceTimes:
    """Right-censored times to convergence.

    Attributes:
        epochs: Epochs until each run converged or was censored, (n,).
        converged: Whether each run converged, (n,) of booleans.
    """

    epochs: Array
    converged: Any

    @property
    def _censored_data(self) -> Any:
        from scipy.stats import CensoredData

        return CensoredData(
            uncensored=self.epochs[self.converged], right=self.epochs[~self.converged]
        )


@dataclass(frozen=True, eq=False)
class ConvergenceCurve:
    """Share of runs that have converged by each epoch, a step function that starts at (0, 0).

    Attributes:
        epochs: Epochs at which the curve may step, (k,).
        share: Share of converged runs from each epoch on, (k,).
        low: Lower bound of the log-log interval of Greenwood (1926), (k,); nan if undefined.
        high: Upper bound, (k,).
    """

    epochs: Array
    share: Array
    low: Array
    high: Array


def kaplan_meier(times: ConvergenceTimes) -> ConvergenceCurve:
    """Estimate the share of converged runs: one minus the Kaplan-Meier survival function.

    Args:
        times: Epochs to converge of at least one run.

    Returns:
        The curve with its confidence band; for a single run the band is undefined.
    """
    if len(times.epochs) == 1:
        share = np.append(0.0, times.converged)
        unknown = np.array([0.0, np.nan])
        return ConvergenceCurve(np.append(0.0, times.epochs), share, unknown, unknown)
    from scipy.stats import ecdf

    survival = ecdf(times._censored_data).sf
    with warnings.catch_warnings():
        # Greenwood's variance is 0/0 where all or no runs remain; those bounds become nan.
        warnings.filterwarnings("ignore", "The confidence interval is undefined")
        bounds = survival.confidence_interval(CONFIDENCE, method="log-log")
    start = np.zeros(1)
    return ConvergenceCurve(
        epochs=np.concatenate([start, survival.quantiles]),
        share=np.concatenate([start, 1.0 - survival.probabilities]),
        low=np.concatenate([start, 1.0 - bounds.high.probabilities]),
        high=np.concatenate([start, 1.0 - bounds.low.probabilities]),
    )


def median(curve: ConvergenceCurve) -> Interval:
    """Median number of epochs to converge (Brookmeyer and Crowley 1982).

    Args:
        curve: The share of converged runs.

    Returns:
        The epoch at which the curve reaches one half; inf if it never does. The interval ends
        where the band's bounds reach one half; its lower end is nan if the bound is undefined.
    """
    estimate, low, high = (
        _epoch_of_half(curve.epochs, share) for share in (curve.share, curve.high, curve.low)
    )
    return Interval(estimate, low if low <= estimate else np.nan, high)


def _epoch_of_half(epochs: Array, share: Array) -> float:
    # Rounding errors may leave a share that is exactly one half slightly below it.
    reached = np.flatnonzero(share >= 0.5 - 1e-12)
    return float(epochs[reached[0]]) if len(reached) else np.inf


def restricted_mean(curve: ConvergenceCurve, horizon: float) -> tuple[float, float]:
    """Mean and standard deviation of min(epochs to converge, ``horizon``) (Irwin 1949).

    Both are areas under the survival function S(t) from 0 to the horizon: the mean is the
    integral of S(t), the second moment is the integral of 2 t S(t). Censored data do not
    determine the unrestricted mean.

    Args:
        curve: The share of converged runs, 1 - S(t).
        horizon: The largest number of epochs considered.

    Returns:
        The restricted mean and standard deviation in epochs.
    """
    before = curve.epochs < horizon
    edges = np.append(curve.epochs[before], horizon)
    survival = 1.0 - curve.share[before]
    mean = float((survival * np.diff(edges)).sum())
    second_moment = float((survival * np.diff(edges**2)).sum())
    return mean, float(np.sqrt(max(0.0, second_moment - mean**2)))


def crossing(a: ConvergenceCurve, b: ConvergenceCurve, horizon: float, lead: float) -> int:
    """Whether two curves cross, which means that each one leads the other at some epoch.

    Args:
        a: The first curve.
        b: The second curve.
        horizon: The largest number of epochs considered.
        lead: Difference of the shares that counts as a lead, between 0 and 1.

    Returns:
        1 if ``a`` leads first and ``b`` later, -1 if ``b`` leads first, 0 if they do not cross.
    """
    epochs = np.union1d(a.epochs, b.epochs)
    epochs = epochs[epochs <= horizon]
    share_a, share_b = (
        curve.share[np.searchsorted(curve.epochs, epochs, side="right") - 1] for curve in (a, b)
    )
    # Rounding errors may leave a difference that equals the lead slightly below it.
    leads_a, leads_b = (
        np.flatnonzero(difference >= lead - 1e-12)
        for difference in (share_a - share_b, share_b - share_a)
    )
    if not len(leads_a) or not len(leads_b):
        return 0
    return 1 if leads_a[0] < leads_b[0] else -1
