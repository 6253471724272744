"""Initial weights: all weights layer by layer, then all biases, from one stream."""

import itertools
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np

from bpexp.typing import Array

Draw = Callable[[np.random.RandomState, tuple[int, int], int, int], Array]
"""(rng, shape, fan_in, fan_out) -> array of that shape."""


def uniform(low: float, high: float) -> Draw:
    """U[low, high) for weights and biases alike."""
    if (low, high) == (0.0, 1.0):
        return lambda rng, shape, fan_in, fan_out: rng.rand(*shape)
    return lambda rng, shape, fan_in, fan_out: low + (high - low) * rng.rand(*shape)


def glorot(rng: np.random.RandomState, shape: tuple[int, int], fan_in: int, fan_out: int) -> Array:
    """U(-r, r), r = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    bound = math.sqrt(6.0 / (fan_in + fan_out))
    return bound * (2.0 * rng.rand(*shape) - 1.0)


def he(rng: np.random.RandomState, shape: tuple[int, int], fan_in: int, fan_out: int) -> Array:
    """U(-r, r), r = sqrt(6 / fan_in), of variance 2 / fan_in (He et al. 2015, eq. 10)."""
    bound = math.sqrt(6.0 / fan_in)
    return bound * (2.0 * rng.rand(*shape) - 1.0)


_local = threading.local()


def _stream() -> np.random.RandomState:
    """One generator a thread, to be seeded: making one takes a hundred times as long."""
    if not hasattr(_local, "rng"):
        _local.rng = np.random.RandomState(0)
    rng: np.random.RandomState = _local.rng
    return rng


def initialise(sizes: Sequence[int], draw: Draw, seed: int) -> tuple[list[Array], list[Array]]:
    """Weights (n_in, n_out) and biases (1, n_out) of each layer, for layer sizes ``sizes``.

    Biases are drawn by the same rule as the weights into their units. The stream is
    MT19937 of ``seed`` (``np.random.RandomState``, frozen by NumPy's policy).
    """
    rng = _stream()
    rng.seed(seed)
    layers = list(itertools.pairwise(sizes))
    weights = [draw(rng, (n_in, n_out), n_in, n_out) for n_in, n_out in layers]
    biases = [draw(rng, (1, n_out), n_in, n_out) for n_in, n_out in layers]
    return weights, biases
