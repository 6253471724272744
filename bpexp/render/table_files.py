"""Writes a table, given by its columns, as a CSV or a Parquet file.

The files equal those of pandas, which is not imported because that takes longer than writing them.

>>> as_csv({"lr": [0.1, 1.0], "outcome": ["completed", None]})
b'lr,outcome\\n0.1,completed\\n1.0,\\n'
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Cell = str | float | None
"""A text, a number or a truth value; None if it is missing."""
Columns = Mapping[str, Sequence[Cell]]
"""The cells of each column, by the column's name; all columns have the same length."""


def as_csv(columns: Columns) -> bytes:
    """Write a table as CSV with a header.

    Args:
        columns: The table. None and NaN become empty cells.

    Returns:
        The content of the file, in UTF-8.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    cells = [["" if value != value else value for value in column] for column in columns.values()]
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue().encode()


def as_parquet(columns: Columns) -> bytes:
    """Write a table as Parquet, with the column types that pandas would choose.

    Args:
        columns: The table. None and NaN become nulls. A column of nulls has the type null, and a
            column in which integers stand beside fractions or nulls has the type float64.

    Returns:
        The content of the file.
    """
    file = io.BytesIO()
    arrays = [_arrow_array(column) for column in columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), file)
    return file.getvalue()


def _arrow_array(column: Sequence[Cell]) -> pa.Array:
    """Convert a column to an Arrow array.

    The array is built from buffers, because ``pyarrow.array`` imports pandas to convert a list.
    """
    present = [value for value in column if value is not None]
    if not present:
        return pa.nulls(len(column))
    is_valid = np.array([value is not None for value in column])
    if all(isinstance(value, str) for value in present):
        texts = [str(value or "").encode() for value in column]
        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        characters = np.frombuffer(b"".join(texts), np.uint8)
        return _from_buffers(pa.large_string(), is_valid, offsets, characters)
    if all(isinstance(value, bool) for value in present):
        bits = _packed_bits(np.array([bool(value) for value in column]))
        return _from_buffers(pa.bool_(), is_valid, bits)
    if all(isinstance(value, int) for value in column):
        return _from_buffers(pa.int64(), is_valid, np.array(column, np.int64))
    numbers = np.array([np.nan if value is None else value for value in column], np.float64)
    return _from_buffers(pa.float64(), ~np.isnan(numbers), numbers)


def _from_buffers(
    data_type: pa.DataType, is_valid: NDArray[np.bool_], *buffers: NDArray[Any]
) -> pa.Array:
    """An Arrow array with a validity bitmap and the buffers that its data type needs."""
    arrow_buffers = [pa.py_buffer(buffer) for buffer in (_packed_bits(is_valid), *buffers)]
    return pa.Array.from_buffers(data_type, len(is_valid), arrow_buffers)


def _packed_bits(values: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Eight truth values per byte, the first in the lowest bit, as Arrow stores them."""
    return np.packbits(values, bitorder="little")
