"""The number of epochs until a run converges, and the share of runs that converge.

A run that did not converge within its maximum number of epochs, stalled or diverged has the time
+inf. Dropping such runs would bias the estimates towards the fastest runs of a group.

All runs of a group have the same maximum number of epochs, so it is known of every run whether it
had converged at each epoch up to then. The share of converged runs is therefore the number of
runs that have converged, divided by the number of all. This is the cumulative incidence function of
Aalen and Johansen (1978) with divergence and stalling as competing events, and without those one
minus the estimate of Kaplan and Meier (1958).

>>> import numpy as np
>>> epochs = np.array([10.0, 20.0, 30.0, np.inf])
>>> cumulative_incidence(epochs).share.tolist()
[0.0, 0.25, 0.5, 0.75]
>>> median(epochs).estimate
20.0
"""

from dataclasses import dataclass

import numpy as np

from bpexp.analysis.intervals import CONFIDENCE, Interval, median_interval, share_bounds
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class ConvergenceCurve:
    """Share of runs that have converged by each epoch, a step function that starts at (0, 0).

    Attributes:
        epochs: Epochs at which the curve steps, (k,).
        share: Share of converged runs from each epoch on, (k,).
        low: Lower bound of the exact interval of the share at that epoch, (k,).
        high: Upper bound, (k,).
    """

    epochs: Array
    share: Array
    low: Array
    high: Array


def cumulative_incidence(epochs: Array, n_trials: int | None = None) -> ConvergenceCurve:
    """Share of runs that have converged by each epoch.

    Args:
        epochs: Epochs to converge of at least one run, (n,); +inf where it did not.
        n_trials: Number of independent trials, see ``statistics.paired_improvement``; by default
            that of the runs.
    """
    n, ordered = len(epochs), np.sort(epochs)
    steps = np.unique(np.append(0.0, ordered[np.isfinite(ordered)]))
    converged = np.searchsorted(ordered, steps, side="right").astype(float)
    n_trials = n_trials or n
    low, high = share_bounds(converged * n_trials / n, n_trials)
    return ConvergenceCurve(steps, converged / n, low, high)


def median(epochs: Array, level: float = CONFIDENCE) -> Interval:
    """Number of epochs by which half of the runs have converged.

    Args:
        epochs: Epochs to converge, (n,); +inf where a run did not.
        level: Confidence level.

    Returns:
        The estimate, which is inf if fewer than half of the runs converged, with the exact
        interval between two order statistics.
    """
    half = float(np.sort(epochs)[(len(epochs) - 1) // 2])
    return median_interval(epochs, level)._replace(estimate=half)


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
