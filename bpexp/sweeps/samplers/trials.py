"""The trials of a search, as a sampler reports them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """A trial that has been told its scores.

    Attributes:
        number: Its number, counted from 0.
        overrides: What it sets.
        value: The statistic of the scores of its replicates; smaller is better, inf if it failed.
        is_repeated: Whether an earlier trial has the same overrides, so that nothing was trained.
    """

    number: int
    overrides: tuple[str, ...]
    value: float
    is_repeated: bool = False


def best_so_far(trials: Sequence[Trial]) -> list[float]:
    """The smallest value of the trials up to each one; inf while all failed.

    >>> best_so_far([Trial(0, (), 3.0), Trial(1, (), 5.0), Trial(2, (), 1.0)])
    [3.0, 3.0, 1.0]
    """
    best: list[float] = []
    for trial in trials:
        best.append(min(trial.value, best[-1]) if best else trial.value)
    return best
