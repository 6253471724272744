"""Training with mini-batches by JAX: ``jit(vmap(scan))`` in float64 with automatic gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import Peer
from benchmarks.problems import initial_layers
from bpexp.config.schema import TrainConfig
from bpexp.data import load
from bpexp.typing import Array

jax.config.update("jax_enable_x64", True)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class MinibatchJax(Peer):
    """Trains all runs at once. Rows that do not fill a mini-batch are left out."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        first, dataset = runs[0], load(runs[0].data)
        X, Y = jnp.array(dataset.X), jnp.array(dataset.Y)
        size = first.batch_size or len(X)
        n_batches = len(X) // size

        def squared_error(layers, rows):  # type: ignore[no-untyped-def]
            a = X[rows]
            for W, b in layers[:-1]:
                a = jax.nn.sigmoid(a @ W + b)
            W, b = layers[-1]
            return 0.5 * ((a @ W + b - Y[rows]) ** 2).sum()

        def update(state, rows):  # type: ignore[no-untyped-def]
            step, layers, means, squares = state
            loss, gradient = jax.value_and_grad(squared_error)(layers, rows)
            step += 1.0
            rate = first.lr * jnp.sqrt(1.0 - BETA2**step) / (1.0 - BETA1**step)
            means = jax.tree.map(lambda m, g: m + (1.0 - BETA1) * (g - m), means, gradient)
            squares = jax.tree.map(lambda v, g: v + (1.0 - BETA2) * (g * g - v), squares, gradient)
            layers = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), layers, means, squares
            )
            return (step, layers, means, squares), loss

        def epoch(state, key):  # type: ignore[no-untyped-def]
            order = jax.random.permutation(key, len(X))[: n_batches * size]
            state, losses = jax.lax.scan(update, state, order.reshape(n_batches, size))
            return state, losses.sum()

        def train_run(layers, seed):  # type: ignore[no-untyped-def]
            keys = jax.random.split(jax.random.key(seed), first.epochs)
            zeros = jax.tree.map(jnp.zeros_like, layers)
            return jax.lax.scan(epoch, (0.0, layers, zeros, zeros), keys)[1]

        self.train_all = jax.jit(jax.vmap(train_run))
        layers = [initial_layers(config) for config in runs]
        self.layers = jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers)
        self.n_targets = n_batches * size * Y.shape[1]
        self.seeds = jnp.array([config.seed for config in runs])

    def train(self) -> None:
        """See ``Peer``."""
        totals = np.asarray(self.train_all(self.layers, self.seeds))
        self.losses = 2.0 * totals[:, -1] / self.n_targets

    def results(self) -> tuple[Array, ...]:
        """Nothing: the order of the samples is another one."""
        return ()


prepare = MinibatchJax
