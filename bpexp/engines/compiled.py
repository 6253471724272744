"""The compiled engine: the kernel's loops on the arrays of a problem and its lanes."""

from typing import Any

import numba
import numpy as np

from bpexp.engines import cache
from bpexp.engines.problem import Integers, Lanes, Problem, Progress
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
    network, n = problem.network, lanes.parameters.shape[1]
    losses, endings = np.empty((len(factors), n)), np.zeros(n, np.int8)
    stopped = np.empty_like(lanes.parameters)
    done = kernel.advance(
        np.array(network.sizes),
        np.array([kernel.ACTIVATIONS.index(name) for name in network.functions]),
        kernel.LOSSES.index(network.loss),
        kernel.ERRORS.index(network.error),
        network.dead_zone, network.offset, network.bias_input,
        problem.X, problem.Y, kernel.RULES.index(problem.rule), problem.divisor,
        problem.decays, problem.batch_size, factors,
        np.empty((0, 0, 0), np.int64) if orders is None else orders,
        lanes.parameters, lanes.slots, lanes.settings, lanes.lr, lanes.decay,
        lanes.stop_loss, lanes.stop_correct, lanes.patience, lanes.best, lanes.waited,
        lanes.outputs, losses, endings, stopped,
    )  # fmt: skip
    return Progress(losses[:done], endings, stopped if endings.any() else lanes.parameters)
