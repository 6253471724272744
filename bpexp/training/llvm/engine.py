"""Runs in groups: side by side in vectors, or one by one where that is sooner done.

The code is that of ``layerwise``, compiled for the one kind of network in a third of a second.
"""

import ctypes
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bpexp.nn.network import Network
from bpexp.training.engine import Integers, Lanes, Problem, Progress
from bpexp.training.llvm import jit, kernel
from bpexp.training.llvm.kernel import BLOCK, Kind, figures, full
from bpexp.training.llvm.lane_layout import aligned, in_lanes, in_strips, one_by_one
from bpexp.training.llvm.vector_ir import LANES
from bpexp.training.numpy_engine import end_broken, judge
from bpexp.typing import Array


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    together = 1 if one_by_one(problem.network, len(lanes.run)) else LANES
    return advance_by(together, problem, lanes, factors, orders)


def advance_by(
    together: int, problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None
) -> Progress:
    """The same with as many runs side by side: LANES or 1."""
    network, n, epochs = problem.network, len(lanes.run), len(factors)
    divides = bool((problem.divisor != 1.0).any())
    kind = Kind(network, together, problem.rule, problem.decays, divides, orders is not None)
    state, told = _grouped(lanes, network, together), figures(network, together)
    n_groups = len(state.parameters)
    if orders is None:
        orders = np.empty((1, 0, 0), np.int64)
    else:
        spare = n_groups * together - n
        orders = np.concatenate([orders, *[orders[..., :1]] * spare], axis=-1)
    losses = aligned((epochs, n_groups * together))
    work = aligned((told["work_in_all"],))
    work[:] = 0.0
    work[told["ones"] : told["ones"] + BLOCK] = 1.0
    arrays = [
        np.array(list(told.values())), orders, factors, problem.X,
        _repeated(problem.Y, network, together), _divisor(problem, together),
        *(in_strips(array, together) for array in (lanes.lr, lanes.decay, lanes.settings)),
        *state, losses, work,
    ]  # fmt: skip
    arrays = [np.ascontiguousarray(array) for array in arrays]
    done = _function(kind)(
        epochs, n_groups, len(problem.X), problem.batch_size,
        *(array.ctypes.data for array in arrays),
    )  # fmt: skip
    stopped = _put_back(state, lanes, network, together)
    losses = losses[:done, :n]
    endings = judge(lanes, problem.Y, losses[-1])
    return Progress(losses, endings, end_broken(lanes, endings, stopped))


class _State(NamedTuple):
    """What changes, (groups, ..., together): ``stopped`` are the parameters before the latest
    update; ``rules`` see ``layerwise.module``.
    """

    parameters: Array
    stopped: Array
    slots: Array
    outputs: Array
    rules: Array


def _grouped(lanes: Lanes, network: Network, together: int) -> _State:
    places = _places(network)
    parameters, slots = (_filled_up(a, places, together) for a in (lanes.parameters, lanes.slots))
    outputs = _filled_up(lanes.outputs, np.arange(network.sizes[-1]), together)
    rules = np.stack(
        [lanes.stop_loss, lanes.stop_tolerance, lanes.patience, lanes.best, lanes.waited]
    )
    return _State(parameters, np.empty_like(parameters), slots, outputs, in_strips(rules, together))


def _put_back(state: _State, lanes: Lanes, network: Network, together: int) -> Array:
    """Writes the state to ``lanes``; returns the stopped parameters in their shape."""
    places, outputs = _places(network), np.arange(network.sizes[-1])
    for array, changed, units in (
        (lanes.parameters, state.parameters, places),
        (lanes.slots, state.slots, places),
        (lanes.outputs, state.outputs, outputs),
    ):
        array[:] = _taken(changed, array, units, together)
    *_, best, waited = in_lanes(state.rules, np.empty((5, len(lanes.run))))
    lanes.best[:], lanes.waited[:] = best, waited
    return _taken(state.stopped, lanes.parameters, places, together)


@lru_cache(maxsize=64)
def _places(network: Network) -> Integers:
    """Where each parameter of one run is among those filled up: (n_parameters,)."""
    start, places = 0, []
    for n_in, n_out in network.shapes:
        width = full(n_out, 1)
        places.append(np.add.outer(start + width * np.arange(n_in), np.arange(n_out)).ravel())
        start += n_in * width
    return np.concatenate(places)


def _filled_up(array: Array, places: Integers, together: int) -> Array:
    """(..., units, lanes) as (groups, ..., units, together); of one run units are at ``places``."""
    if together == LANES:
        return np.asarray(in_strips(array, LANES))
    groups = np.zeros((array.shape[-1], *array.shape[:-2], full(int(places[-1]) + 1, 1)))
    groups[..., places] = np.moveaxis(array, -1, 0)
    return groups


def _taken(groups: Array, like: Array, places: Integers, together: int) -> Array:
    """What ``_filled_up`` was given, in the shape of ``like``."""
    if together == LANES:
        return np.asarray(in_lanes(groups, like))
    return np.moveaxis(groups[..., places], 0, -1)


def _repeated(Y: Array, network: Network, together: int) -> Array:
    """Targets, the same for all runs of a group."""
    return _filled_up(
        np.repeat(Y[:, :, None], together, axis=-1), np.arange(network.sizes[-1]), together
    )


def _divisor(problem: Problem, together: int) -> Array:
    divisor = np.repeat(problem.divisor[:, None], together, axis=-1)
    return _filled_up(divisor, _places(problem.network), together)


def _function(kind: Kind) -> Any:
    # Of the sizes only how many there are.
    about = (replace(kind.network, sizes=()), len(kind.network.sizes), *kind[1:])
    arguments: list[Any] = [ctypes.c_int64] * len(kernel.WHOLES)
    arguments += [ctypes.c_void_p] * len(kernel.ARRAYS)
    return jit.function(about, kernel.ENTRY, lambda: kernel.module(kind), ctypes.c_int64, arguments)
