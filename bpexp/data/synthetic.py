"""Synthetic data sets: XOR, parity, symmetry, encoder and two spirals.

>>> X, Y = parity(2)
>>> X.tolist(), Y.ravel().tolist()
([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0])
"""

import itertools
from dataclasses import dataclass

import numpy as np

from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table
from bpexp.fields import setting
from bpexp.fields.checks import Boolean, Integer, Real
from bpexp.nn.elementary import cos_of_turns, sin_of_turns
from bpexp.typing import Array


@dataclass(frozen=True, kw_only=True)
class BitsConfig(DataConfig):
    """Settings of data sets whose inputs and targets are bits."""

    prepares = DataConfig.prepares | {"input_low", "input_high"}
    rescales = frozenset({"low", "high"})

    low: float = setting(Real(), 0.0, "value of the bit 0 in the targets")
    high: float = setting(Real(), 1.0, "value of the bit 1 in the targets")
    input_low: float = setting(Real(), 0.0, "value of the bit 0 in the inputs")
    input_high: float = setting(Real(), 1.0, "value of the bit 1 in the inputs")


@dataclass(frozen=True, kw_only=True)
class ParityConfig(BitsConfig):
    """Settings of ``parity``."""

    bits: int = setting(Integer(1, 16), 4, "bits of a pattern; all patterns are samples")


@dataclass(frozen=True, kw_only=True)
class SymmetryConfig(BitsConfig):
    """Settings of ``symmetry``."""

    bits: int = setting(Integer(2, 16), 6, "bits of a pattern; all patterns are samples")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(BitsConfig):
    """Settings of ``encoder``."""

    size: int = setting(Integer(2, 4096), 8, "inputs and outputs: N of an N-M-N encoder")
    complement: bool = setting(Boolean(), False, "swap 0 and 1 in the inputs")


@dataclass(frozen=True, kw_only=True)
class SpiralsConfig(DataConfig):
    """Settings of ``spirals``."""

    points: int = setting(Integer(2, 100_000), 97, "points of each spiral")
    turns: float = setting(Real(above=0.0), 3.0, "turns of each spiral")


def parity(bits: int) -> tuple[Array, Array]:
    """All 2^bits patterns in counting order; the target is 1 for an odd number of ones."""
    X = np.array(list(itertools.product((0.0, 1.0), repeat=bits)))
    return X, X.sum(axis=1, keepdims=True) % 2


def symmetry(bits: int) -> tuple[Array, Array]:
    """All 2^bits patterns; the target is 1 for palindromes (Rumelhart et al. 1986)."""
    X, _ = parity(bits)
    return X, (X[:, ::-1] == X).all(axis=1, keepdims=True).astype(float)


def encoder(size: int) -> tuple[Array, Array]:
    """One-hot patterns that are their own targets (Ackley, Hinton and Sejnowski 1985)."""
    return np.eye(size), np.eye(size)


def spirals(points: int, turns: float) -> tuple[Array, Array]:
    """Two interlocking spirals with targets 1 and 0 (Lang and Witbrock 1988).

    Point i lies at angle 2 pi turns i / (points - 1), with a radius that decreases from 1 to
    1/16. The second spiral is the first, rotated by half a turn.
    """
    t = np.arange(points) / (points - 1.0)
    angle, radius = turns * t, 1.0 - t * 15.0 / 16.0
    arm = np.column_stack([radius * sin_of_turns(angle), radius * cos_of_turns(angle)])
    return np.vstack([arm, -arm]), np.repeat([[1.0], [0.0]], points, axis=0)


def _table(X: Array, Y: Array, *, is_one_hot: bool = False) -> Table:
    inputs = tuple(f"x{i + 1}" for i in range(X.shape[1]))
    targets = tuple(f"y{i + 1}" for i in range(Y.shape[1]))
    return Table(X, Y, inputs, targets, is_classification=True, is_one_hot=is_one_hot)


def _bits_table(config: BitsConfig, X: Array, Y: Array, *, is_one_hot: bool = False) -> Table:
    X = np.where(X > 0, config.input_high, config.input_low)
    Y = np.where(Y > 0, config.high, config.low)
    # With low above high, the class is no longer that of the largest output.
    return _table(X, Y, is_one_hot=is_one_hot and config.low < config.high)


def _load_encoder(config: EncoderConfig) -> Table:
    X, Y = encoder(config.size)
    return _bits_table(config, 1.0 - X if config.complement else X, Y, is_one_hot=True)


for _source in (
    DataSource("xor", BitsConfig, lambda c: _bits_table(c, *parity(2))),
    DataSource("parity", ParityConfig, lambda c: _bits_table(c, *parity(c.bits))),
    DataSource("symmetry", SymmetryConfig, lambda c: _bits_table(c, *symmetry(c.bits))),
    DataSource("encoder", EncoderConfig, _load_encoder),
    DataSource("spirals", SpiralsConfig, lambda c: _table(*spirals(c.points, c.turns))),
):
    DATA_SOURCES.register(_source)
