"""The order of the samples in each epoch, and the random streams derived from a run's seed.

Training in mini-batches visits the samples in a new random order in each epoch. The order depends
only on the seed (``order_seed``, or else ``seed``) and the number of samples.

>>> orders = SampleOrders(seeds=[1, 2], n_samples=4)
>>> orders.epochs(np.array([0, 1]), 0, 3).shape  # (n_epochs, n_samples, n_runs)
(3, 4, 2)
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from bpexp.training.engine import Integers


class SampleOrders:
    """Draws the sample orders of the runs of a batch, epoch after epoch.

    Args:
        seeds: Seed of each run.
        n_samples: Number of training samples.
    """

    def __init__(self, seeds: Sequence[int], n_samples: int) -> None:
        self._runs = [_RunOrders(seed, n_samples) for seed in seeds]

    def epochs(self, runs: Integers, start: int, stop: int) -> Integers:
        """Return the orders of epochs ``start`` to ``stop - 1``, counted from 0.

        Consecutive calls may overlap or leave out epochs, but ``start`` must not decrease.

        Args:
            runs: Indices of the runs, (L,).
            start: First epoch.
            stop: End of the epochs, exclusive.

        Returns:
            Sample indices, (stop - start, n_samples, L).
        """
        return np.stack([self._runs[run].epochs(start, stop) for run in runs], axis=-1)


class _RunOrders:
    """Sample orders of one run. Keeps orders that were drawn and may be requested again."""

    def __init__(self, seed: int, n_samples: int) -> None:
        self._rng = random_stream(seed, "order of samples")
        self._first_epoch = 0
        self._orders = np.empty((0, n_samples), np.int64)

    def epochs(self, start: int, stop: int) -> Integers:
        for _ in range(self._first_epoch + len(self._orders), start):
            # A run that was paused goes on: the orders of its first epochs are left out.
            self._rng.permutation(self._orders.shape[1])
        drawn = self._orders[start - self._first_epoch :]
        n_missing = stop - start - len(drawn)
        new = [self._rng.permutation(drawn.shape[1]) for _ in range(n_missing)]
        self._first_epoch, self._orders = start, np.vstack([drawn, *new]) if new else drawn
        return self._orders[: stop - start]


def restart_seed(seed: int, n_restarts: int) -> int:
    """Return the seed of what is drawn again at the ``n_restarts``-th restart of a run.

    Args:
        seed: Seed of what was drawn first.
        n_restarts: Number of restarts; 0 gives ``seed``.
    """
    if not n_restarts:
        return seed
    return int(random_stream(seed, f"restart {n_restarts}").randint(0, 2**32, dtype=np.uint32))


def random_stream(seed: int, purpose: str) -> np.random.RandomState:
    """Derive a random stream from a seed, independent of the stream of the initial weights.

    Args:
        seed: Seed of the run.
        purpose: Names the stream; different purposes give different streams.

    Returns:
        MT19937 seeded with SHA-256 of the purpose and the seed.
    """
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4"))
