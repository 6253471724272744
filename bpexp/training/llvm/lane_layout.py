"""Arranges arrays of many runs for vector instructions.

A vector instruction computes on ``LANES`` numbers at once. There are two ways to use it:

- group size ``LANES``: the same number of ``LANES`` runs lies side by side in memory, and each
  lane of a vector belongs to another run. This suits narrow networks and many runs.
- group size 1: the units of a layer of one run lie side by side, padded to whole vectors, and each
  lane belongs to another unit. This suits wide networks, and few runs.

The arrays of a batch, whose last axis is the run, are rearranged to (n_groups, ..., group_size).

>>> network = Network(sizes=(2, 3, 1), activation_names=("sigmoid", "sigmoid"))
>>> parameters = np.arange(26.0).reshape(13, 2)  # (n_parameters, n_runs)
>>> groups = RunGroups(network, LANES)
>>> groups.group_parameters(parameters).shape  # one group of 8 lanes, 2 of which are used
(1, 13, 8)
>>> groups = RunGroups(network, 1)
>>> grouped = groups.group_parameters(parameters)
>>> grouped.shape  # 5 rows of weights and 2 of biases, each padded to 8 numbers
(2, 56)
>>> bool((groups.ungroup_parameters(grouped, like=parameters) == parameters).all())
True
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.nn.network import Network
from bpexp.typing import Array

LANES = 8
"""Numbers in a vector: eight float64 fill the widest registers (AVX-512)."""
CACHE_LINE = 8
"""Numbers of 8 bytes in a cache line."""
MAX_FEW_RUNS = 4
"""Number of runs up to which group size 1 is faster."""
MIN_WIDE_LAYER = 32
"""Units of the narrowest hidden layer from which group size 1 is faster."""


def choose_group_size(network: Network, n_runs: int) -> int:
    """Return the faster group size for this many runs: 1 or ``LANES``."""
    is_wide = min(network.sizes[1:-1], default=0) >= MIN_WIDE_LAYER
    return 1 if n_runs <= MAX_FEW_RUNS or is_wide else LANES


def row_length(n_units: int, group_size: int) -> int:
    """Numbers in a row of a layer's units: of ``LANES`` runs, or of one run with padding."""
    return n_units * LANES if group_size == LANES else -(-n_units // LANES) * LANES


class RunGroups:
    """Converts the arrays of a batch to groups of runs, and back.

    Padding lanes repeat the first run, so that they compute ordinary numbers; padding units are 0.

    Args:
        network: Architecture of the networks.
        group_size: 1 or ``LANES``.
    """

    def __init__(self, network: Network, group_size: int) -> None:
        self.network, self.group_size = network, group_size

    def group_scalars(self, array: Array) -> Array:
        """Convert (..., L) to (n_groups, rows, group_size)."""
        return np.asarray(to_lane_groups(array, self.group_size))

    def ungroup_scalars(self, groups: Array, like: Array) -> Array:
        """Convert the result of ``group_scalars`` back to the shape of ``like``."""
        return np.asarray(from_lane_groups(groups, like))

    def group_parameters(self, array: Array) -> Array:
        """Convert (..., n_parameters, L) to (n_groups, ..., row lengths of all layers)."""
        return self._group(array, _parameter_positions(self.network))

    def ungroup_parameters(self, groups: Array, like: Array) -> Array:
        """Convert the result of ``group_parameters`` back to the shape of ``like``."""
        return self._ungroup(groups, like, _parameter_positions(self.network))

    def group_outputs(self, array: Array) -> Array:
        """Convert (n_samples, n_outputs, L) to (n_groups, n_samples, row length)."""
        return self._group(array, np.arange(self.network.sizes[-1]))

    def ungroup_outputs(self, groups: Array, like: Array) -> Array:
        """Convert the result of ``group_outputs`` back to the shape of ``like``."""
        return self._ungroup(groups, like, np.arange(self.network.sizes[-1]))

    def empty_outputs(self, n_groups: int, n_samples: int) -> Array:
        """Return memory for outputs as ``group_outputs`` arranges them."""
        n_outputs = self.network.sizes[-1]
        if self.group_size == LANES:
            return np.asarray(aligned_empty((n_groups, n_samples * n_outputs, LANES)))
        return np.asarray(aligned_empty((n_groups, n_samples, row_length(n_outputs, 1))))

    def pad_outputs(self, array: Array) -> Array:
        """Pad rows that are the same for all runs, (n_samples, n_outputs), to whole vectors.

        Several runs side by side have no padding: the array is then returned unchanged.
        """
        return array if self.group_size == LANES else self.group_outputs(array[..., None])

    def repeat(self, array: Array) -> Array:
        """Repeat an array without a run axis for the runs of one group, (..., group_size)."""
        return np.repeat(array[..., None], self.group_size, axis=-1)

    def _group(self, array: Array, positions: NDArray[np.int64]) -> Array:
        if self.group_size == LANES:
            return np.asarray(to_lane_groups(array, LANES))
        length = row_length(int(positions[-1]) + 1, 1)
        groups: Array = aligned_empty((array.shape[-1], *array.shape[:-2], length))
        groups[:] = 0.0
        groups[..., positions] = np.moveaxis(array, -1, 0)
        return groups

    def _ungroup(self, groups: Array, like: Array, positions: NDArray[np.int64]) -> Array:
        if self.group_size == LANES:
            return np.asarray(from_lane_groups(groups, like))
        return np.moveaxis(groups[..., positions], 0, -1)


@lru_cache(maxsize=64)
def _parameter_positions(network: Network) -> NDArray[np.int64]:
    """Position of each parameter of one run among the padded ones, (n_parameters,)."""
    start, positions = 0, []
    for n_in, n_out in network.shapes:
        length = row_length(n_out, 1)
        rows = start + length * np.arange(n_in)
        positions.append(np.add.outer(rows, np.arange(n_out)).ravel())
        start += n_in * length
    return np.concatenate(positions)


def to_lane_groups(array: Any, group_size: int) -> Any:
    """Copy (..., L) to (n_groups, rows, group_size); unused lanes repeat the first run.

    >>> to_lane_groups(np.array([[1.0, 2.0, 3.0]]), 2)
    array([[[1., 2.]],
    <BLANKLINE>
           [[3., 1.]]])
    """
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    n_runs = rows.shape[1]
    n_groups = -(-n_runs // group_size)
    padded = np.empty((len(rows), n_groups * group_size), array.dtype)
    padded[:, :n_runs] = rows
    padded[:, n_runs:] = rows[:, :1]
    groups = aligned_empty((n_groups, len(rows), group_size), array.dtype)
    groups[:] = padded.reshape(-1, n_groups, group_size).swapaxes(0, 1)
    return groups


def from_lane_groups(groups: Any, like: Any) -> Any:
    """Convert (n_groups, rows, group_size) back to the shape of ``like``, (..., L)."""
    n_groups, rows, group_size = groups.shape
    padded = groups.swapaxes(0, 1).reshape(rows, n_groups * group_size)
    return padded[:, : like.shape[-1]].reshape(like.shape)


def aligned_empty(shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """Return an uninitialized array of 8-byte numbers that is aligned to a cache line."""
    size = math.prod(shape)
    buffer = np.empty(size + CACHE_LINE, dtype)
    start = -(buffer.ctypes.data // 8) % CACHE_LINE
    return buffer[start : start + size].reshape(shape)
