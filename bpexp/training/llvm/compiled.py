"""The compiled engine: code for the one problem where it is small, else for the kind of network."""

from bpexp.training.engine import Integers, Lanes, Problem, Progress
from bpexp.training.llvm import engine, unrolled_kernel
from bpexp.typing import Array


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    if orders is None and unrolled_kernel.takes(problem, lanes):
        progress = unrolled_kernel.advance(problem, lanes, factors)
        if progress is not None:
            return progress
    return engine.advance(problem, lanes, factors, orders)
