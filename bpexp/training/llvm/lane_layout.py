"""Lanes side by side in memory, as many as a vector has: a strip."""

import math
from typing import Any

import numpy as np

from bpexp.nn.network import Network

LINE = 8
"""Numbers in a cache line."""
FEW, WIDE = 3, 32
"""Lanes at most, and units of hidden layers at least, that are done sooner one by one."""


def one_by_one(network: Network, n_lanes: int) -> bool:
    """Whether so many runs of the network are done sooner one by one than side by side."""
    return n_lanes <= FEW or min(network.sizes[1:-1], default=0) >= WIDE


def in_strips(array: Any, width: int) -> Any:
    """A copy of (..., lanes) as (strips, rows, width), filled up with the first lane."""
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    n = rows.shape[1]
    n_strips = -(-n // width)
    padded = np.empty((len(rows), n_strips * width), array.dtype)
    padded[:, :n] = rows
    padded[:, n:] = rows[:, :1]
    strips = aligned((n_strips, len(rows), width), array.dtype)
    strips[:] = padded.reshape(-1, n_strips, width).swapaxes(0, 1)
    return strips


def in_lanes(strips: Any, like: Any) -> Any:
    """The array that ``strips`` was made of, in the shape of ``like``."""
    n_strips, rows, width = strips.shape
    padded = strips.swapaxes(0, 1).reshape(rows, n_strips * width)
    return padded[:, : like.shape[-1]].reshape(like.shape)


def aligned(shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """An empty array of 8-byte numbers that begins with a cache line."""
    size = math.prod(shape)
    raw = np.empty(size + LINE, dtype)
    start = -(raw.ctypes.data // 8) % LINE
    return raw[start : start + size].reshape(shape)
