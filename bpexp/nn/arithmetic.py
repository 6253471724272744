"""Products, sums and elementary functions with the same bits on every processor.

``EXACT`` uses only ``+ - * /``, square roots, comparisons and bit operations of IEEE-754 double
precision, in a fixed order. Arrays have the shape (rows, columns), or (rows, columns, n_runs) if
several runs are trained together.

>>> EXACT.sum(np.array([[1.0, 2.0], [3.0, 4.0]]), 1).tolist()
[3.0, 7.0]
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np

from bpexp.nn import elementary
from bpexp.typing import Array

VERSION = 3
"""Part of the identity of every run; increase it when a change alters any bit of a result."""


class Arithmetic(NamedTuple):
    """Products, sums and elementary functions.

    Attributes:
        matmul: (m, k[, n_runs]) and (k, n[, n_runs]) -> (m, n[, n_runs]).
        sum: (A, axis) -> the sum over this axis.
        softmax: exp(z_k) / sum_j exp(z_j) over axis 1.
        exp: Elementwise.
        log: Elementwise.
        log1p: ln(1 + e) for 0 <= e <= 1, elementwise.
        sigmoid: Elementwise.
        tanh: Elementwise.
    """

    matmul: Callable[[Array, Array], Array]
    sum: Callable[[Array, int], Array]
    softmax: Callable[[Array], Array]
    exp: Callable[[Array], Array]
    log: Callable[[Array], Array]
    log1p: Callable[[Array], Array]
    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]


def _matmul_in_order(A: Array, B: Array) -> Array:
    """Each entry is a_0 b_0 + a_1 b_1 + ..., summed from left to right."""
    return reduce(np.add, (A[:, k, None] * B[k] for k in range(len(B))))


def _sum_in_order(A: Array, axis: int) -> Array:
    return reduce(np.add, np.moveaxis(A, axis, 0))


def _softmax_in_order(Z: Array) -> Array:
    """Softmax of z - max(z) in each row, with a compensated sum."""
    top = Z.max(axis=1)
    powers = [elementary.exp_of_difference(Z[:, k], top) for k in range(Z.shape[1])]
    total, compensation = powers[0], 0.0
    for power in powers[1:]:
        added = total + power
        compensation = compensation + elementary.sum_error(total, power, added)
        total = added
    out: Array = np.stack(powers, axis=1) / (total + compensation)[:, None]
    return out


def _exact_sigmoid(z: Array) -> Array:
    """Uses a shorter formula, with the same results, if no element is large."""
    moderate = (np.abs(z) <= elementary.MODERATE).all()
    out: Array = (elementary.sigmoid_of_moderate if moderate else elementary.sigmoid)(z)
    return out


EXACT = Arithmetic(
    _matmul_in_order, _sum_in_order, _softmax_in_order,
    elementary.exp, elementary.log, elementary.log1p, _exact_sigmoid, elementary.tanh,
)  # fmt: skip
"""Bit-identical on every processor: sums in index order, own elementary functions."""
