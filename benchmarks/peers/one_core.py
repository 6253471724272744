"""bpexp's compiled engine on one core, one pack: what the limit is held against."""

from collections.abc import Callable

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.nn.network import joined
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.loop import train_batch
from bpexp.typing import Array


def prepare(runs: list[TrainConfig]) -> Callable[[], Callable[[], tuple[Array, ...]]]:
    """One thread."""

    def train() -> Callable[[], tuple[Array, ...]]:
        results = dict(train_batch(runs, LlvmEngine()))

        def answer() -> tuple[Array, ...]:
            ordered = [results[lane] for lane in range(len(runs))]
            losses = np.stack([result.losses for result in ordered], axis=-1)
            weights = [joined(result.weights, result.biases) for result in ordered]
            return losses[-1], losses, np.stack(weights, axis=-1)

        return answer

    return train
