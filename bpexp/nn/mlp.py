"""The multilayer perceptron: forward pass and backward pass.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating
errors", Nature 323 (1986). Layer l computes z_l = a_{l-1} W_l + b_l, a_l = f_l(z_l),
with a_0 = X. Weights are (n_in, n_out[, n_runs]), biases (1, n_out[, n_runs]); the rows of X
are samples.

>>> import numpy as np
>>> from bpexp.nn.arithmetic import EXACT
>>> network = Network((1, 1), ("identity",))
>>> (X, A), Z = forward(network, np.array([[2.0]]), [np.array([[3.0]])], [np.array([[1.0]])], EXACT)
>>> A.tolist()
[[7.0]]
"""

from collections.abc import Sequence

import numpy as np

from bpexp.nn.activations import ACTIVATIONS, softmax_vjp
from bpexp.nn.arithmetic import Arithmetic
from bpexp.nn.ieee import where
from bpexp.nn.losses import ERROR_SIGNALS, LOSSES
from bpexp.nn.network import ClassWeights, Network
from bpexp.typing import Array


def forward(
    network: Network,
    X: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    arithmetic: Arithmetic,
) -> tuple[list[Array], Array]:
    """Compute the outputs of all layers.

    Args:
        network: The architecture.
        X: Inputs, (n_samples, n_inputs[, n_runs]).
        weights: The weights of each layer.
        biases: The biases of each layer.
        arithmetic: The implementation of products, sums and elementary functions.

    Returns:
        The activations [X, a_1, ..., a_L] and the logits z_L of the last layer.
    """
    activations, Z = [X], X
    for W, b, name in zip(weights, biases, network.activation_names, strict=True):
        Z = arithmetic.matmul(activations[-1], W)
        Z += network.bias_input * b
        activations.append(ACTIVATIONS[name].function(arithmetic, Z))
    return activations, Z


def backward(
    network: Network,
    activations: Sequence[Array],
    Y: Array,
    weights: Sequence[Array],
    arithmetic: Arithmetic,
) -> tuple[list[Array], list[Array]]:
    """Compute the gradients of the summed loss with respect to weights and biases.

    delta_L = dE/dz_L; delta_{l-1} = (delta_l W_l^T) f'(z_{l-1});
    dE/dW_l = a_{l-1}^T delta_l; dE/db_l = sum over samples of delta_l.

    Args:
        network: The architecture.
        activations: The activations [X, a_1, ..., a_L] from ``forward``.
        Y: Targets, (n_samples, n_outputs[, n_runs]).
        weights: The weights of each layer.
        arithmetic: The implementation of products and sums.

    Returns:
        The gradients with respect to the weights and to the biases, in the shapes of these.
    """
    delta = output_delta(network, activations[-1], Y, arithmetic)
    weight_gradients: list[Array] = []
    bias_gradients: list[Array] = []
    for layer in reversed(range(len(weights))):
        below = activations[layer]
        weight_gradients.append(arithmetic.matmul(below.swapaxes(0, 1), delta))
        bias_gradients.append(network.bias_input * arithmetic.sum(delta, 0)[None])
        if layer:
            delta = arithmetic.matmul(delta, weights[layer].swapaxes(0, 1))
            slope = ACTIVATIONS[network.activation_names[layer - 1]].slope(below)
            slope += network.derivative_offset
            delta *= slope
    return weight_gradients[::-1], bias_gradients[::-1]


def sample_losses(network: Network, Z: Array, A: Array, Y: Array, arithmetic: Arithmetic) -> Array:
    """Compute the loss of each sample, times the weight of its class if there are such weights.

    Args:
        network: The architecture, with its loss.
        Z: Logits, (n_samples, n_outputs[, n_runs]).
        A: Outputs, of the same shape.
        Y: Targets, of the same shape.
        arithmetic: The implementation of sums and elementary functions.

    Returns:
        (n_samples[, n_runs]); their sum is what training minimizes.
    """
    losses = LOSSES[network.loss].on(network.activation_names[-1]).per_row(arithmetic, Z, A, Y)
    if network.class_weights is None:
        return losses
    return sample_weights(network.class_weights, Y, arithmetic) * losses


def sample_weights(class_weights: ClassWeights, Y: Array, arithmetic: Arithmetic) -> Array:
    """The weight of each sample in the loss, (n_samples[, n_runs]); see ``ClassWeights``."""
    shape = (1, -1, *[1] * (Y.ndim - 2))
    low, high = (np.array(side).reshape(shape) for side in class_weights[1:])
    return arithmetic.sum(where(class_weights.threshold < Y, high, low), 1)


def output_delta(network: Network, A: Array, Y: Array, arithmetic: Arithmetic) -> Array:
    """Compute dE/dz of the output layer.

    For cross-entropy with its matching activation this is A - Y (Bishop 1995, 6.9); for softmax
    this assumes targets that add up to 1.

    Args:
        network: The architecture, with its loss.
        A: Outputs, (n_samples, n_outputs[, n_runs]).
        Y: Targets, of the same shape.
        arithmetic: The implementation of sums.

    Returns:
        The derivative of the summed loss with respect to the logits, of the same shape.
    """
    delta = _unweighted_output_delta(network, A, Y, arithmetic)
    if network.class_weights is None:
        return delta
    return sample_weights(network.class_weights, Y, arithmetic)[:, None] * delta


def _unweighted_output_delta(network: Network, A: Array, Y: Array, arithmetic: Arithmetic) -> Array:
    if network.loss == "cross_entropy":
        return A - Y
    error = ERROR_SIGNALS[network.error_signal](A - Y, network.dead_zone)
    if network.activation_names[-1] == "softmax":
        return softmax_vjp(arithmetic, A, error)
    return error * (ACTIVATIONS[network.activation_names[-1]].slope(A) + network.derivative_offset)
