"""JAX: ``jit(vmap(scan))`` in float64, gradients by ``grad``, the runs on both cores."""

import os
from collections.abc import Callable

# One device a core; must be said before JAX is loaded.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={os.cpu_count()}"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.problems import arrays
from bpexp.config.schema import TrainConfig
from bpexp.typing import Array

jax.config.update("jax_enable_x64", True)


def prepare(runs: list[TrainConfig]) -> Callable[[], Array]:
    """Runs are split over the devices."""
    problem = arrays(runs)
    X, Y, lr, epochs = jnp.array(problem.X), jnp.array(problem.Y), problem.lr, runs[0].epochs

    def squared_error(weights):  # type: ignore[no-untyped-def]
        W1, b1, W2, b2 = weights
        A2 = jax.nn.sigmoid(jax.nn.sigmoid(X @ W1 + b1) @ W2 + b2)
        return 0.5 * ((A2 - Y) ** 2).sum()

    def epoch(weights, _):  # type: ignore[no-untyped-def]
        total, gradient = jax.value_and_grad(squared_error)(weights)
        stepped = jax.tree.map(lambda w, g: w - lr * g, weights, gradient)
        return stepped, 2.0 * total / Y.size

    @jax.jit
    @jax.vmap
    def train(weights):  # type: ignore[no-untyped-def]
        return jax.lax.scan(epoch, weights, None, length=epochs)

    split = NamedSharding(Mesh(np.array(jax.devices()), ("runs",)), PartitionSpec("runs"))
    first = jax.device_put((problem.W1, problem.b1, problem.W2, problem.b2), split)

    def all_runs() -> Array:
        _, losses = train(first)
        return np.asarray(losses[:, -1])

    return all_runs
