"""The architecture of a network: everything but the values of its parameters.

>>> network = Network((2, 3, 1), ("tanh", "identity"))
>>> network.n_parameters, network.shapes
(13, [(2, 3), (3, 1), (1, 3), (1, 1)])
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpexp.typing import Array


class ClassWeights(NamedTuple):
    """The weight of a sample in the loss, by its class.

    The weight is the sum over the outputs of ``high`` where the target is above the threshold, and
    of ``low`` elsewhere. With an output per class ``high`` holds the weights of the classes and
    ``low`` is 0; with a single output they are the weights of the two classes.

    Attributes:
        threshold: What separates low from high targets.
        low: (n_outputs,).
        high: (n_outputs,).
    """

    threshold: float
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron without its parameters.

    Attributes:
        sizes: Widths of the layers, inputs first.
        activation_names: The activation of each layer after the inputs.
        loss: The name of the loss.
        error_signal: The name of the error signal of the loss half_squared.
        dead_zone: Output errors below this magnitude count as 0.
        derivative_offset: Added to the derivative of hidden units and, with the loss half_squared,
            of outputs other than softmax (Fahlman 1988, 3.2).
        bias_input: The value of the unit whose outgoing weights are the biases.
        class_weights: The weights of the samples in the loss; None if all have the weight 1.
    """

    sizes: tuple[int, ...]
    activation_names: tuple[str, ...]
    loss: str = "half_squared"
    error_signal: str = "linear"
    dead_zone: float = 0.0
    derivative_offset: float = 0.0
    bias_input: float = 1.0
    class_weights: ClassWeights | None = None

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the parameter arrays: the weights of all layers, then the biases."""
        layers = list(itertools.pairwise(self.sizes))
        return [*layers, *((1, n_out) for _, n_out in layers)]

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return sum(math.prod(shape) for shape in self.shapes)

    def n_products(self, n_samples: int) -> int:
        """Multiplications in an epoch: forward pass, deltas and gradients."""
        return 3 * self.n_parameters * n_samples

    @property
    def fan_in(self) -> Array:
        """The number of connections into the unit of each parameter, bias included.

        Shape (n_parameters,).
        """
        layers = list(itertools.pairwise(self.sizes))
        weights = [np.full(n_in * n_out, n_in + 1.0) for n_in, n_out in layers]
        return np.concatenate([*weights, *(np.full(n_out, n_in + 1.0) for n_in, n_out in layers)])

    def split(self, parameters: Array) -> tuple[list[Array], list[Array]]:
        """Views of a flat (n_parameters[, n_runs]) array as weights and biases of the layers."""
        views, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            views.append(parameters[start:stop].reshape(*shape, *parameters.shape[1:]))
            start = stop
        n_layers = len(self.activation_names)
        return views[:n_layers], views[n_layers:]


def joined(weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """Weights and biases as one flat (n_parameters[, n_runs]) array, the inverse of ``split``."""
    return np.concatenate([array.reshape(-1, *array.shape[2:]) for array in (*weights, *biases)])
