"""Training by bpexp on all cores, as in a sweep."""

import numpy as np

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.sweeps.executors import make_batches
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.job import Job
from bpexp.typing import Array


class LocalSweep(Peer):
    """Trains with the compiled engine, the default."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        self.executor = LocalExecutor(-1)
        jobs = [Job(index, "", config, load(config.data)) for index, config in enumerate(runs)]
        self.batches = make_batches(jobs, "compiled", self.executor.n_workers)
        self.losses = np.empty(len(runs))

    def train(self) -> None:
        """See ``Peer``."""
        for results in self.executor.map(self.batches):
            for one in results:
                self.losses[one.job.index] = one.result.final_loss

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (self.losses,)


prepare = LocalSweep
