"""Large texts of nothing but numbers, which pyarrow reads on several processors.

Whatever pyarrow and pandas might read in different ways is left to pandas: quotes, texts, rows of
different lengths, integers such as +1.
"""

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from bpexp.data import tiles
from bpexp.typing import Array

SEPARATORS = (",", ";", "\t", "|")
"""The separators of texts that are read here."""
PART_BYTES = 8 * 2**20
"""Bytes of text that a thread reads at once."""
SAMPLE_BYTES = 2**20
"""Bytes of text by which the types of the columns are guessed."""
MAX_THREADS = 4
"""More would not be faster, because one thread collects what they read."""
_ODD_INTEGER = re.compile(rb"-0+(?![0-9.eE])|(?<![eE])\+")
"""-0, which is -0.0 only among decimals, and +1, which is no integer for pyarrow."""

_Columns = Sequence[NDArray[np.generic]]
_Types = Mapping[str, pa.DataType]


class NotPlainError(Exception):
    """pandas might read other values than pyarrow, or refuse the text."""


class Numbers(NamedTuple):
    """The numbers of a text.

    Attributes:
        X: (n_rows, n_columns); NaN where a cell is empty.
        is_whole: Whether all cells of a column are integers from -2**63 to 2**63 - 1, without a
            decimal mark or an exponent, (n_columns,).
    """

    X: Array
    is_whole: NDArray[np.bool_]


@dataclass(frozen=True)
class PlainText:
    """The form of a text of numbers.

    Attributes:
        separator: What stands between cells, one of ``SEPARATORS``.
        decimal: The decimal mark, another character.
        n_columns: The number of cells in each row.
    """

    separator: str
    decimal: str
    n_columns: int

    def read(self, content: BinaryIO) -> Numbers:
        """Read rows of numbers. They are, to the bit, those that pandas reads.

        Args:
            content: The text, set to the beginning of the first row.

        Raises:
            NotPlainError: The text is not plain.
        """
        start = content.tell()
        sample = self._table(content.read(SAMPLE_BYTES) + content.readline())
        types = {field.name: field.type for field in sample.schema}
        content.seek(start)
        X = tiles.empty(_count_lines(content), self.n_columns)
        content.seek(start)
        is_whole = np.ones(self.n_columns, np.bool_)
        n_rows = 0
        for columns in self._parts(content, types):
            top, n_rows = n_rows, n_rows + len(columns[0])
            tiles.copy_columns(columns, X[top:n_rows])
            is_whole &= [column.dtype.kind == "i" for column in columns]
        return Numbers(X[:n_rows], is_whole)

    def _parts(self, content: BinaryIO, types: _Types) -> Iterator[_Columns]:
        """Yield the columns of some rows after others, while threads read those that follow."""
        n_threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
        reading: deque[Future[_Columns]] = deque()
        with ThreadPoolExecutor(n_threads) as threads:
            while part := content.read(PART_BYTES):
                part += content.readline()
                reading.append(threads.submit(self._columns, part, types))
                if len(reading) > n_threads:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()

    def _columns(self, part: bytes, types: _Types) -> _Columns:
        try:
            table = self._table(part, types)
        except NotPlainError:
            # A column of integers may have decimals here.
            table = self._table(part)
        return [column.to_numpy() for column in table.columns]

    def _table(self, part: bytes, types: _Types | None = None) -> pa.Table:
        """Some rows as columns of float64 and int64."""
        known = f"0123456789+-eE\r\n{self.separator}{self.decimal}".encode()
        if (
            part.translate(None, known)
            or part.count(b"\r") != part.count(b"\r\n")
            or ((b"-0" in part or b"+" in part) and _ODD_INTEGER.search(part))
        ):
            raise NotPlainError
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(part),
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=len(part) + 1,
                    column_names=[str(place) for place in range(self.n_columns)],
                ),
                pa_csv.ParseOptions(delimiter=self.separator),
                pa_csv.ConvertOptions(column_types=types, decimal_point=self.decimal),
            )
        except pa.ArrowInvalid as error:
            raise NotPlainError from error
        if not {*table.schema.types} <= {pa.float64(), pa.int64()}:
            raise NotPlainError
        return table


def _count_lines(content: BinaryIO) -> int:
    n_lines = 1
    while some := content.read(SAMPLE_BYTES):
        n_lines += some.count(b"\n")
    return n_lines
