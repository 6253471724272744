"""Small problems made of bits, and the two spirals."""

import itertools

import numpy as np

from bpexp.nn.elementary import cos_of_turns, sin_of_turns
from bpexp.typing import Array


def parity(bits: int) -> tuple[Array, Array]:
    """All 2^bits patterns in counting order, and 1 for an odd number of ones; XOR for 2."""
    X = np.array(list(itertools.product((0.0, 1.0), repeat=bits)))
    return X, X.sum(axis=1, keepdims=True) % 2


def symmetry(bits: int) -> tuple[Array, Array]:
    """All patterns of ``bits`` bits, and 1 for those that mirror themselves."""
    X, _ = parity(bits)
    return X, (X[:, ::-1] == X).all(axis=1, keepdims=True).astype(float)


def encoder(size: int) -> tuple[Array, Array]:
    """The identity on one-hot patterns (Ackley, Hinton and Sejnowski 1985)."""
    return np.eye(size), np.eye(size)


def written(bits: Array, low: float, high: float) -> Array:
    """The same bits with 0 as ``low`` and 1 as ``high``."""
    return np.where(bits > 0, high, low)


def spirals(points: int, turns: float) -> tuple[Array, Array]:
    """Two spirals, the second the first turned by half a circle; targets 1 and 0.

    Point i lies at angle 2 pi turns i / (points - 1), radius falling from 1 to 1/16.
    """
    t = np.arange(points) / (points - 1.0)
    angle, radius = turns * t, 1.0 - t * 15.0 / 16.0
    arm = np.column_stack([radius * sin_of_turns(angle), radius * cos_of_turns(angle)])
    return np.vstack([arm, -arm]), np.repeat([[1.0], [0.0]], points, axis=0)
