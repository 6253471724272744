"""Columns of a user's table as numbers, and one message about all cells that are none.

>>> import pandas as pd
>>> found = numbers(pd.Series(["1.5", "2", "?"], name="a"))
>>> found.n_wrong, found.first_row, found.first_cell
(1, 3, "'?'")
"""

import numbers as abstract
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.fields.checks import ConfigError, brief
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
_LETTER = re.compile(r"[^\W\d_]")
MAX_LISTED = 10
"""Columns with problems that a message describes one by one."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column as numbers.

    Attributes:
        values: float64, (n_rows,); not finite where a cell is no finite number.
        n_wrong: The number of cells that are no finite numbers.
        first_row: The row of the first of them, counted from 1; 0 without any.
        first_cell: Its value as a message shows it.
        is_text: Whether it is something other than a number that is missing or infinite.
    """

    values: Array
    n_wrong: int = 0
    first_row: int = 0
    first_cell: str = ""
    is_text: bool = False


def is_numeric(column: "pd.Series") -> bool:
    """Whether the type of a column, or of all its cells, is a number. Booleans are none."""
    if column.dtype.kind in "iuf":
        return True
    if column.dtype.kind != "O" or _is_categorical(column):
        return False
    cells = column[column.notna()]
    return len(cells) > 0 and all(_is_number(cell) for cell in cells)


def numbers(column: "pd.Series") -> Column:
    """Convert a column to numbers. Texts are numbers only if all of the text is a number."""
    if column.dtype.kind in "biuf":
        values = column.to_numpy(np.float64, na_value=np.nan)
        return _checked(column, values)
    if column.dtype.kind != "O":
        # Dates and complex numbers, which NumPy would convert to meaningless numbers.
        cell = brief(column.iloc[0])
        return Column(np.full(len(column), np.nan), len(column), 1, cell, is_text=True)
    return _checked(column, np.array([_value(cell) for cell in column], dtype=np.float64))


def _checked(column: "pd.Series", values: Array) -> Column:
    wrong = np.flatnonzero(~np.isfinite(values))
    if not wrong.size:
        return Column(values)
    missing = column.isna().to_numpy(bool)
    texts = [row for row in wrong if not missing[row] and not _is_number(column.iloc[row])]
    first = int(texts[0] if texts else wrong[0])
    cell = brief(column.iloc[first]) if texts else str(values[first])
    return Column(values, len(wrong), first + 1, cell, is_text=bool(texts))


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell) is not None
    return isinstance(cell, Decimal | abstract.Real)


def _value(cell: Any) -> float:
    try:
        return float(cell) if _is_number(cell) else np.nan
    except OverflowError:
        return np.inf


def _is_categorical(column: "pd.Series") -> bool:
    return hasattr(column, "cat")


def first_number_and_text(column: "pd.Series") -> str | None:
    """The first text in a column that also looks like one of numbers, or None for labels.

    A text looks like a number if it has digits and no letters, as ``1,250`` has.
    """
    if column.dtype.kind != "O" or _is_categorical(column):
        return None
    numeric, others = 0, []
    for row, cell in enumerate(column, start=1):
        if _is_number(cell):
            numeric += 1
        elif isinstance(cell, str):
            others.append((row, cell))
            if any(letter.isdigit() for letter in cell) and not _LETTER.search(cell):
                numeric += 1
    if not numeric or not others:
        return None
    row, cell = others[0]
    return f"{cell!r} in row {row} ({len(others)} of {len(column)} cells are no numbers)"


def check(columns: Mapping[str, Column], path: str) -> None:
    """Check that all cells are finite numbers.

    Raises:
        ConfigError: Some are not; the message describes all columns with such cells.
    """
    wrong = {name: column for name, column in columns.items() if column.n_wrong}
    if not wrong:
        return
    (name, first), *others = sorted(wrong.items(), key=lambda item: not item[1].is_text)
    if first.is_text:
        message = (
            f"data.path must hold numbers in column {name!r}, got {first.first_cell} in row "
            f"{first.first_row} of {path}"
        )
    else:
        message = (
            f"data.path must hold finite numbers, got {first.first_cell} in column {name!r}, "
            f"row {first.first_row} of {path}"
        )
    if first.n_wrong > 1:
        message += f", and {first.n_wrong - 1} more in the column"
    if others:
        listed = [
            f"{column.n_wrong} in {name!r} (first {column.first_cell} in row {column.first_row})"
            for name, column in others[:MAX_LISTED]
        ]
        more = len(others) - len(listed)
        listed += [f"others in {more} more columns"] if more else []
        message += f"; also {', '.join(listed)}"
    if first.is_text or others or first.n_wrong > 1:
        message += "; correct the cells, or leave columns out with data.drop"
    raise ConfigError(f"{message}.")
