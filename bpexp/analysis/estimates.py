"""The interval of a setting's median over its replicates, as tables and reports show it."""

from bpexp.analysis import intervals, survival
from bpexp.analysis.intervals import Interval
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def median(objective: Objective, scores: Array, n_settings: int) -> Interval:
    """The median of the objective over the replicates of a setting, with its interval.

    Args:
        objective: What was measured.
        scores: The score of each run, (n,), see ``Objective.scores``.
        n_settings: Number of settings whose intervals hold together, so that the best setting can
            be selected from them.

    Returns:
        The median; the bounds of its interval are nan for too few runs.
    """
    level = intervals.confidence_of_each(n_settings)
    interval = survival.median if objective.is_time else intervals.median_interval
    return as_measured(objective, interval(scores, level))


def as_measured(objective: Objective, interval: Interval) -> Interval:
    """The interval of the values whose scores have this one."""
    return interval.negated if objective.is_maximized else interval
