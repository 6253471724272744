"""Training by the compiled engine of bpexp on one core, as one run batch."""

import numpy as np

from benchmarks.peers import Peer
from bpexp.config.schema import TrainConfig
from bpexp.nn.network import joined
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.loop import train_batch
from bpexp.typing import Array


class OneCore(Peer):
    """Trains all runs together in one thread."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        self.runs = runs

    def train(self) -> None:
        """See ``Peer``."""
        self.trained = dict(train_batch(self.runs, LlvmEngine()))

    def results(self) -> tuple[Array, ...]:
        """Final losses, all losses (epochs, n_runs) and final weights (n_parameters, n_runs)."""
        ordered = [self.trained[index] for index in range(len(self.runs))]
        losses = np.stack([result.losses for result in ordered], axis=-1)
        weights = [joined(result.weights, result.biases) for result in ordered]
        return losses[-1], losses, np.stack(weights, axis=-1)


prepare = OneCore
