"""Initial weights and biases, drawn from one random stream per seed.

>>> weights, biases = initialize([2, 1], "glorot", seed=0)
>>> weights[0].shape, biases[0].shape
((2, 1), (1, 1))
"""

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bpexp.typing import Array


@dataclass(frozen=True)
class Initializer:
    """A distribution of initial weights.

    Attributes:
        name: The value of ``model.init``.
        scale: (u, fan, low, high) -> weights, where u is uniform in [0, 1), ``fan`` is
            (fan_in, fan_out) of the layer, and ``low`` and ``high`` are ``model.init_low`` and
            ``model.init_high``.
    """

    name: str
    scale: Callable[[Array, tuple[int, int], float, float], Array]


def uniform(u: Array, fan: tuple[int, int], low: float, high: float) -> Array:
    """U[low, high)."""
    return low + (high - low) * u


def glorot(u: Array, fan: tuple[int, int], low: float, high: float) -> Array:
    """U(-r, r) with r = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return math.sqrt(6.0 / sum(fan)) * (2.0 * u - 1.0)


def he(u: Array, fan: tuple[int, int], low: float, high: float) -> Array:
    """U(-r, r) with r = sqrt(6 / fan_in), variance 2 / fan_in (He et al. 2015, eq. 10)."""
    return math.sqrt(6.0 / fan[0]) * (2.0 * u - 1.0)


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType({
    initializer.name: initializer
    for initializer in (
        Initializer("uniform", uniform), Initializer("glorot", glorot), Initializer("he", he)
    )
})  # fmt: skip

_local = threading.local()


def _generator(seed: int) -> np.random.RandomState:
    """The thread's generator, seeded again; creating a generator takes a hundred times as long."""
    if not hasattr(_local, "rng"):
        _local.rng = np.random.RandomState(0)
    rng: np.random.RandomState = _local.rng
    rng.seed(seed)
    return rng


def initialize(
    sizes: Sequence[int], name: str, seed: int, low: float = 0.0, high: float = 1.0
) -> tuple[list[Array], list[Array]]:
    """Draw all weights layer by layer, then all biases.

    The biases of a layer have the same distribution as its weights. The stream is MT19937
    (``np.random.RandomState``, which NumPy keeps unchanged).

    Args:
        sizes: Widths of the layers, inputs first.
        name: The initializer.
        seed: Seed of the stream.
        low: ``model.init_low``.
        high: ``model.init_high``.

    Returns:
        For each layer its weights, (n_in, n_out), and its biases, (1, n_out).
    """
    rng, scale = _generator(seed), INITIALIZERS[name].scale
    layers = list(itertools.pairwise(sizes))
    weights = [scale(rng.rand(*fan), fan, low, high) for fan in layers]
    biases = [scale(rng.rand(1, fan[1]), fan, low, high) for fan in layers]
    return weights, biases
