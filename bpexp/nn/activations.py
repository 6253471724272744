"""Activation functions and what backpropagation needs of them.

Each entry pairs ``f(z)`` with the vector-Jacobian product
``pullback(a, v) = J(z)^T v``, where ``a = f(z)``; for an elementwise function
that is ``v * f'(z)``, with the derivative written in terms of ``a``
(Rumelhart, Hinton and Williams 1986, eq. 10 onwards).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bpexp.typing import Array


class Activation(NamedTuple):
    """``f``: (n_samples, units) -> same; ``pullback``: (a, v) -> J^T v, same shape."""

    f: Callable[[Array], Array]
    pullback: Callable[[Array, Array], Array]


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)); for z below about -709 the exponential overflows to a clean 0."""
    with np.errstate(over="ignore"):
        out: Array = 1.0 / (1.0 + np.exp(-z))
    return out


def relu(z: Array) -> Array:
    """max(z, 0); its derivative at 0 is taken as 0."""
    out: Array = np.maximum(z, 0.0)
    return out


def identity(z: Array) -> Array:
    """z itself."""
    return z


def softmax(z: Array) -> Array:
    """exp(z_k) / sum_j exp(z_j) along the last axis, shifted by the row's maximum."""
    e: Array = np.exp(z - z.max(axis=-1, keepdims=True))
    out: Array = e / e.sum(axis=-1, keepdims=True)
    return out


def _softmax_pullback(a: Array, v: Array) -> Array:
    out: Array = a * (v - (v * a).sum(axis=-1, keepdims=True))
    return out


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(sigmoid, lambda a, v: v * (a * (1.0 - a))),
    "tanh": Activation(np.tanh, lambda a, v: v * (1.0 - a * a)),
    "relu": Activation(relu, lambda a, v: v * (a > 0.0)),
    "identity": Activation(identity, lambda a, v: v),
    "softmax": Activation(softmax, _softmax_pullback),
}
