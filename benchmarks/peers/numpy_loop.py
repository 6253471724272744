"""Training by a plain NumPy loop, one run per joblib task."""

import numpy as np

from benchmarks.peers import SeparateRuns
from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array

Weights = tuple[Array, Array, Array, Array]
"""W1, b1, W2, b2."""


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z)."""
    return 1.0 / (1.0 + np.exp(-z))


def train(
    X: Array, Y: Array, weights: Weights, lr: float, epochs: int
) -> tuple[list[float], Array]:
    """Train one run by gradient descent on the squared error.

    Args:
        X: Inputs, (n_samples, n_in).
        Y: Targets, (n_samples, n_out).
        weights: Initial weights.
        lr: Learning rate.
        epochs: Number of epochs.

    Returns:
        The loss per sample of each epoch, and the last outputs.
    """
    W1, b1, W2, b2 = map(np.copy, weights)
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


class NumpyLoop(SeparateRuns):
    """Trains the runs in the processes of joblib, each with one BLAS thread."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        p = arrays(runs)
        initial = zip(p.W1, p.b1, p.W2, p.b2, strict=True)
        super().__init__(train, [(p.X, p.Y, weights, p.lr, p.epochs) for weights in initial])

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (np.array([losses[-1] for losses, _ in self.trained]),)


prepare = NumpyLoop
