"""The plain NumPy loop, a run at a time, joblib's processes for both cores."""

from collections.abc import Callable

import numpy as np
from joblib import Parallel, delayed, parallel_config

from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z)."""
    return 1.0 / (1.0 + np.exp(-z))


def train(
    X: Array, Y: Array, lr: float, epochs: int, W1: Array, b1: Array, W2: Array, b2: Array
) -> tuple[list[float], Array]:
    """Gradient descent on the squared error; every epoch's loss per sample, and the last
    predictions. The weights are changed in place.
    """
    losses = []
    for _ in range(epochs):
        A1 = sigmoid(X @ W1 + b1)
        A2 = sigmoid(A1 @ W2 + b2)
        error = A2 - Y
        losses.append(float(np.mean(error**2)))
        D2 = error * A2 * (1.0 - A2)
        D1 = (D2 @ W2.T) * A1 * (1.0 - A1)
        W2 -= lr * (A1.T @ D2)
        b2 -= lr * D2.sum(axis=0, keepdims=True)
        W1 -= lr * (X.T @ D1)
        b1 -= lr * D1.sum(axis=0, keepdims=True)
    return losses, A2


def prepare(runs: list[TrainConfig]) -> Callable[[], Array]:
    """One task a run; one BLAS thread a process, as the runs are the parallelism."""
    X, Y, lr, *weights = arrays(runs)
    epochs = runs[0].epochs

    def all_runs() -> Array:
        with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
            tasks = (
                delayed(train)(X, Y, lr, epochs, *map(np.copy, w))
                for w in zip(*weights, strict=True)
            )
            return np.array([losses[-1] for losses, _ in Parallel()(tasks)])

    return all_runs
