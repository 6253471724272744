"""Training by JAX: ``jit(vmap(scan))`` in float64 with automatic gradients, on all cores."""

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


class JaxScan(Peer):
    """Trains with the runs divided among the devices."""

    def __init__(self, runs: list[TrainConfig]) -> None:
        problem = arrays(runs)
        X, Y, lr, epochs = jnp.array(problem.X), jnp.array(problem.Y), problem.lr, problem.epochs

        def squared_error(weights):  # type: ignore[no-untyped-def]
            W1, b1, W2, b2 = weights
            A2 = jax.nn.sigmoid(jax.nn.sigmoid(X @ W1 + b1) @ W2 + b2)
            return 0.5 * ((A2 - Y) ** 2).sum()

        def epoch(weights, _):  # type: ignore[no-untyped-def]
            total, gradient = jax.value_and_grad(squared_error)(weights)
            updated = jax.tree.map(lambda w, g: w - lr * g, weights, gradient)
            return updated, 2.0 * total / Y.size

        def train_run(weights):  # type: ignore[no-untyped-def]
            return jax.lax.scan(epoch, weights, None, length=epochs)

        self.train_all = jax.jit(jax.vmap(train_run))
        sharding = NamedSharding(Mesh(np.array(jax.devices()), ("runs",)), PartitionSpec("runs"))
        weights = (problem.W1, problem.b1, problem.W2, problem.b2)
        self.initial = jax.device_put(weights, sharding)

    def train(self) -> None:
        """See ``Peer``."""
        _, losses = self.train_all(self.initial)
        self.losses = np.asarray(losses[:, -1])

    def results(self) -> tuple[Array, ...]:
        """The final losses."""
        return (self.losses,)


prepare = JaxScan
