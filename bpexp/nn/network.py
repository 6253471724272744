"""What a network computes, apart from its parameters' values."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpexp.typing import Array


@dataclass(frozen=True)
class Network:
    """Layer sizes (inputs first), each layer's activation, and how its error is made.

    ``offset`` is added to every activation's derivative (Fahlman 1988, 3.2); ``bias_input``
    is the value of the unit that biases are the weights of; ``error`` and ``dead_zone``
    turn output - target into the error signal of the loss half_squared.
    """

    sizes: tuple[int, ...]
    functions: tuple[str, ...]
    loss: str = "half_squared"
    error: str = "linear"
    dead_zone: float = 0.0
    offset: float = 0.0
    bias_input: float = 1.0

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of all parameters in their order: weights layer by layer, then biases."""
        layers = list(itertools.pairwise(self.sizes))
        return [*layers, *((1, n_out) for _, n_out in layers)]

    @property
    def n_parameters(self) -> int:
        """Weights and biases in all."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def fan_in(self) -> Array:
        """For each parameter, the connections into its unit, bias included: (n_parameters,)."""
        layers = list(itertools.pairwise(self.sizes))
        weights = [np.full(n_in * n_out, n_in + 1.0) for n_in, n_out in layers]
        return np.concatenate([*weights, *(np.full(n_out, n_in + 1.0) for n_in, n_out in layers)])

    def split(self, parameters: Array) -> tuple[list[Array], list[Array]]:
        """Views of (n_parameters[, L]) as weights (n_in, n_out[, L]) and biases (1, n_out[, L])."""
        views, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            views.append(parameters[start:stop].reshape(*shape, *parameters.shape[1:]))
            start = stop
        return views[: len(self.functions)], views[len(self.functions) :]


def joined(weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """Weights and biases as one (n_parameters[, L]) array, in the order of ``shapes``."""
    return np.concatenate([array.reshape(-1, *array.shape[2:]) for array in (*weights, *biases)])
