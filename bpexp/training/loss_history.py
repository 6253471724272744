"""Training losses of the runs of a batch, in an array that grows while they train.

>>> history = LossHistory(n_runs=2, max_epochs=10, may_stop_early=True)
>>> history.append(np.array([0, 1]), np.array([[4.0, 5.0], [2.0, 3.0]]))
>>> history.append(np.array([1]), np.array([[1.0]]))
>>> history.of_run(0), history.of_run(1)
(array([4., 2.]), array([5., 3., 1.]))
"""

import numpy as np

from bpexp.training.engine import Integers
from bpexp.typing import Array

INITIAL_SIZE = 2**18
"""Number of losses (2 MiB) to make room for at first if runs may stop early."""


class LossHistory:
    """Losses of each epoch of each run.

    Args:
        n_runs: Number of runs.
        max_epochs: Maximum number of epochs of a run.
        may_stop_early: Whether runs may have fewer epochs, so that less memory may be enough.
    """

    def __init__(self, n_runs: int, max_epochs: int, may_stop_early: bool) -> None:
        self._max_epochs = max_epochs
        self._lengths = np.zeros(n_runs, np.int64)
        capacity = (INITIAL_SIZE if may_stop_early else 32 * INITIAL_SIZE) // n_runs
        self._losses = np.empty((n_runs, min(max_epochs, max(1, capacity))))

    def append(self, runs: Integers, losses: Array) -> None:
        """Append losses, (n_epochs, L), of ``runs``, (L,), which have equally many so far."""
        start = int(self._lengths[runs[0]])
        stop = start + len(losses)
        n_runs, capacity = self._losses.shape
        if stop > capacity:
            larger = np.empty((n_runs, min(self._max_epochs, max(stop, 4 * capacity))))
            larger[:, :start] = self._losses[:, :start]
            self._losses = larger
        self._losses[runs, start:stop] = losses.T
        self._lengths[runs] = stop

    def latest(self, runs: Integers, n_epochs: int) -> Array:
        """Return the last losses of ``runs``, which have equally many, (n_epochs, L)."""
        stop = int(self._lengths[runs[0]])
        return self._losses[runs, stop - n_epochs : stop].T

    def of_run(self, run: int) -> Array:
        """Return a view of all losses of a run, (epochs_run,); it is final once the run ends."""
        return self._losses[run, : self._lengths[run]]
