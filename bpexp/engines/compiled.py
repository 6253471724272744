"""The compiled engine: the kernel's loops on the arrays of a problem and its lanes."""

import math
from dataclasses import fields
from typing import Any

import numba
import numpy as np

from bpexp.engines import cache
from bpexp.engines.problem import Ending, Integers, Lanes, Problem, Progress
from bpexp.typing import Array

# numba reads this setting where a function is decorated; it is put back at once.
_settings: Any = numba.config
_before, _settings.CACHE_DIR = _settings.CACHE_DIR, str(cache.folder())
try:
    from bpexp.engines import kernel
finally:
    _settings.CACHE_DIR = _before


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    padded = _padded(lanes)
    progress = _advance(problem, padded, factors, orders, watch=False)
    left = np.where(progress.endings == Ending.RUNNING, padded.parameters, progress.stopped)
    if not np.isfinite(left).all():
        # A parameter that is not finite stays so: the epoch that broke it is among these,
        # which are run once more with a look at the parameters after each.
        padded = _padded(lanes)
        progress = _advance(problem, padded, factors, orders, watch=True)
    n = len(lanes.run)
    for f in fields(lanes):
        getattr(lanes, f.name)[:] = getattr(padded, f.name)[..., :n]
    return Progress(progress.losses[:, :n], progress.endings[:n], progress.stopped[:, :n])


def _padded(lanes: Lanes) -> Lanes:
    """A copy, filled up with the first lane to a multiple of a cache line: rows are aligned."""
    n = len(lanes.run)
    width = -(-n // LINE) * LINE
    copies: dict[str, Any] = {}
    for f in fields(lanes):
        array = getattr(lanes, f.name)
        copies[f.name] = aligned((*array.shape[:-1], width), array.dtype)
        copies[f.name][..., :n] = array
        copies[f.name][..., n:] = array[..., :1]
    return Lanes(**copies)


LINE = 8
"""Numbers in a cache line."""


def aligned(shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """An empty array of 8-byte numbers that begins with a cache line."""
    size = math.prod(shape)
    raw = np.empty(size + LINE, dtype)
    start = -(raw.ctypes.data // 8) % LINE
    return raw[start : start + size].reshape(shape)


def _advance(
    problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None, watch: bool
) -> Progress:
    network, n = problem.network, lanes.parameters.shape[1]
    losses, endings = aligned((n, len(factors))), np.zeros(n, np.int8)
    stopped, block = np.empty_like(lanes.parameters), _block(problem, n)
    if orders is None:
        orders = np.empty((0, 0, 0), np.int64)
    else:
        orders = np.concatenate([orders, *[orders[..., :1]] * (n - orders.shape[-1])], axis=-1)
    done = kernel.advance(
        np.array(network.sizes),
        np.array([kernel.ACTIVATIONS.index(name) for name in network.functions]),
        kernel.LOSSES.index(network.loss),
        kernel.ERRORS.index(network.error),
        network.dead_zone, network.offset, network.bias_input,
        problem.X, problem.X.reshape(-1), problem.Y,
        kernel.RULES.index(problem.rule), problem.divisor,
        problem.decays, problem.batch_size, block, factors, orders, watch,
        lanes.parameters, lanes.slots, lanes.settings, lanes.lr, lanes.decay,
        lanes.stop_loss, lanes.stop_correct, lanes.patience, lanes.best, lanes.waited,
        lanes.outputs, losses, endings, stopped,
        aligned((kernel.work_rows(network.sizes, len(problem.X), block), n)),
        np.zeros((3, len(network.sizes)), np.int64),
    )  # fmt: skip
    return Progress(losses.T[:done], endings, stopped if endings.any() else lanes.parameters)


BLOCK = 2**14
"""Numbers of a block's activations at most, 128 KiB, so that they stay in cache."""


def _block(problem: Problem, n_lanes: int) -> int:
    """How many samples go through the network together."""
    return max(4, min(problem.batch_size, BLOCK // (sum(problem.network.sizes) * n_lanes)))
