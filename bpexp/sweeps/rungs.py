"""The rungs of successive halving: epochs after which the combinations of a sweep are judged.

All combinations of a generation are trained for ``search.min_epochs``. The best of them, 1 of
``search.halving`` by ``Objective.ranking_key`` over the replicates, go on and are judged again
after ``search.halving`` times as many epochs, and so on to the maximum number of epochs (K.
Jamieson, A. Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
2016). Several brackets of combinations, each of which is judged for the first time one rung later
than the one before, are Hyperband (L. Li and others, Hyperband, 2018, algorithm 1).

>>> settings = SearchConfig(halving=3, min_epochs=200)
>>> rung_epochs(settings, 10000)
[200, 600, 1800, 5400]
>>> schedule(27, settings, 10000)
[(200, 27), (600, 9), (1800, 3), (10000, 1)]
>>> bracket_sizes(20, SearchConfig(halving=3, min_epochs=200, brackets=4), 10000)
[11, 4, 3, 2]
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import SearchConfig
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.sweeps.job import Job, by_combination


@dataclass(frozen=True)
class Rung:
    """The combinations of a bracket, judged after an epoch.

    Attributes:
        epoch: The epoch.
        scores: The score of each of their jobs by its index: smaller is better, inf for a run
            without a value.
        kept: The indices of the jobs of the combinations that go on.
        pruned: The indices of the other jobs, without those that had ended by themselves.
    """

    epoch: int
    scores: Mapping[int, float]
    kept: frozenset[int]
    pruned: frozenset[int]

    @property
    def key(self) -> tuple[int, frozenset[int]]:
        """What is judged and when."""
        return self.epoch, frozenset(self.scores)


def rung_epochs(settings: SearchConfig, max_epochs: int) -> list[int]:
    """The epochs after which combinations are judged."""
    assert settings.halving is not None
    assert settings.min_epochs is not None
    epochs, epoch = [], settings.min_epochs
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= settings.halving
    return epochs


def bracket_sizes(n_combinations: int, settings: SearchConfig, max_epochs: int) -> list[int]:
    """The number of combinations in each bracket.

    With r rungs, bracket b is judged r - b times, and its share is halving^(r - b) / (r - b + 1),
    so that all brackets train about as many epochs. What is left by rounding down goes to the
    latest brackets, which have the fewest combinations.
    """
    assert settings.halving is not None
    n_rungs = len(rung_epochs(settings, max_epochs))
    times = [n_rungs - bracket for bracket in range(settings.brackets)]
    weights = [settings.halving**n / (n + 1) for n in times]
    sizes = [int(n_combinations * weight / sum(weights)) for weight in weights]
    for place in range(n_combinations - sum(sizes)):
        sizes[-1 - place % len(sizes)] += 1
    return sizes


def schedule(n_combinations: int, settings: SearchConfig, max_epochs: int) -> list[tuple[int, int]]:
    """The epochs to which combinations of a generation are trained, and how many are, in order."""
    trained = dict.fromkeys([*rung_epochs(settings, max_epochs), max_epochs], 0)
    for step in _steps(n_combinations, settings, max_epochs):
        trained[step.until] += step.n_combinations
    return [(epoch, count) for epoch, count in trained.items() if count]


def epochs_of(n_combinations: int, settings: SearchConfig, max_epochs: int) -> int:
    """The epochs that a run of each combination of a generation is trained, in total.

    >>> epochs_of(27, SearchConfig(halving=3, min_epochs=200), 10000)
    20800
    """
    steps = _steps(n_combinations, settings, max_epochs)
    return sum(step.n_combinations * (step.until - step.start) for step in steps)


class _Step(NamedTuple):
    """How many combinations of a bracket are trained from one epoch to another."""

    start: int
    until: int
    n_combinations: int


def _steps(n_combinations: int, settings: SearchConfig, max_epochs: int) -> Iterator[_Step]:
    """The steps of all brackets: from rung to rung while there are several, then to the end."""
    epochs = rung_epochs(settings, max_epochs)
    for first, size in enumerate(bracket_sizes(n_combinations, settings, max_epochs)):
        left, done = size, 0
        for epoch in epochs[first:]:
            if left > 1:
                yield _Step(done, epoch, left)
                left, done = n_kept(left, settings), epoch
        yield _Step(done, max_epochs, left)


def n_kept(n_combinations: int, settings: SearchConfig) -> int:
    """The number of combinations that go on."""
    assert settings.halving is not None
    return max(1, n_combinations // settings.halving)


def check(jobs: Sequence[Job], settings: SearchConfig) -> None:
    """Check the settings of successive halving against the jobs of a sweep.

    Raises:
        ConfigError: The jobs end before the first rung, or there is nothing to compare.
    """
    if settings.halving is None:
        return
    assert settings.min_epochs is not None
    longest = max(job.config.epochs for job in jobs)
    if settings.min_epochs >= longest:
        raise ConfigError(
            f"search.min_epochs must be below epochs ({longest}), got {settings.min_epochs}."
        )
    n_rungs = len(rung_epochs(settings, longest))
    if settings.brackets > n_rungs + 1:
        raise ConfigError(
            f"search.brackets must be at most {n_rungs + 1}, one more than the epochs at which "
            f"combinations are judged, got {settings.brackets}."
        )
    if len(by_combination(jobs)) < 2:
        raise ConfigError("search.halving needs several combinations to choose from, got one.")


def pruned_epochs(rungs: Sequence[Rung]) -> dict[int, int]:
    """The epoch after which each pruned job was stopped, by the index of the job."""
    return {index: rung.epoch for rung in rungs for index in rung.pruned}


def sentence(rung: Rung, jobs: Sequence[Job]) -> str:
    """How many combinations go on after a rung."""
    kept, judged = (
        len(by_combination([jobs[index] for index in sorted(indices)]))
        for indices in (rung.kept, rung.scores)
    )
    verb = "goes" if kept == 1 else "go"
    return f"After {counted(rung.epoch, 'epoch')}: {kept} of {judged} combinations {verb} on."


def brackets(jobs: Sequence[Job], settings: SearchConfig, max_epochs: int) -> list[list[Job]]:
    """The jobs of each bracket; the combinations are dealt at random, by the seed of the search."""
    if settings.brackets == 1:
        return [list(jobs)]
    found = by_combination(jobs)
    # The streams of RandomState are fixed for all versions of NumPy.
    order = np.random.RandomState([settings.seed, jobs[0].index]).permutation(len(found))
    sizes = bracket_sizes(len(found), settings, max_epochs)
    ends = np.cumsum(sizes).tolist()
    return [
        [job for place in sorted(order[end - size : end].tolist()) for job in found[place]]
        for size, end in zip(sizes, ends, strict=True)
    ]
