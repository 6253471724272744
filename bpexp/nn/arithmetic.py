"""The two kinds of arithmetic that the mathematics of this package runs on.

Arrays are (rows, columns) or (rows, columns, lanes): a trailing axis of runs that are
trained side by side passes through everything.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np

from bpexp.nn import elementary
from bpexp.typing import Array

VERSIONS = {"exact": 3, "native": 3}
"""Part of every run's identity: raised when a change moves a bit of any result."""


class Arithmetic(NamedTuple):
    """Products, sums and elementary functions.

    ``matmul(A, B)``: (m, k[, L]) by (k, n[, L]) -> (m, n[, L]); ``sum(A, axis)`` removes
    the axis; ``softmax(Z)``: exp(z_k) / sum_j exp(z_j) over axis 1; ``log1p(e)``: ln(1 + e)
    for 0 <= e <= 1; the others are elementwise.
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
    """Each entry is a_0 b_0 + a_1 b_1 + ..., added from the left."""
    return reduce(np.add, (A[:, k, None] * B[k] for k in range(len(B))))


def _sum_in_order(A: Array, axis: int) -> Array:
    return reduce(np.add, np.moveaxis(A, axis, 0))


def _softmax_in_order(Z: Array) -> Array:
    """Shifted by the row's largest; what the sum loses is added up beside it."""
    top = Z.max(axis=1)
    powers = [elementary.exp_of_difference(Z[:, k], top) for k in range(Z.shape[1])]
    total, lost = powers[0], 0.0
    for power in powers[1:]:
        added = total + power
        lost = lost + elementary.sum_error(total, power, added)
        total = added
    out: Array = np.stack(powers, axis=1) / (total + lost)[:, None]
    return out


def _exact_sigmoid(z: Array) -> Array:
    """In fewer steps where no element needs the more."""
    moderate = (np.abs(z) <= elementary.MODERATE).all()
    out: Array = (elementary.sigmoid_of_moderate if moderate else elementary.sigmoid)(z)
    return out


def _matmul_by_blas(A: Array, B: Array) -> Array:
    """One lane at most: what is packed is exact."""
    if A.ndim == 2:
        return A @ B
    out: Array = (A[..., 0] @ B[..., 0])[..., None]
    return out


def _sum_by_blas(A: Array, axis: int) -> Array:
    """Products with ones, a fourth of the time of NumPy's sums; one lane at most."""
    rows = A.reshape(len(A), -1)
    if axis == 0:
        return (np.ones(len(rows)) @ rows).reshape(A.shape[1:])
    return (rows @ np.ones(rows.shape[1])).reshape(len(A), *A.shape[2:])


def _native_softmax(Z: Array) -> Array:
    e = np.exp(Z - Z.max(axis=1, keepdims=True))
    out: Array = e / e.sum(axis=1, keepdims=True)
    return out


def _native_sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), in one array: large temporaries cost more than what is calculated."""
    out = np.negative(z)
    np.exp(out, out=out)
    out += 1.0
    np.divide(1.0, out, out=out)
    return out


EXACT = Arithmetic(
    _matmul_in_order, _sum_in_order, _softmax_in_order,
    elementary.exp, elementary.log, elementary.log1p, _exact_sigmoid, elementary.tanh,
)  # fmt: skip
"""The same bits on every processor: sums in index order, own elementary functions."""

NATIVE = Arithmetic(
    _matmul_by_blas, _sum_by_blas, _native_softmax,
    np.exp, np.log, np.log1p, _native_sigmoid, np.tanh,
)  # fmt: skip
"""NumPy and BLAS as they come: faster for wide layers, the bits are one machine's."""

ARITHMETICS = {"exact": EXACT, "native": NATIVE}
