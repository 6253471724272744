"""The interval of a combination's median over its replicates, as tables and reports show it."""

from bpexp.analysis import intervals, survival
from bpexp.analysis.intervals import CONFIDENCE, Interval
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def median(
    objective: Objective,
    scores: Array,
    level: float = CONFIDENCE,
    is_independent: bool = True,
) -> Interval:
    """The median of the objective over the replicates of a combination, with its interval.

    Args:
        objective: What was measured.
        scores: The score of each run, (n,), see ``Objective.scores``.
        level: Confidence level; see ``intervals.confidence_of_each`` for several combinations.
        is_independent: Whether no two runs share a level of a source of variation.

    Returns:
        The median; the bounds of its interval are nan for too few runs, and for runs that are not
        independent.
    """
    interval = survival.median if objective.is_time else intervals.median_interval
    found = interval(scores, level)
    if not is_independent:
        found = Interval.without_bounds(found.estimate)
    return as_measured(objective, found)


def as_measured(objective: Objective, interval: Interval) -> Interval:
    """The interval of the values whose scores have this one."""
    return interval.negated if objective.is_maximized else interval
