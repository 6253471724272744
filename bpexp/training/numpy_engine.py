"""The reference engine: NumPy, in the textbook's four steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.nn.arithmetic import ARITHMETICS
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward
from bpexp.nn.network import joined
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.training.engine import Ending, Integers, Lanes, Problem, Progress
from bpexp.typing import Array

RUNNING, CONVERGED, STALLED, DIVERGED = map(np.int8, Ending)


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``."""
    network, n_samples = problem.network, len(problem.X)
    arithmetic = ARITHMETICS[problem.numerics]
    loss = LOSSES[network.loss].on(network.functions[-1])
    weights, biases = network.split(lanes.parameters)
    losses = np.empty((len(factors), lanes.parameters.shape[-1]))
    for epoch, factor in enumerate(factors):
        order = None if orders is None else orders[epoch]
        rows: list[Array] = []
        for start in range(0, n_samples, problem.batch_size):
            batch = slice(start, start + problem.batch_size)
            X, Y = _samples(problem, order, batch)
            # 1. forward pass
            activations, logits = forward(network, X, weights, biases, arithmetic)
            # 2. error
            rows.append(loss.per_row(arithmetic, logits, activations[-1], Y))
            _keep(lanes.outputs, order, batch, activations[-1])
            last = batch.stop >= n_samples
            if last:
                total = arithmetic.sum(np.concatenate(rows), 0)
                losses[epoch] = loss.reported(total, *problem.Y.shape)
                wait(lanes, losses[epoch])
                endings = judge(lanes, problem.Y, losses[epoch])
                stopped = lanes.parameters.copy() if endings.any() else lanes.parameters
            # 3. backward pass
            gradient = joined(*backward(network, activations, Y, weights, arithmetic))
            # 4. update
            _update(problem, lanes, gradient, factor)
        stopped = end_broken(lanes, endings, stopped)
        if endings.any():
            return Progress(losses[: epoch + 1], endings, stopped)
    return Progress(losses, endings, lanes.parameters)


def _samples(problem: Problem, order: Integers | None, batch: slice) -> tuple[Array, Array]:
    """Inputs and targets of a batch, with a lane axis."""
    if order is None:
        return problem.X[batch, :, None], problem.Y[batch, :, None]
    chosen = order[batch]
    return problem.X[chosen].swapaxes(1, 2), problem.Y[chosen].swapaxes(1, 2)


def _keep(outputs: Array, order: Integers | None, batch: slice, A: Array) -> None:
    if order is None:
        outputs[batch] = A
    else:
        np.put_along_axis(outputs, order[batch][:, None, :], A, axis=0)


def wait(lanes: Lanes, loss: Array) -> None:
    """Moves ``best`` and ``waited`` on by an epoch."""
    better = loss < lanes.best
    lanes.best[:] = np.where(better, loss, lanes.best)
    lanes.waited[:] = np.where(better, 0, lanes.waited + 1)


def judge(lanes: Lanes, Y: Array, loss: Array) -> "np.ndarray[tuple[int], np.dtype[np.int8]]":
    """How each lane stands after its forward pass."""
    correct: Any = False
    if (lanes.stop_tolerance > 0.0).any():
        correct = (abs(lanes.outputs - Y[:, :, None]) < lanes.stop_tolerance).all(axis=(0, 1))
    endings = np.where(lanes.waited >= lanes.patience, STALLED, RUNNING)
    endings = np.where((loss <= lanes.stop_loss) | correct, CONVERGED, endings)
    return np.where(np.isfinite(loss), endings, DIVERGED)


def end_broken(lanes: Lanes, endings: NDArray[np.int8], stopped: Array) -> Array:
    """Ends the lanes that go on and have a parameter not finite, with which they are left; returns
    what lanes that ended are left with.
    """
    finite = np.isfinite(lanes.parameters)
    if finite.all():
        return stopped
    broken = ~finite.all(axis=0) & (endings == Ending.RUNNING)
    endings[broken] = Ending.DIVERGED
    return np.where(broken, lanes.parameters, stopped)


def _update(problem: Problem, lanes: Lanes, gradient: Array, factor: float) -> None:
    rates = (lanes.lr * factor) / problem.divisor[:, None]
    if problem.decays:
        gradient = gradient + lanes.decay * lanes.parameters
    optimizer = OPTIMIZERS[problem.rule]
    state, hyperparameters = (
        optimizer.state(*lanes.slots),
        optimizer.hyperparameters(*lanes.settings),
    )
    lanes.parameters[:], slots = optimizer.update(
        lanes.parameters, gradient, state, rates, hyperparameters
    )
    for slot, new in zip(lanes.slots, slots, strict=True):
        slot[:] = new
