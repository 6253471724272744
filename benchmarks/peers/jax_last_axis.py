"""Training by JAX with the memory layout of bpexp, in float64 on all cores.

The runs are the last axis; products and gradients are written as sums over the other axes.
"""

import os

# JAX reads this at import: it creates one device per core.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={os.cpu_count()}"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.peers import Peer
from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array

jax.config.update("jax_enable_x64", True)

MAX_PRODUCTS = 10_000
"""Maximum number of unrolled products per layer; compilation takes too long for more."""


class JaxLastAxis(Peer):
    """Trains with the runs divided among the devices."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        problem = arrays(runs)
        X, Y, lr, epochs = problem.X, problem.Y, problem.lr, problem.epochs
        (n_samples, n_in), (_, n_out), n_hidden = X.shape, Y.shape, problem.W1.shape[2]
        if n_samples * n_in * n_hidden > MAX_PRODUCTS:
            raise NotImplementedError("unrolled, so for small networks only")

        def epoch(weights, _):  # type: ignore[no-untyped-def]
            W1, b1, W2, b2 = weights
            A1 = jax.nn.sigmoid(sum(X[:, i, None, None] * W1[i] for i in range(n_in)) + b1)
            A2 = jax.nn.sigmoid(sum(A1[:, m, None] * W2[m] for m in range(n_hidden)) + b2)
            error = A2 - Y[:, :, None]
            D2 = error * A2 * (1.0 - A2)
            D1 = sum(D2[:, j, None] * W2[:, j] for j in range(n_out)) * A1 * (1.0 - A1)
            gradient = (
                sum(X[s, :, None, None] * D1[s] for s in range(n_samples)),
                D1.sum(0, keepdims=True),
                sum(A1[s, :, None] * D2[s] for s in range(n_samples)),
                D2.sum(0, keepdims=True),
            )
            updated = tuple(w - lr * g for w, g in zip(weights, gradient, strict=True))
            return updated, (error * error).sum((0, 1)) / Y.size

        def train_all(weights):  # type: ignore[no-untyped-def]
            return jax.lax.scan(epoch, weights, None, length=epochs)

        self.train_all = jax.jit(train_all)
        spec = PartitionSpec(None, None, "runs")
        sharding = NamedSharding(Mesh(np.array(jax.devices()), ("runs",)), spec)
        self.initial = tuple(
            jax.device_put(jnp.array(np.moveaxis(w, 0, -1)), sharding)
            for w in (problem.W1, problem.b1, problem.W2, problem.b2)
        )

    def train(self) -> None:
        """See ``Peer``."""
        _, losses = self.train_all(self.initial)
        self.losses = np.asarray(losses[-1])

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (self.losses,)


prepare = JaxLastAxis
