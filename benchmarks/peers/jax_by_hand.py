"""JAX with the layout of bpexp: the run as the last axis, sums and gradients written out by
hand for small networks, in float64, the runs on both cores.
"""

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
    """Raises NotImplementedError for wide layers: every product would be a line of code."""
    problem = arrays(runs)
    X, Y, lr, epochs = problem.X, problem.Y, problem.lr, runs[0].epochs
    (n_samples, n_in), (_, n_out), n_hidden = X.shape, Y.shape, problem.W1.shape[2]
    if n_samples * n_in * n_hidden > 10_000:
        raise NotImplementedError("written out for small networks only")

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
        stepped = tuple(w - lr * g for w, g in zip(weights, gradient, strict=True))
        return stepped, (error * error).sum((0, 1)) / Y.size

    train = jax.jit(lambda weights: jax.lax.scan(epoch, weights, None, length=epochs))
    spec = PartitionSpec(None, None, "runs")
    split = NamedSharding(Mesh(np.array(jax.devices()), ("runs",)), spec)
    first = tuple(
        jax.device_put(jnp.array(np.moveaxis(w, 0, -1)), split)
        for w in (problem.W1, problem.b1, problem.W2, problem.b2)
    )

    def all_runs() -> Array:
        _, losses = train(first)
        return np.asarray(losses[-1])

    return all_runs
