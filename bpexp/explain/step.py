"""One training step of a run with all intermediate values of both passes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import ARITHMETICS
from bpexp.nn.losses import ERRORS, LOSSES
from bpexp.nn.mlp import forward, output_delta
from bpexp.nn.network import joined
from bpexp.training import replay
from bpexp.training.engine import Integers, Problem, RunStatus
from bpexp.training.numpy_engine import NumpyEngine
from bpexp.typing import Array

H = 2.0**-17
"""Half the distance of the two points of a central difference: near the cube root of 2^-52,
where the formula's error (h^2) and the rounding error (2^-52 / h) are of the same size."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The forward pass with the parameters before the step.

    ``Z`` and ``activations``: per layer (n_samples, n_units); the first activations are the
    inputs. ``losses``: (n_samples,), ``total`` their sum, ``loss`` the value that is logged.
    """

    Z: Sequence[Array]
    activations: Sequence[Array]
    losses: Array
    total: float
    loss: float


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """The backward pass.

    ``slopes`` f'(z), ``errors`` (the factor of the slope) and ``deltas``: per layer
    (n_samples, n_units). ``gradient``: (n_parameters,), without weight decay.
    """

    slopes: Sequence[Array]
    errors: Sequence[Array]
    deltas: Sequence[Array]
    gradient: Array


@dataclass(frozen=True, eq=False)
class Update:
    """The optimizer's update.

    ``states``: the optimizer state before and after, each (n_state_values, n_parameters). ``lrs``:
    the learning rate of each parameter, (n_parameters,). ``hyperparameters``: of the optimizer.
    ``after``: the new parameters, (n_parameters,). ``loss_after``: the loss with these.
    """

    states: tuple[Array, Array]
    lrs: Array
    hyperparameters: Array
    after: Array
    loss_after: float


@dataclass(frozen=True, eq=False)
class Step:
    """The first step of an epoch.

    ``rows``: the batch's samples, row numbers in the data set. ``before``: the parameters before
    the step, (n_parameters,). ``status``: the state of the run after this forward pass.
    """

    config: TrainConfig
    epoch: int
    problem: Problem
    rows: Integers
    n_batches: int
    before: Array
    forward: ForwardPass
    backward: BackwardPass
    update: Update
    status: RunStatus


def take(config: TrainConfig, epoch: int, engine: str = "auto") -> Step:
    """Train until an epoch and take its first step.

    Args:
        config: The run.
        epoch: The epoch, from 1.
        engine: The engine that trains until then.

    Raises:
        ConfigError: The run ends before this epoch.
    """
    snapshot = replay.state_before_epoch(config, epoch, engine)
    n_batches = -(-len(snapshot.problem.X) // snapshot.problem.batch_size)
    (problem, state, factor, _), rows = replay.first_batch(snapshot)
    network, arithmetic = problem.network, ARITHMETICS[problem.numerics]
    loss = LOSSES[network.loss].on(network.functions[-1])
    X, Y = problem.X[:, :, None], problem.Y[:, :, None]
    before, state_before = state.parameters.copy(), state.optimizer_state.copy()
    weights, biases = network.split(before)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        activations, last = forward(network, X, weights, biases, arithmetic)
        Z = [
            arithmetic.matmul(a, W) + network.bias_input * b
            for a, W, b in zip(activations, weights, biases, strict=False)
        ]
        losses = loss.per_row(arithmetic, last, activations[-1], Y)
        slopes = [
            ACTIVATIONS[f].slope(a) for f, a in zip(network.functions, activations[1:], strict=True)
        ]

        # The chain rule, from the last layer to the first, as in ``mlp.backward``.
        difference = activations[-1] - Y
        squared = network.loss == "half_squared"
        errors = [ERRORS[network.error](difference, network.dead_zone) if squared else difference]
        deltas = [output_delta(network, activations[-1], Y, arithmetic)]
        for layer in reversed(range(1, len(weights))):
            errors.insert(0, arithmetic.matmul(deltas[0], weights[layer].swapaxes(0, 1)))
            deltas.insert(0, errors[0] * (slopes[layer - 1] + network.offset))
        gradient = joined(
            [
                arithmetic.matmul(a.swapaxes(0, 1), delta)
                for a, delta in zip(activations, deltas, strict=False)
            ],
            [network.bias_input * arithmetic.sum(delta, 0)[None] for delta in deltas],
        )

        reference = NumpyEngine()
        progress = reference.advance(problem, state, np.array([factor]), None)
        end = reference.advance(problem, state.select([0]), np.array([factor]), None)
    return Step(
        config=config,
        epoch=epoch,
        problem=problem,
        rows=rows,
        n_batches=n_batches,
        before=before[:, 0],
        forward=ForwardPass(
            Z=_first_lane(Z),
            activations=_first_lane(activations),
            losses=losses[:, 0],
            total=float(arithmetic.sum(losses, 0)[0]),
            loss=float(progress.losses[0, 0]),
        ),
        backward=BackwardPass(
            slopes=_first_lane(slopes),
            errors=_first_lane(errors),
            deltas=_first_lane(deltas),
            gradient=gradient[:, 0],
        ),
        update=Update(
            states=(state_before[:, :, 0], state.optimizer_state[:, :, 0]),
            lrs=(state.lr * factor) / problem.lr_divisor,
            hyperparameters=state.hyperparameters[:, 0],
            after=state.parameters[:, 0],
            loss_after=float(end.losses[0, 0]),
        ),
        status=RunStatus(progress.statuses[0]),
    )


def _first_lane(arrays: Sequence[Array]) -> list[Array]:
    """The arrays without their last axis, which numbers the runs of a batch."""
    return [array[..., 0] for array in arrays]


def central_difference(step: Step, index: int) -> float:
    """(E(w + h) - E(w - h)) / 2h for parameter number ``index``; E is the batch's summed loss."""
    above, below = step.before.copy(), step.before.copy()
    above[index] += H
    below[index] -= H
    return (_total(step, above) - _total(step, below)) / float(above[index] - below[index])


def _total(step: Step, parameters: Array) -> float:
    network, arithmetic = step.problem.network, ARITHMETICS[step.problem.numerics]
    weights, biases = network.split(parameters)
    activations, Z = forward(network, step.problem.X, weights, biases, arithmetic)
    loss = LOSSES[network.loss].on(network.functions[-1])
    return float(arithmetic.sum(loss.per_row(arithmetic, Z, activations[-1], step.problem.Y), 0))
