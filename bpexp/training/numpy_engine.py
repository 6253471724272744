"""The reference engine: NumPy code that follows the textbook's four steps.

Every epoch consists of the forward pass, the loss, the backward pass and the update, for one
mini-batch after the other. The runs of a batch are computed together along the last axis.
"""

import math

import numpy as np

from bpexp.nn.arithmetic import EXACT
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import backward, forward, sample_losses
from bpexp.nn.network import Network, joined
from bpexp.training.engine import BatchState, Cancelled, EngineOutputs, Integers, Problem, Progress
from bpexp.training.stopping import (
    mark_nonfinite_parameters,
    statuses_after_forward_pass,
    update_best_loss,
)
from bpexp.training.update import apply_update
from bpexp.typing import Array

SECONDS_PER_UPDATE, SECONDS_PER_PRODUCT = 5e-4, 2e-9
"""Roughly what the calls of NumPy for a mini-batch take, and each multiplication."""


class NumpyEngine:
    """Implements ``bpexp.training.engine.Engine`` by NumPy."""

    max_threads = 1
    _is_cancelled = False

    def cancel(self) -> None:
        """See ``Engine.cancel``."""
        self._is_cancelled = True

    def advance(
        self,
        problem: Problem,
        state: BatchState,
        lr_factors: Array,
        sample_orders: Integers | None,
    ) -> Progress:
        """See ``Engine.advance``."""
        network, n_samples = problem.network, len(problem.X)
        loss = LOSSES[network.loss].on(network.activation_names[-1])
        weights, biases = network.split(state.parameters)
        losses = np.empty((len(lr_factors), state.n_runs))
        for epoch, lr_factor in enumerate(lr_factors):
            order = None if sample_orders is None else sample_orders[epoch]
            losses_so_far: list[Array] = []
            for start in range(0, n_samples, problem.batch_size):
                if self._is_cancelled:
                    raise Cancelled
                samples = slice(start, start + problem.batch_size)
                X, Y = _samples(problem, order, samples)
                # 1. forward pass
                activations, logits = forward(network, X, weights, biases, EXACT)
                # 2. loss
                losses_so_far.append(sample_losses(network, logits, activations[-1], Y, EXACT))
                _store_outputs(state.outputs, order, samples, activations[-1])
                if samples.stop >= n_samples:
                    total = EXACT.sum(np.concatenate(losses_so_far), 0)
                    losses[epoch] = loss.reported(total, *problem.Y.shape)
                    update_best_loss(state, losses[epoch])
                    statuses = statuses_after_forward_pass(state, problem.Y, losses[epoch])
                    final = state.parameters.copy() if statuses.any() else state.parameters
                # 3. backward pass
                gradient = joined(*backward(network, activations, Y, weights, EXACT))
                # 4. update
                _update(problem, state, gradient, lr_factor)
            final = mark_nonfinite_parameters(state, statuses, final)
            if statuses.any():
                return Progress(losses[: epoch + 1], statuses, final)
        return Progress(losses, statuses, state.parameters)

    def epochs_per_second(self, problem: Problem, n_runs: int) -> float:
        """See ``Engine.epochs_per_second``."""
        n_updates = math.ceil(len(problem.X) / problem.batch_size)
        products = problem.n_products(n_runs)
        return 1.0 / (SECONDS_PER_UPDATE * n_updates + SECONDS_PER_PRODUCT * products)

    def evaluate(self, network: Network, parameters: Array, X: Array, Y: Array) -> EngineOutputs:
        """See ``Engine.evaluate``."""
        if self._is_cancelled:
            raise Cancelled
        loss = LOSSES[network.loss].on(network.activation_names[-1])
        weights, biases = network.split(parameters)
        activations, logits = forward(network, X[:, :, None], weights, biases, EXACT)
        each = sample_losses(network, logits, activations[-1], Y[:, :, None], EXACT)
        losses = loss.reported(EXACT.sum(each, 0), *Y.shape)
        return EngineOutputs(losses, activations[-1])


def _samples(problem: Problem, order: Integers | None, samples: slice) -> tuple[Array, Array]:
    """Inputs and targets of a mini-batch, (batch_size, n_units, L or 1)."""
    if order is None:
        return problem.X[samples, :, None], problem.Y[samples, :, None]
    rows = order[samples]
    return problem.X[rows].swapaxes(1, 2), problem.Y[rows].swapaxes(1, 2)


def _store_outputs(outputs: Array, order: Integers | None, samples: slice, A: Array) -> None:
    if order is None:
        outputs[samples] = A
    else:
        np.put_along_axis(outputs, order[samples][:, None, :], A, axis=0)


def _update(problem: Problem, state: BatchState, gradient: Array, lr_factor: float) -> None:
    lr = (state.lr * lr_factor) / problem.lr_divisor[:, None]
    if problem.has_weight_decay:
        gradient = gradient + state.weight_decay * state.parameters
    state.parameters[:], new_state = apply_update(
        problem.optimizer, state.parameters, gradient, list(state.optimizer_state), lr,
        list(state.hyperparameters),
    )  # fmt: skip
    for values, new_values in zip(state.optimizer_state, new_state, strict=True):
        values[:] = new_values
