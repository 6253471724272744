"""Training by bpexp on all cores, as in a sweep."""

import numpy as np

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.sweeps.executors.local import train_all, workers
from bpexp.training import batching
from bpexp.typing import Array


class LocalSweep(Peer):
    """Trains with the compiled engine, which ``engine=auto`` uses for many epochs."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        self.runs = runs
        self.batches = list(batching.packs(runs, "compiled", workers(-1)))
        self.losses = np.empty(len(runs))

    def train(self) -> None:
        """See ``Peer``."""
        for results in train_all(self.batches, self.runs, -1):
            for index, result in results:
                self.losses[index] = result.final_loss

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (self.losses,)


prepare = LocalSweep
