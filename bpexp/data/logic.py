"""Small problems made of bits, and the two spirals."""

import itertools

import numpy as np

from bpexp.typing import Array


def parity(bits: int) -> tuple[Array, Array]:
    """All 2^bits patterns in counting order, and 1 for an odd number of ones; XOR for 2."""
    X = np.array(list(itertools.product((0.0, 1.0), repeat=bits)))
    return X, X.sum(axis=1, keepdims=True) % 2


def encoder(size: int, low: float, high: float) -> tuple[Array, Array]:
    """The identity on one-hot patterns (Ackley, Hinton and Sejnowski 1985)."""
    X = np.eye(size)
    return X, np.where(X > 0, high, low)


def spirals(points: int, turns: float) -> tuple[Array, Array]:
    """Two spirals, the second the first turned by half a circle; targets 1 and 0.

    Point i lies at angle 2 pi turns i / (points - 1), radius falling from 1 to 1/16.
    """
    t = np.linspace(0.0, 1.0, points)
    angle, radius = 2.0 * np.pi * turns * t, 1.0 - t * 15.0 / 16.0
    arm = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    return np.vstack([arm, -arm]), np.repeat([[1.0], [0.0]], points, axis=0)
