"""Wide layers: one run at a time, in vectors of a layer's units.

The code is that of ``layerwise``, compiled for the one kind of network in half a second.
"""

import ctypes
import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bpexp.engines import layerwise, machine
from bpexp.engines.layerwise import figures, full
from bpexp.engines.problem import Ending, Integers, Lanes, Problem, Progress
from bpexp.engines.reference import judge
from bpexp.engines.strips import aligned
from bpexp.nn.network import Network
from bpexp.typing import Array

STEP = 256
"""Epochs after which several runs look whether one has ended."""
ARGUMENTS = [
    *[ctypes.c_int64] * len(layerwise.WHOLES),
    *[ctypes.c_double] * len(layerwise.SINGLES),
    *[ctypes.c_void_p] * len(layerwise.ARRAYS),
]
_lock = threading.Lock()


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    losses, state = np.empty((len(factors), len(lanes.run))), _filled_up(problem, lanes)
    train, done = _trained_by(problem, lanes, orders), 0
    is_alone = len(lanes.run) == 1
    while True:
        step = len(factors) - done if is_alone else min(STEP, len(factors) - done)
        before = state if is_alone else _State(*map(np.copy, state))
        ran = train(state, factors[done : done + step], done, losses)
        if ran < step and not is_alone:
            # One ends in this epoch. The others have gone on: they are taken back to it.
            state = before
            train(state, factors[done : done + ran], done, losses)
        done += ran
        _put_back(problem, state, lanes)
        endings = judge(lanes, problem.Y, losses[done - 1])
        broken = ~np.isfinite(lanes.parameters).all(axis=0) & (endings == Ending.RUNNING)
        endings[broken] = Ending.DIVERGED
        if endings.any() or done == len(factors):
            stopped = state.stopped[:, _places(problem.network)].T
            stopped = np.where(broken, lanes.parameters, stopped)
            return Progress(losses[:done], endings, stopped)


class _State(NamedTuple):
    """Of each lane: ``parameters`` and, before the latest update, ``stopped``, (L, n_full);
    ``slots``, (L, n_slots, n_full); ``outputs``, (L, n_samples, units); ``rules``, (L, 5).
    """

    parameters: Array
    stopped: Array
    slots: Array
    outputs: Array
    rules: Array


@lru_cache(maxsize=64)
def _places(network: Network) -> Integers:
    """Where each parameter is among those filled up: (n_parameters,)."""
    start, places = 0, []
    for n_in, n_out in network.shapes:
        places.append(start + np.add.outer(full(n_out) * np.arange(n_in), np.arange(n_out)))
        start += n_in * full(n_out)
    return np.concatenate([array.ravel() for array in places])


def _filled_up(problem: Problem, lanes: Lanes) -> _State:
    places, n = _places(problem.network), len(lanes.run)
    size = figures(problem.network)["parameters"]
    parameters, slots = np.zeros((n, size)), np.zeros((n, len(lanes.slots), size))
    parameters[:, places] = lanes.parameters.T
    slots[:, :, places] = np.moveaxis(lanes.slots, -1, 0)
    n_samples, n_outputs = problem.Y.shape
    outputs = np.empty((n, n_samples, full(n_outputs)))
    outputs[:, :, :n_outputs] = np.moveaxis(lanes.outputs, -1, 0)
    rules = np.stack(
        [lanes.stop_loss, lanes.stop_correct, lanes.patience, lanes.best, lanes.waited], axis=1
    )
    return _State(parameters, np.empty_like(parameters), slots, outputs, rules)


def _put_back(problem: Problem, state: _State, lanes: Lanes) -> None:
    places = _places(problem.network)
    lanes.parameters[:] = state.parameters[:, places].T
    lanes.slots[:] = np.moveaxis(state.slots[:, :, places], 0, -1)
    lanes.best[:], lanes.waited[:] = state.rules[:, 3], state.rules[:, 4]
    lanes.outputs[:] = np.moveaxis(state.outputs[:, :, : problem.Y.shape[1]], 0, -1)


def _trained_by(
    problem: Problem, lanes: Lanes, orders: Integers | None
) -> Callable[[_State, Array, int, Array], int]:
    """(state, factors, first, losses) -> epochs that all lanes have run, less than there are
    factors where one is broken; ``losses`` from row ``first`` on are written.
    """
    n_samples, n_outputs = problem.Y.shape
    told, function = figures(problem.network), _function(problem, orders is not None)
    Y = np.zeros((n_samples, full(n_outputs)))
    Y[:, :n_outputs] = problem.Y
    divisor = np.ones(told["parameters"])
    divisor[_places(problem.network)] = problem.divisor
    work, told_all = aligned((told["work"],)), np.array(list(told.values()))
    work[:] = 0.0
    settings = np.ascontiguousarray(lanes.settings.T)

    def train(state: _State, factors: Array, first: int, losses: Array) -> int:
        least, curve = len(factors), np.empty(len(factors))
        for lane in range(len(lanes.run)):
            order = np.empty(0, np.int64)
            if orders is not None:
                order = np.ascontiguousarray(orders[first : first + len(factors), :, lane])
            arrays = (
                told_all, order, np.ascontiguousarray(factors), problem.X, Y, divisor,
                settings[lane],
                *(array[lane] for array in state), curve, work,
            )  # fmt: skip
            done = function(
                len(factors), n_samples, problem.batch_size, lanes.lr[lane], lanes.decay[lane],
                *(array.ctypes.data for array in arrays),
            )  # fmt: skip
            losses[first : first + done, lane] = curve[:done]
            least = min(least, done)
        return least

    return train


def _function(problem: Problem, is_shuffled: bool) -> Any:
    divides = bool((problem.divisor != 1.0).any())
    kind = (problem.network, problem.rule, problem.decays, divides, is_shuffled)
    # Of the sizes only how many there are.
    about = (replace(problem.network, sizes=()), len(problem.network.sizes), *kind[1:])
    name = f"{layerwise.ENTRY} {hashlib.sha256(repr(about).encode()).hexdigest()}"
    with _lock:
        if name not in _functions:
            code = machine.kept(name, lambda: machine.optimised(layerwise.module(*kind)))
            _functions[name] = machine.linked(code, layerwise.ENTRY, ctypes.c_int64, ARGUMENTS)
        return _functions[name]


_functions: dict[str, Any] = {}
