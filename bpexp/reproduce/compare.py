"""Measures how two results differ, in epochs and in units in the last place (ulp).

>>> import numpy as np
>>> from bpexp.reproduce import compare
>>> compare.first_different_epoch(np.array([3.0, 2.0]), np.array([3.0, 2.5]))
2
"""

from typing import NamedTuple

import numpy as np

from bpexp.runs.result import TrainResult
from bpexp.runs.ulp import max_ulp_distance, ordinals
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
    different = np.flatnonzero(ordinals(a[:common]) != ordinals(b[:common]))
    if len(different):
        return int(different[0]) + 1
    return None if len(a) == len(b) else common + 1
