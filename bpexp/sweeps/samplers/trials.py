"""The trials of a search, as a sampler reports them."""

import math
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
        pruned_at: The epoch after which it was stopped, where its value is from; None if it was
            trained to its end.
    """

    number: int
    overrides: tuple[str, ...]
    value: float
    is_repeated: bool = False
    pruned_at: int | None = None


def best_so_far(trials: Sequence[Trial]) -> list[float]:
    """The smallest value of the trials up to each one, pruned ones left out; inf without any.

    >>> best_so_far([Trial(0, (), 3.0), Trial(1, (), 0.5, pruned_at=9), Trial(2, (), 1.0)])
    [3.0, 3.0, 1.0]
    """
    best: list[float] = []
    for trial in trials:
        value = trial.value if trial.pruned_at is None else math.inf
        best.append(min(value, best[-1]) if best else value)
    return best


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the smallest value, of those that were not pruned if there are any."""
    return min(trials, key=lambda trial: (trial.pruned_at is not None, trial.value))
