"""Activation functions a = f(z) and their derivatives, written in terms of a.

Rumelhart, Hinton and Williams 1986, eq. 10 onwards. Softmax mixes the units of a
layer, so it has a pullback of its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bpexp.nn.arithmetic import Arithmetic
from bpexp.nn.ieee import where
from bpexp.typing import Array


class Activation(NamedTuple):
    """``f``: (arithmetic, z) -> a, elementwise; ``derivative``: a -> f'(z)."""

    f: Callable[[Arithmetic, Array], Array]
    derivative: Callable[[Array], Array]


def sigmoid_derivative(a: Array) -> Array:
    """a (1 - a)."""
    return a * (1.0 - a)


def symmetric_sigmoid_derivative(a: Array) -> Array:
    """Of sigmoid(z) - 1/2: (1/2 + a) (1/2 - a)."""
    return (0.5 + a) * (0.5 - a)


def tanh_derivative(a: Array) -> Array:
    """1 - a^2."""
    return 1.0 - a * a


def softsign(z: Array) -> Array:
    """z / (1 + |z|) (Elliott 1993)."""
    return z / (1.0 + abs(z))


def softsign_derivative(a: Array) -> Array:
    """(1 - |a|)^2."""
    return (1.0 - abs(a)) * (1.0 - abs(a))


def relu(z: Array) -> Array:
    """max(z, 0), NaN kept."""
    out: Array = where(z <= 0.0, 0.0, z)
    return out


def relu_derivative(a: Array) -> Array:
    """1 above 0, else 0; 0 at 0."""
    out: Array = where(a > 0.0, 1.0, 0.0)
    return out


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(lambda arithmetic, z: arithmetic.sigmoid(z), sigmoid_derivative),
    "symmetric_sigmoid": Activation(
        lambda arithmetic, z: arithmetic.sigmoid(z) - 0.5, symmetric_sigmoid_derivative
    ),
    "tanh": Activation(lambda arithmetic, z: arithmetic.tanh(z), tanh_derivative),
    "softsign": Activation(lambda arithmetic, z: softsign(z), softsign_derivative),
    "relu": Activation(lambda arithmetic, z: relu(z), relu_derivative),
    "identity": Activation(lambda arithmetic, z: z, np.ones_like),
}


def softmax_pullback(arithmetic: Arithmetic, A: Array, V: Array) -> Array:
    """J^T v = a (v - sum_k v_k a_k) over axis 1."""
    return A * (V - arithmetic.sum(V * A, 1)[:, None])
