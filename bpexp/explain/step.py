"""One training step of a run with all that lies between the weights before and after."""

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
where the formula's error (h^2) and the rounding's (2^-52 / h) are alike small."""


@dataclass(frozen=True, eq=False)
class Step:
    """The first step of one epoch.

    ``rows``: the batch's samples, numbers in the data set. Per layer, (n_samples, n_units):
    ``Z``, ``activations`` (the first are the inputs), ``slopes`` f'(z), ``errors`` (what is
    multiplied by the slope) and ``deltas``. ``losses``: (n_samples,); ``total``: their sum.
    ``gradient``, ``before``, ``after``, ``rates``: (n_parameters,); ``gradient`` is what
    backpropagation gave, without weight decay. ``slots``: what the rule remembers, before and
    after, (n_slots, n_parameters). ``loss`` and ``loss_after``: per sample, of this batch.
    ``ending``: how the run stands after this forward pass.
    """

    config: TrainConfig
    epoch: int
    problem: Problem
    rows: Integers
    n_batches: int
    before: Array
    Z: Sequence[Array]
    activations: Sequence[Array]
    slopes: Sequence[Array]
    errors: Sequence[Array]
    deltas: Sequence[Array]
    losses: Array
    total: float
    loss: float
    gradient: Array
    slots: tuple[Array, Array]
    rates: Array
    settings: Array
    after: Array
    loss_after: float
    ending: RunStatus


def take(config: TrainConfig, epoch: int, engine: str = "auto") -> Step:
    """The first step of epoch ``epoch``, counted from 1. Raises ConfigError if there is none."""
    snapshot = replay.state_before_epoch(config, epoch, engine)
    n_batches = -(-len(snapshot.problem.X) // snapshot.problem.batch_size)
    (problem, state, factor, _), rows = replay.first_batch(snapshot)
    network, arithmetic = problem.network, ARITHMETICS[problem.numerics]
    loss = LOSSES[network.loss].on(network.functions[-1])
    X, Y = problem.X[:, :, None], problem.Y[:, :, None]
    before, slots = state.parameters.copy(), state.optimizer_state.copy()
    weights, biases = network.split(before)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        activations, last = forward(network, X, weights, biases, arithmetic)
        Z = [
            arithmetic.matmul(a, W) + network.bias_input * b
            for a, W, b in zip(activations, weights, biases, strict=False)
        ]
        losses = loss.per_row(arithmetic, last, activations[-1], Y)
        slopes = [_slope(f, a) for f, a in zip(network.functions, activations[1:], strict=True)]

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
        config, epoch, problem, rows, n_batches, before[:, 0], _flat(Z), _flat(activations),
        _flat(slopes), _flat(errors), _flat(deltas), losses[:, 0],
        float(arithmetic.sum(losses, 0)[0]), float(progress.losses[0, 0]),
        gradient[:, 0], (slots[:, :, 0], state.optimizer_state[:, :, 0]),
        (state.lr * factor) / problem.lr_divisor, state.hyperparameters[:, 0],
        state.parameters[:, 0],
        float(end.losses[0, 0]), RunStatus(progress.statuses[0]),
    )  # fmt: skip


def _flat(arrays: Sequence[Array]) -> list[Array]:
    return [array[..., 0] for array in arrays]


def _slope(function: str, a: Array) -> Array:
    """f'(z) by a = f(z); of softmax, whose units are not apart, the diagonal a (1 - a)."""
    return ACTIVATIONS[function].slope(a)


def central_difference(step: Step, index: int) -> float:
    """(E(w + h) - E(w - h)) / 2h for one parameter, E the batch's summed loss."""
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
