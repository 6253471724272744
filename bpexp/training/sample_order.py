"""What an epoch is fed: its multiple of the learning rate, and the samples' order."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.nn.schedules import factors
from bpexp.training.engine import Integers, Lanes, Problem
from bpexp.training.loop import Feed
from bpexp.typing import Array


def make(
    configs: Sequence[TrainConfig],
    problem: Problem,
    draw: Callable[[Sequence[TrainConfig], Problem], Lanes],
) -> Feed:
    """The feed of a pack; batches smaller than the data set come in a seeded order.

    ``draw`` makes the first lanes of configurations.
    """
    first, n_samples = configs[0], len(problem.X)

    def multiples(start: int, stop: int) -> Array:
        return factors(first.schedule, first.epochs, start, stop)

    def restarted(runs: Integers, times: int) -> Lanes:
        chosen = [configs[run] for run in runs]
        again = [replace(c, seed=restart_seed(c.seed, times)) for c in chosen]
        return replace(draw(again, problem), run=runs)

    if problem.batch_size == n_samples:
        return Feed(multiples, lambda runs, start, stop: None, first.stop.restart, restarted)
    orders = [_Order(config.seed, n_samples) for config in configs]

    def drawn(runs: Integers, start: int, stop: int) -> Integers:
        return np.stack([orders[run].epochs(start, stop) for run in runs], axis=-1)

    return Feed(multiples, drawn, first.stop.restart, restarted)


class _Order:
    """A run's orders of samples, epoch by epoch; asked for again from where a chunk broke off."""

    def __init__(self, seed: int, n_samples: int) -> None:
        self._rng, self._first = stream(seed, "order of samples"), 0
        self._drawn = np.empty((0, n_samples), np.int64)

    def epochs(self, start: int, stop: int) -> Integers:
        kept = self._drawn[start - self._first :]
        n_samples = kept.shape[1]
        new = [self._rng.permutation(n_samples) for _ in range(stop - start - len(kept))]
        self._first, self._drawn = start, np.vstack([kept, *new]) if new else kept
        return self._drawn[: stop - start]


def restart_seed(seed: int, times: int) -> int:
    """The seed of the weights that a run is restarted with for so many-th time."""
    return int(stream(seed, f"restart {times}").randint(0, 2**32, dtype=np.uint32))


def stream(seed: int, purpose: str) -> np.random.RandomState:
    """A seed's stream for one purpose, apart from the one its weights are drawn from."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4"))
