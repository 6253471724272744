"""Training with mini-batches by a plain NumPy loop, one run per joblib task."""

from collections.abc import Sequence

import numpy as np

from benchmarks.peers import Peer, SeparateRuns
from benchmarks.problems import initial_layers
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def train(config: TrainConfig, X: Array, Y: Array, layers: Sequence[tuple[Array, Array]]) -> float:
    """Train one run by Adam; return the last loss."""
    rng = np.random.default_rng(config.seed)
    size = config.batch_size or len(X)
    parameters = [array.copy() for layer in layers for array in layer]
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    step, loss = 0, 0.0
    for _ in range(config.epochs):
        order = rng.permutation(len(X))
        loss = 0.0
        for start in range(0, len(X), size):
            rows = order[start : start + size]
            activations = [X[rows]]
            for W, b in zip(parameters[::2], parameters[1::2], strict=True):
                z = activations[-1] @ W + b
                is_last = len(activations) == len(layers)
                activations.append(z if is_last else 1.0 / (1.0 + np.exp(-z)))
            delta = activations[-1] - Y[rows]
            loss += float((delta * delta).sum())
            gradients: list[Array] = []
            for layer in reversed(range(len(layers))):
                gradients[:0] = [activations[layer].T @ delta, delta.sum(axis=0, keepdims=True)]
                if layer:
                    a = activations[layer]
                    delta = (delta @ parameters[2 * layer].T) * a * (1.0 - a)
            step += 1
            rate = config.lr * np.sqrt(1.0 - BETA2**step) / (1.0 - BETA1**step)
            for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
                m += (1.0 - BETA1) * (g - m)
                v += (1.0 - BETA2) * (g * g - v)
                p -= rate * m / (np.sqrt(v) + EPSILON)
    return loss / Y.size


def prepare(runs: list[TrainConfig]) -> Peer:
    """See ``benchmarks.peers``."""
    data = load(runs[0].data)
    return SeparateRuns(train, [(c, data.X, data.Y, initial_layers(c)) for c in runs])
