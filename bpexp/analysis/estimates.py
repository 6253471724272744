"""The interval of a setting's median over its replicates, as tables and reports show it."""

import numpy as np

from bpexp.analysis import statistics, survival
from bpexp.analysis.statistics import Interval
from bpexp.analysis.survival import ConvergenceTimes
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def median(objective: Objective, scores: Array, max_epochs: Array, seed: int = 0) -> Interval:
    """The median of the objective over the replicates of a setting, with its interval.

    Args:
        objective: What was measured.
        scores: The score of each run, (n,), see ``Objective.scores``.
        max_epochs: The maximum number of epochs of each run, (n,). A run that did not converge
            counts as not converged up to there.
        seed: Seed of the bootstrap.
    """
    if objective.is_time:
        converged = np.isfinite(scores)
        times = ConvergenceTimes(np.where(converged, scores, max_epochs), converged)
        return survival.median(survival.kaplan_meier(times))
    return as_measured(objective, statistics.bootstrap(scores, np.median, seed))


def as_measured(objective: Objective, interval: Interval) -> Interval:
    """The interval of the values whose scores have this one."""
    if not objective.is_maximized:
        return interval
    # Subtract from 0.0 to avoid a negative zero.
    return Interval(0.0 - interval.estimate, 0.0 - interval.high, 0.0 - interval.low)
