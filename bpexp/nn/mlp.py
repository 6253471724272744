"""The multilayer perceptron: forward pass and backward pass.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating
errors", Nature 323 (1986). Layer l computes z_l = a_{l-1} W_l + b_l, a_l = f_l(z_l),
with a_0 = X. Weights are (n_in, n_out), biases (1, n_out), one row a sample.
"""

from collections.abc import Sequence

from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.losses import LOSSES
from bpexp.typing import Array


def forward(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], functions: Sequence[str]
) -> tuple[list[Array], Array]:
    """The activations [X, a_1, ..., a_L] and the logits z_L of the last layer.

    ``functions`` names the activation of each of the L layers.
    """
    activations, z = [X], X
    for W, b, name in zip(weights, biases, functions, strict=True):
        z = activations[-1] @ W + b
        activations.append(ACTIVATIONS[name].f(z))
    return activations, z


def backward(
    activations: Sequence[Array],
    Y: Array,
    weights: Sequence[Array],
    functions: Sequence[str],
    loss: str,
) -> tuple[list[Array], list[Array]]:
    """Gradients of the summed loss by weights and biases, shaped like them.

    delta_L = dE/dz_L; delta_{l-1} = (delta_l W_l^T) f'(z_{l-1});
    dE/dW_l = a_{l-1}^T delta_l; dE/db_l = sum over samples of delta_l.
    """
    delta = LOSSES[loss, functions[-1]].delta(functions[-1], activations[-1], Y)
    weight_gradients: list[Array] = []
    bias_gradients: list[Array] = []
    for layer in reversed(range(len(weights))):
        weight_gradients.append(activations[layer].T @ delta)
        bias_gradients.append(delta.sum(axis=0, keepdims=True))
        if layer:
            error = delta @ weights[layer].T
            delta = ACTIVATIONS[functions[layer - 1]].pullback(activations[layer], error)
    return weight_gradients[::-1], bias_gradients[::-1]
