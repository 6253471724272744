"""Copies between rows and columns of large tables, in tiles that fit into the cache of a core.

To gather the cells of one column after the other takes up to ten times as long in a table of
hundreds of columns, because each cell is in another cache line.

>>> X = from_columns([np.array([1, 2, 3]), np.array([0.5, 0.0, 1.5])])
>>> X.tolist()
[[1.0, 0.5], [2.0, 0.0], [3.0, 1.5]]
>>> [column.tolist() for column in columns_of(X, np.array([0, 2]))]
[[1.0, 3.0], [0.5, 1.5]]
"""

import mmap
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bpexp.data.splits import Positions
from bpexp.typing import Array

ROWS, COLUMNS = 512, 64
"""Size of a tile: 256 KiB."""
LARGE_BYTES = 2**22
"""Size from which NumPy asks for huge pages."""
_AT_ONCE = getattr(mmap, "MAP_POPULATE", 0)
"""Linux reserves all pages in one call, which is faster than one page at its first use."""


def columns_of(X: Array, rows: Positions) -> Iterator[Array]:
    """Yield the columns of some rows of a table, (n_columns, n_cells), as contiguous arrays."""
    for left in range(0, X.shape[1], COLUMNS):
        tile = X[:, left : left + COLUMNS]
        cells = np.empty((tile.shape[1], len(rows)))
        for top in range(0, len(rows), ROWS):
            some = slice(top, top + ROWS)
            cells[:, some] = tile[rows[some]].T
        yield from cells


def from_columns(columns: Sequence[NDArray[np.generic]]) -> Array:
    """Make a table, (n_rows, n_columns), whose rows are contiguous, from columns of numbers."""
    X = empty(len(columns[0]), len(columns))
    copy_columns(columns, X)
    return X


def copy_columns(columns: Sequence[NDArray[np.generic]], X: Array) -> None:
    """Copy columns of numbers into a table, (n_rows, n_columns)."""
    for left in range(0, len(columns), COLUMNS):
        cells = np.array(columns[left : left + COLUMNS], np.float64)
        for top in range(0, len(X), ROWS):
            X[top : top + ROWS, left : left + COLUMNS] = cells[:, top : top + ROWS].T


def empty(n_rows: int, n_columns: int) -> Array:
    """Make a table that is not filled, without huge pages.

    ``numpy.empty`` asks for huge pages. Where the memory is fragmented, the kernel then moves other
    pages first, which took five times as long as filling the table.
    """
    n_bytes = 8 * n_rows * n_columns
    if n_bytes < LARGE_BYTES:
        return np.empty((n_rows, n_columns))
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _AT_ONCE)
    return np.frombuffer(memory).reshape(n_rows, n_columns)
