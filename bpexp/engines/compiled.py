"""The compiled engine: code for the one problem where it is small, else for the kind of network."""

from bpexp.engines import grouped, traced
from bpexp.engines.problem import Integers, Lanes, Problem, Progress
from bpexp.typing import Array


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    if orders is None and traced.takes(problem, lanes):
        progress = traced.advance(problem, lanes, factors)
        if progress is not None:
            return progress
    return grouped.advance(problem, lanes, factors, orders)
