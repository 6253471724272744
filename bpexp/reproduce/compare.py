"""Measures how two results differ, in epochs and in units in the last place (ulp).

>>> import numpy as np
>>> from bpexp.reproduce import compare
>>> compare.max_ulp_distance([np.array([1.0])], [np.array([np.nextafter(1.0, 2.0)])])
1
>>> compare.first_different_epoch(np.array([3.0, 2.0]), np.array([3.0, 2.5]))
2
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.runs.result import TrainResult
from bpexp.tracking.stored_results import StoredResult
from bpexp.typing import Array


class Difference(NamedTuple):
    """How a repeated result differs from the stored one.

    Attributes:
        outcomes: The stored outcome and the new one.
        epoch: The first epoch, counted from 1, with another loss; None if there is none.
        ulps: The largest distance of losses, predictions and weights; None for other shapes.
    """

    outcomes: tuple[str, str]
    epoch: int | None
    ulps: dict[str, int | None]


def difference(stored: StoredResult, result: TrainResult) -> Difference:
    """Compare a stored result with a new one."""
    pairs = zip(result.weights, result.biases, strict=True)
    layers = [array for pair in pairs for array in pair]
    return Difference(
        (stored.outcome, result.outcome.value),
        first_different_epoch(stored.losses, result.losses),
        {
            "losses": max_ulp_distance([stored.losses], [result.losses]),
            "predictions": max_ulp_distance([stored.predictions], [result.predictions]),
            "weights": max_ulp_distance(list(stored.layers.values()), layers),
        },
    )


def first_different_epoch(a: Array, b: Array) -> int | None:
    """The first epoch at which two loss curves differ.

    Args:
        a: Losses, (epochs_run,).
        b: Losses; the number of epochs may differ.

    Returns:
        The epoch, counted from 1, at which the bits differ or only one run has a loss; None if
        the curves are bit-identical.
    """
    common = min(len(a), len(b))
    different = np.flatnonzero(_ordinals(a[:common]) != _ordinals(b[:common]))
    if len(different):
        return int(different[0]) + 1
    return None if len(a) == len(b) else common + 1


def max_ulp_distance(a: Sequence[Array], b: Sequence[Array]) -> int | None:
    """The largest distance in ulp between corresponding numbers; 0 for bit-identical arrays.

    Args:
        a: Arrays of float64.
        b: Arrays of the same shapes. The lengths of the first axes may differ: the additional
            rows are ignored.

    Returns:
        The distance, or None if the shapes differ.
    """
    if [array.shape[1:] for array in a] != [array.shape[1:] for array in b]:
        return None
    distances = [0]
    for left, right in zip(a, b, strict=True):
        common = min(len(left), len(right))
        p, q = _ordinals(left[:common]), _ordinals(right[:common])
        distances.append(int((np.maximum(p, q) - np.minimum(p, q)).max(initial=0)))
    return max(distances)


def _ordinals(values: Array) -> NDArray[np.uint64]:
    """The rank of each float64 among all float64 in ascending order.

    The bits of a float, read as an integer, ascend with the float if it is positive, and descend
    if it is negative.
    """
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    sign = np.uint64(2**63)
    return np.where(bits & sign, ~bits, bits | sign)
