"""Shows a single run in the store while it is trained: its settings, and its loss so far.

>>> from bpexp.sweeps.live_run import shown_epochs
>>> shown_epochs(1000, 5, may_stop_early=False)
(1, 251, 500, 750, 1000)
>>> shown_epochs(1000, 5, may_stop_early=True)
(1, 6, 32, 178, 251, 500, 750, 1000)
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.sweeps.run_record import logged_epochs
from bpexp.tracking.contract import MetricPoint
from bpexp.typing import Array

SECONDS_BETWEEN_POINTS = 3.0
"""A shorter run is written once, at its end."""


def shown_epochs(epochs: int, points: int, *, may_stop_early: bool) -> tuple[int, ...]:
    """The epochs whose losses are shown while a run is trained, which it may not reach.

    These are the epochs that are logged of the finished run, if it has all of its epochs.

    Args:
        epochs: The maximum number of epochs.
        points: The number of points that are logged of a finished run.
        may_stop_early: Whether the run may end long before. Then there are as many epochs again, in
            constant ratios.
    """
    chosen = set(logged_epochs(epochs, points))
    if may_stop_early and chosen:
        chosen |= set(np.geomspace(1, epochs, points).round().astype(int).tolist())
    return tuple(sorted(chosen))


class LiveRun:
    """Hands over the losses of a single run from time to time, while it is trained.

    Args:
        config: The configuration of the run.
        points: The setting ``tracking.points``.
        show: Called with further points of the loss. Returns whether it took them; those that it
            did not take are handed over again, with later ones.
    """

    def __init__(
        self, config: TrainConfig, points: int, show: Callable[[Sequence[MetricPoint]], bool]
    ) -> None:
        self._epochs = shown_epochs(
            config.epochs, points, may_stop_early=config.stop.may_stop_early
        )
        self._show = show
        self._waiting: list[MetricPoint] = []
        self._n_epochs, self._last = 0, time.monotonic()

    def add(self, losses: Array) -> None:
        """Add the losses of further epochs, (n_epochs,)."""
        done = self._n_epochs
        self._n_epochs += len(losses)
        first, last = bisect_right(self._epochs, done), bisect_right(self._epochs, self._n_epochs)
        self._waiting += [
            MetricPoint("loss", float(losses[epoch - done - 1]), epoch)
            for epoch in self._epochs[first:last]
        ]
        is_due = time.monotonic() - self._last >= SECONDS_BETWEEN_POINTS
        if self._waiting and is_due and self._show(self._waiting):
            self._waiting, self._last = [], time.monotonic()
