"""bpexp's own training, as a sweep does it."""

from collections.abc import Callable

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.sweeps.executors.local import train_all, workers
from bpexp.training import batching
from bpexp.typing import Array


def prepare(runs: list[TrainConfig]) -> Callable[[], Array]:
    """The engine that ``engine=auto`` would take for many epochs."""
    packs = list(batching.make_batches(runs, "compiled", workers(-1)))

    def train() -> Array:
        losses = np.empty(len(runs))
        for results in train_all(packs, runs, -1):
            for index, result in results:
                losses[index] = result.final_loss
        return losses

    return train
