"""Computes one training step of a run with all intermediate values of both passes.

>>> from bpexp.config.compose import compose_settings
>>> from bpexp.config.schema import parse
>>> from bpexp.explain.step import compute_step
>>> config, _ = parse(compose_settings({"data": "xor", "hidden": 2}))
>>> step = compute_step(config, epoch=1)
>>> [a.shape for a in step.forward.activations], step.backward.gradient.shape
([(4, 2), (4, 2), (4, 1)], (9,))
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import ERROR_SIGNALS
from bpexp.nn.mlp import forward, output_delta, sample_losses, sample_weights
from bpexp.nn.network import joined
from bpexp.training import replay
from bpexp.training.engine import Integers, Problem, RunStatus
from bpexp.training.numpy_engine import NumpyEngine
from bpexp.typing import Array

DIFFERENCE_STEP = 2.0**-17
"""The h of a central difference, a power of 2. It is near the cube root of 2^-52, where the
truncation error (h^2) and the rounding error (2^-52 / h) are of the same size."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The forward pass with the parameters before the step.

    Attributes:
        Z: Weighted inputs z of each layer, (n_samples, n_units).
        activations: The inputs, (n_samples, n_in), followed by the activations of each layer,
            (n_samples, n_units).
        losses: The error E of each sample, (n_samples,).
        sample_weights: The factor of each sample in ``losses``, (n_samples,), by its class; None if
            classes have no weights.
        total: The sum of ``losses``, which training minimizes.
        loss: The loss per sample that is logged.
    """

    Z: Sequence[Array]
    activations: Sequence[Array]
    losses: Array
    sample_weights: Array | None
    total: float
    loss: float


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """The backward pass with the parameters before the step.

    Attributes:
        slopes: f'(z) of each layer, (n_samples, n_units).
        errors: The factor that f'(z) is multiplied with, of each layer, (n_samples, n_units): the
            error of the outputs, or what a hidden unit receives from the layer above.
        deltas: dE/dz of each layer, (n_samples, n_units).
        gradient: Gradient of the summed error, (n_parameters,), without weight decay.
    """

    slopes: Sequence[Array]
    errors: Sequence[Array]
    deltas: Sequence[Array]
    gradient: Array


@dataclass(frozen=True, eq=False)
class Update:
    """The update by the optimizer.

    Attributes:
        states: The optimizer state before and after, (n_state_values, n_parameters) each.
        lr: The learning rate of the epoch, by the schedule.
        lrs: That of each parameter, (n_parameters,), divided where ``by_fan_in`` says so.
        hyperparameters: The hyperparameters of the optimizer, (n_hyperparameters,).
        after: The new parameters, (n_parameters,).
        loss_after: The loss per sample with the new parameters.
    """

    states: tuple[Array, Array]
    lr: float
    lrs: Array
    hyperparameters: Array
    after: Array
    loss_after: float


@dataclass(frozen=True, eq=False)
class Step:
    """The first training step of an epoch.

    Attributes:
        config: The configuration of the run.
        epoch: The epoch, counted from 1.
        problem: The network and the samples of the mini-batch.
        rows: The row numbers of these samples in the data set, (n_samples,).
        n_mini_batches: The number of mini-batches in the epoch.
        before: The parameters before the step, (n_parameters,).
        forward: The forward pass.
        backward: The backward pass.
        update: The update.
        status: How the run ends at this step, or ``RUNNING``: at the forward pass, or by an update
            that leaves a parameter that is not finite. ``update`` is computed in any case.
    """

    config: TrainConfig
    epoch: int
    problem: Problem
    rows: Integers
    n_mini_batches: int
    before: Array
    forward: ForwardPass
    backward: BackwardPass
    update: Update
    status: RunStatus


def compute_step(
    config: TrainConfig, epoch: int, engine: str = "auto", dataset: Dataset | None = None
) -> Step:
    """Train a run until an epoch, and compute the first step of that epoch.

    Args:
        config: The configuration of the run.
        epoch: The epoch, counted from 1.
        engine: The engine that trains the epochs before.
        dataset: The data of the run, if they are already loaded.

    Returns:
        The step with all intermediate values, which the reference engine computes.

    Raises:
        ConfigError: The run ends before this epoch.
    """
    snapshot = replay.state_before_epoch(config, epoch, engine, dataset)
    n_mini_batches = math.ceil(len(snapshot.problem.X) / snapshot.problem.batch_size)
    (problem, state, lr_factor, _), rows = replay.first_mini_batch(snapshot)
    before, state_before = state.parameters.copy(), state.optimizer_state.copy()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = _forward_values(problem, before)
        backward = _backward_pass(problem, before, values)
        factors, numpy_engine = np.array([lr_factor]), NumpyEngine()
        progress = numpy_engine.advance(problem, state, factors, None)
        # A second pass, whose update is discarded, evaluates the new parameters.
        evaluated = numpy_engine.advance(problem, state.select([0]), factors, None)
        total = float(EXACT.sum(values.losses, 0)[0])
    return Step(
        config=config,
        epoch=epoch,
        problem=problem,
        rows=rows,
        n_mini_batches=n_mini_batches,
        before=before[:, 0],
        forward=ForwardPass(
            Z=_of_only_run(values.Z),
            activations=_of_only_run(values.activations),
            losses=values.losses[:, 0],
            sample_weights=_sample_weights(problem),
            total=total,
            loss=float(progress.losses[0, 0]),
        ),
        backward=backward,
        update=Update(
            states=(state_before[:, :, 0], state.optimizer_state[:, :, 0]),
            lr=float(state.lr[0] * lr_factor),
            lrs=(state.lr * lr_factor) / problem.lr_divisor,
            hyperparameters=state.hyperparameters[:, 0],
            after=state.parameters[:, 0],
            loss_after=float(evaluated.losses[0, 0]),
        ),
        status=RunStatus(progress.statuses[0]),
    )


class _ForwardValues(NamedTuple):
    """Values of a forward pass; the last axis of each array numbers the runs of a batch of one."""

    Z: list[Array]
    activations: list[Array]
    losses: Array


def _forward_values(problem: Problem, parameters: Array) -> _ForwardValues:
    network, arithmetic = problem.network, EXACT
    weights, biases = network.split(parameters)
    X, Y = problem.X[:, :, None], problem.Y[:, :, None]
    activations, last_z = forward(network, X, weights, biases, arithmetic)
    Z = [
        arithmetic.matmul(a, W) + network.bias_input * b
        for a, W, b in zip(activations, weights, biases, strict=False)
    ]
    losses = sample_losses(network, last_z, activations[-1], Y, arithmetic)
    return _ForwardValues(Z, activations, losses)


def _sample_weights(problem: Problem) -> Array | None:
    class_weights = problem.network.class_weights
    return None if class_weights is None else sample_weights(class_weights, problem.Y, EXACT)


def _backward_pass(problem: Problem, parameters: Array, values: _ForwardValues) -> BackwardPass:
    """The chain rule, from the last layer to the first, as in ``mlp.backward``."""
    network, arithmetic = problem.network, EXACT
    weights, _ = network.split(parameters)
    activations, Y = values.activations, problem.Y[:, :, None]
    slopes = [
        ACTIVATIONS[f].slope(a)
        for f, a in zip(network.activation_names, activations[1:], strict=True)
    ]
    difference = activations[-1] - Y
    is_squared = network.loss == "half_squared"
    error_signal = ERROR_SIGNALS[network.error_signal]
    errors = [error_signal(difference, network.dead_zone) if is_squared else difference]
    deltas = [output_delta(network, activations[-1], Y, arithmetic)]
    for layer in reversed(range(1, len(weights))):
        errors.insert(0, arithmetic.matmul(deltas[0], weights[layer].swapaxes(0, 1)))
        deltas.insert(0, errors[0] * (slopes[layer - 1] + network.derivative_offset))
    gradient = joined(
        [
            arithmetic.matmul(a.swapaxes(0, 1), delta)
            for a, delta in zip(activations, deltas, strict=False)
        ],
        [network.bias_input * arithmetic.sum(delta, 0)[None] for delta in deltas],
    )
    return BackwardPass(
        slopes=_of_only_run(slopes),
        errors=_of_only_run(errors),
        deltas=_of_only_run(deltas),
        gradient=gradient[:, 0],
    )


def _of_only_run(arrays: Sequence[Array]) -> list[Array]:
    """The arrays without their last axis, which numbers the runs of a batch."""
    return [array[..., 0] for array in arrays]


def central_difference(step: Step, index: int) -> float:
    """The central difference (E(w + h) - E(w - h)) / 2h, an approximation of dE/dw.

    Args:
        step: The step; E is the summed error of its batch.
        index: The index of the parameter w.

    Returns:
        The difference; NaN if w is so large that w + h is w.
    """
    above, below = step.before.copy(), step.before.copy()
    above[index] += DIFFERENCE_STEP
    below[index] -= DIFFERENCE_STEP
    width = float(above[index] - below[index])
    if width == 0.0:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return (_summed_error(step, above) - _summed_error(step, below)) / width


def _summed_error(step: Step, parameters: Array) -> float:
    network, arithmetic = step.problem.network, EXACT
    weights, biases = network.split(parameters)
    activations, Z = forward(network, step.problem.X, weights, biases, arithmetic)
    losses = sample_losses(network, Z, activations[-1], step.problem.Y, arithmetic)
    return float(arithmetic.sum(losses, 0))
