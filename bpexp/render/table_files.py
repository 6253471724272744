"""A table by its columns, as files: without pandas, which takes longer to import than to use."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Cell = str | float | None
Columns = Mapping[str, Sequence[Cell]]
"""Texts, truths or numbers by a column's name, as many in each; None where there is none."""


def as_csv(columns: Columns) -> bytes:
    """The table with a header; what is None or NaN is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    shown = [["" if v != v else v for v in values] for values in columns.values()]
    writer.writerows(zip(*shown, strict=True))
    return text.getvalue().encode()


def as_parquet(columns: Columns) -> bytes:
    """The table as pandas would write it: None and NaN are nulls, a column without values has
    no type, whole numbers beside fractions or nulls are floats.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    arrays = [_array(values) for values in columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), file)
    return file.getvalue()


def _array(values: Sequence[Cell]) -> "pa.Array":
    """Arrow's column of the values, from buffers: from a list pyarrow would import pandas."""
    import pyarrow as pa

    given = [value for value in values if value is not None]
    if not given:
        return pa.nulls(len(values))
    known = np.array([value is not None for value in values])
    if all(isinstance(value, str) for value in given):
        texts = [str(value or "").encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return _from(pa.large_string(), known, ends, np.frombuffer(b"".join(texts), np.uint8))
    if all(isinstance(value, bool) for value in given):
        return _from(pa.bool_(), known, _bits(np.array([bool(value) for value in values])))
    if all(isinstance(value, int) for value in values):
        return _from(pa.int64(), known, np.array(values, np.int64))
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    return _from(pa.float64(), ~np.isnan(numbers), numbers)


def _from(kind: "pa.DataType", known: NDArray[np.bool_], *parts: NDArray[Any]) -> "pa.Array":
    import pyarrow as pa

    buffers = [pa.py_buffer(part) for part in (_bits(known), *parts)]
    return pa.Array.from_buffers(kind, len(known), buffers)


def _bits(truths: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(truths, bitorder="little")
