"""Columns of a user's table as numbers, and one message about all cells that are none.

>>> import pandas as pd
>>> column = to_numbers(pd.Series(["1.5", "2", "?"], name="a"))
>>> column.n_wrong, column.first_row, column.first_cell
(1, 2, "'?'")
"""

import numbers
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpexp.data.tiles import from_columns
from bpexp.fields.checks import ConfigError, brief, is_printable
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = {
    mark: re.compile(rf"\s*[+-]?([0-9]+{dot}?[0-9]*|{dot}[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
    for mark, dot in ((".", r"\."), (",", ","))
}
"""What a number looks like, by the decimal mark."""
_QUANTITY = re.compile(r"\s*[+-]?[0-9][0-9.,]*\s*([^\W\d_].*)")
_LETTER = re.compile(r"[^\W\d_]")
_DECIMAL_COMMA = re.compile(r"'\s*[+-]?[0-9]*,[0-9]+\s*'")
_THOUSANDS = re.compile(r"['\"]\s*[+-]?[0-9]{1,3}([.,'’\s][0-9]{3})+([.,][0-9]+)?\s*['\"]")
_N = r"\s*[+-]?([0-9]+\.?[0-9]*|inf)\s*"
_RANGE = re.compile(rf"\s*[<>≤≥]=?{_N}|{_N}\+\s*|{_N}(-|–|\.\.){_N}|\s*[(\[]{_N},{_N}[)\]]\s*")
MAX_LISTED = 10
"""Columns with problems that a message describes one by one."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Column:
    """A column as numbers.

    Attributes:
        values: float64, (n_rows,); not finite where a cell is no finite number. The position of
            the label in a column of labels.
        missing: Whether a cell is missing, (n_rows,).
        labels: The labels of a column of labels, None for numbers.
        n_wrong: The number of cells that are neither finite numbers nor missing.
        first_row: The position of the first of them, counted from 0.
        first_cell: Its value as a message shows it.
        has_text_cell: Whether a wrong cell is something other than a number that is infinite.
        is_text_column: Whether the column holds only texts that do not look like numbers.
        marker: A text that stands for missing cells, as it seems; "" if none does.
    """

    values: Array
    missing: Mask = field(default_factory=lambda: np.zeros(0, bool))
    labels: tuple[Any, ...] | None = None
    n_wrong: int = 0
    first_row: int = 0
    first_cell: str = ""
    has_text_cell: bool = False
    is_text_column: bool = False
    marker: str = ""

    @property
    def n_missing(self) -> int:
        """The number of missing cells."""
        return int(self.missing.sum())


def is_numeric(column: "pd.Series", decimal: str = ".") -> bool:
    """Whether the type of a column, or of all its cells, is a number. Booleans are none.

    Args:
        column: The column.
        decimal: The decimal mark of texts.
    """
    if column.dtype.kind in "iuf":
        return True
    if column.dtype.kind != "O" or _is_categorical(column):
        return False
    cells = column[column.notna()]
    return len(cells) > 0 and all(_is_number(c, decimal) and not _is_boolean(c) for c in cells)


def is_label(column: "pd.Series") -> bool:
    """Whether all cells are texts or booleans, or a column of Parquet is declared as categories."""
    if column.dtype.kind == "b" or _is_categorical(column):
        return True
    cells = column[column.notna()]
    return column.dtype.kind == "O" and all(isinstance(c, str) or _is_boolean(c) for c in cells)


def counts_rows(column: "pd.Series") -> bool:
    """Whether a column counts the rows: whole numbers from 0 or 1, at least three of them.

    >>> import pandas as pd
    >>> counts_rows(pd.Series([1, 2, 3])), counts_rows(pd.Series([1, 3, 2]))
    (True, False)
    """
    if column.dtype.kind not in "iu" or len(column) < 3 or column.isna().any():
        return False
    values = column.to_numpy(np.float64)
    return values[0] in (0.0, 1.0) and bool((np.diff(values) == 1.0).all())


def plain_numbers(frame: "pd.DataFrame", names: Sequence[str]) -> Array | None:
    """Columns as one array, (n_rows, n_columns), if all of their cells are finite numbers.

    This is what ``to_numbers`` gives for each of them, many times faster; None for other columns.
    """
    for dtype in frame.dtypes[list(names)].unique():
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
            return None
    everything = list(frame.columns)
    first = everything.index(names[0])
    place = slice(first, first + len(names))
    # A slice of columns needs no copy.
    chosen = frame.iloc[:, place] if everything[place] == list(names) else frame[list(names)]
    values = _by_rows(chosen)
    # NaN is the smallest and the largest number of an array that has one.
    return values if np.isfinite([values.min(), values.max()]).all() else None


def _by_rows(frame: "pd.DataFrame") -> Array:
    """Columns of numbers as one array, each of whose rows is contiguous."""
    first = frame.iloc[:, 0].to_numpy()
    if first.strides != (first.itemsize,):
        # The table was made of an array, whose rows may be contiguous already.
        values = frame.to_numpy(np.float64)
        return values if values.strides[1] == values.itemsize else np.ascontiguousarray(values)
    return from_columns([column.to_numpy() for _, column in frame.items()])


def to_numbers(column: "pd.Series", decimal: str = ".") -> Column:
    """Convert a column to numbers. Texts are numbers only if all of the text is a number.

    Args:
        column: The column.
        decimal: The decimal mark of texts; with a comma, ``1.250`` is no number.
    """
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return _checked(column, column.to_numpy().astype(np.float64), decimal)
    if column.dtype.kind in "biuf":
        return _checked(column, column.to_numpy(np.float64, na_value=np.nan), decimal)
    missing = column.isna().to_numpy(bool)
    if column.dtype.kind != "O":
        # Dates and complex numbers, which NumPy would convert to meaningless numbers.
        present = np.flatnonzero(~missing)
        first = int(present[0]) if present.size else 0
        cell = brief(column.iloc[first]) if len(column) else ""
        values = np.full(len(column), np.nan)
        return Column(
            values,
            missing,
            n_wrong=len(present),
            first_row=first,
            first_cell=cell,
            has_text_cell=True,
        )
    values = np.array([_value(cell, decimal) for cell in column], dtype=np.float64)
    return _checked(column, values, decimal)


def to_label_codes(column: "pd.Series", limit: int, key: str) -> Column:
    """Convert a column of labels to their positions among the sorted labels.

    Args:
        column: The column.
        limit: The largest number of labels.
        key: The setting that makes it a column of labels, for messages.

    Raises:
        ConfigError: There are more labels, labels of several kinds, labels that look the same, or
            labels with control characters.
    """
    missing = column.isna().to_numpy(bool)
    known = column[~missing]
    try:
        labels = sorted(known.unique().tolist())
    except TypeError as error:
        raise ConfigError(
            f"{key} must hold labels of one kind, numbers or texts, got {brief(known.iloc[0])} in "
            f"column {str(column.name)!r}."
        ) from error
    if len(labels) > limit:
        raise ConfigError(
            f"{key} must hold at most {limit} classes, got {len(labels)} in column "
            f"{str(column.name)!r}."
        )
    for label in labels:
        if not is_printable(str(label)):
            raise ConfigError(
                f"{key} must hold labels without control characters, got {label!r} in column "
                f"{str(column.name)!r}; correct the cells."
            )
    _check_that_labels_look_different(labels, f"{key} must hold labels that look different", column)
    position = {label: float(place) for place, label in enumerate(labels)}
    values = np.full(len(column), np.nan)
    values[~missing] = [position[label] for label in known.tolist()]
    return Column(values, missing, tuple(labels))


def _check_that_labels_look_different(
    labels: Sequence[Any], rule: str, column: "pd.Series"
) -> None:
    """Raise ConfigError for texts that differ in spaces, or in how an accent is encoded, alone."""
    seen: dict[str, str] = {}
    for label in labels:
        if isinstance(label, str):
            looks = " ".join(unicodedata.normalize("NFC", label).split())
            other = seen.setdefault(looks, label)
            if other != label:
                raise ConfigError(
                    f"{rule}, got {other!a} and {label!a} in column "
                    f"{str(column.name)!r}; correct the cells."
                )


def is_text_column(column: "pd.Series") -> bool:
    """Whether a column holds texts, none of which looks like a number, and nothing else.

    A range of numbers, such as ``30-39`` or ``<=50``, is no number.
    """
    if column.dtype.kind != "O":
        return False
    cells = column[column.notna()]
    if not len(cells) or not all(isinstance(cell, str) for cell in cells):
        return False
    return _is_categorical(column) or not any(
        _is_number(text, ".") or (_looks_like_number(text) and not _RANGE.fullmatch(text))
        for text in cells.unique()
    )


def _checked(column: "pd.Series", values: Array, decimal: str) -> Column:
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return Column(values, wrong)
    missing = column.isna().to_numpy(bool)
    rows = np.flatnonzero(wrong & ~missing)
    if not rows.size:
        return Column(values, missing)
    texts = [row for row in rows.tolist() if not _is_number(column.iloc[row], decimal)]
    first = texts[0] if texts else int(rows[0])
    cell = brief(column.iloc[first]) if texts else str(values[first])
    words = {str(column.iloc[row]).strip() for row in texts}
    (word, *others) = words or {""}
    return Column(
        values,
        missing,
        n_wrong=len(rows),
        first_row=first,
        first_cell=cell,
        has_text_cell=bool(texts),
        is_text_column=is_text_column(column),
        marker="" if others or not _can_be_marker(word) else word,
    )


def _can_be_marker(word: str) -> bool:
    """Whether a text may stand for missing cells: it is no value and no comment."""
    has_digit = any(letter.isdigit() for letter in word)
    return not has_digit and word.lower() not in ("true", "false") and not word.startswith("#")


def _is_number(cell: Any, decimal: str) -> bool:
    if isinstance(cell, str):
        return _NUMBERS[decimal].fullmatch(cell) is not None
    return isinstance(cell, Decimal | numbers.Real)


def _is_boolean(cell: Any) -> bool:
    return isinstance(cell, bool | np.bool_)


def _looks_like_number(text: str) -> bool:
    """Whether a text has digits and no letters, as ``1,250`` has."""
    return any(letter.isdigit() for letter in text) and not _LETTER.search(text)


def _have_one_unit(texts: set[str]) -> bool:
    """Whether texts are different numbers followed by the same letters."""
    matches = [_QUANTITY.fullmatch(text) for text in texts]
    units = {match[1] for match in matches if match}
    return len(texts) > 1 and all(matches) and len(units) == 1


def _value(cell: Any, decimal: str) -> float:
    if not (_is_number(cell, decimal) or _is_boolean(cell)):
        return np.nan
    try:
        return float(cell.replace(decimal, ".") if isinstance(cell, str) else cell)
    except OverflowError:
        return np.inf


def _is_categorical(column: "pd.Series") -> bool:
    return hasattr(column, "cat")


def first_number_and_text(column: "pd.Series", decimal: str = ".") -> str | None:
    """The first text in a column that also has cells that look like numbers; None for labels.

    A column of numbers with the same unit behind all of them, as ``12 kg``, looks like numbers.

    Args:
        column: The column.
        decimal: The decimal mark of texts.
    """
    if column.dtype.kind != "O" or _is_categorical(column):
        return None
    cells = column[column.notna()].tolist()
    # A column of labels has few different ones.
    texts = Counter(cell for cell in cells if isinstance(cell, str))
    others = {text: count for text, count in texts.items() if not _is_number(text, decimal)}
    has_numbers = (
        len(others) < len(texts)
        or any(_is_number(cell, decimal) for cell in cells if not isinstance(cell, str))
        or any(_looks_like_number(text) for text in others)
        or _have_one_unit(set(others))
    )
    if not has_numbers or not others:
        return None
    first, count = next(iter(others)), sum(others.values())
    # A comparison with pandas.NA is an error.
    row = next(row for row, cell in enumerate(column, 1) if isinstance(cell, str) and cell == first)
    return f"{first!r} in row {row} ({count} of {len(column)} cells are no numbers)"


def text_hints(columns: Sequence[Column]) -> list[str]:
    """What to type, or to do, against texts in columns of numbers, by their first such cells.

    >>> import pandas as pd
    >>> text_hints([to_numbers(pd.Series(["1.5", "2", "1,250,000"]))])
    ['if thousands are separated, write the numbers without separators']
    """
    hints = []
    markers = sorted({column.marker for column in columns if not column.is_text_column})
    named = ", ".join(f'"{marker}"' for marker in markers if marker)
    if named:
        hints.append(f"if they stand for missing values, add 'data.missing_values=[{named}]'")
    if any(_DECIMAL_COMMA.fullmatch(column.first_cell) for column in columns):
        hints.append("""if the comma is the decimal mark, add 'data.decimal=","'""")
    if any(_THOUSANDS.fullmatch(column.first_cell) for column in columns):
        hints.append("if thousands are separated, write the numbers without separators")
    return hints


@dataclass(frozen=True)
class Origin:
    """The files that the rows of a table come from.

    Attributes:
        paths: The files.
        counts: The number of rows of each.
    """

    paths: Sequence[str]
    counts: Sequence[int]

    @property
    def row_numbers(self) -> NDArray[np.int64]:
        """The number of each row in its file, counted from 1."""
        return np.concatenate([np.arange(1, count + 1) for count in self.counts])

    def place(self, row: int) -> str:
        """A row, counted from 0, as a message shows it.

        >>> Origin(("a.csv", "b.csv"), (3, 2)).place(4)
        'row 2 of b.csv'
        """
        for path, count in zip(self.paths, self.counts, strict=True):
            if row < count:
                return f"row {row + 1} of {path}"
            row -= count
        raise IndexError(row)


def check_cells(
    columns: Mapping[str, Column],
    origin: Origin,
    *,
    required: Sequence[str] = (),
    missing: str = "refuse",
) -> None:
    """Check that all cells are finite numbers, and that no cell is missing that must be there.

    Args:
        columns: The columns by name.
        origin: Where their rows come from.
        required: Names of columns in which ``data.missing=median`` cannot fill a cell.
        missing: The value of ``data.missing``.

    Raises:
        ConfigError: Some are not; the message describes all columns with such cells.
    """
    problems = []
    for name, column in columns.items():
        if column.n_wrong:
            cell = column.first_cell
            problems.append(_Problem(name, column.n_wrong, column.first_row, cell, column))
        is_required = missing == "refuse" or (missing == "median" and name in required)
        if column.n_missing and is_required:
            row = int(np.flatnonzero(column.missing)[0])
            problems.append(_Problem(name, column.n_missing, row, "nan", column, is_missing=True))
    if not problems:
        return
    first, *others = sorted(problems, key=lambda problem: not problem.has_text_cell)
    name, place = first.name, origin.place(first.row)
    if first.column.labels is not None:
        message = f"data.path must hold labels in column {name!r}, got none in {place}"
    elif first.has_text_cell:
        message = f"data.path must hold numbers in column {name!r}, got {first.cell} in {place}"
    else:
        message = (
            f"data.path must hold finite numbers, got {first.cell} in column {name!r}, {place}"
        )
    if first.count > 1:
        message += f", and {first.count - 1} more in the column"
    if others:
        listed = [
            f"{p.count} in {p.name!r} (first {p.cell} in row {p.row + 1})"
            for p in others[:MAX_LISTED]
        ]
        more = len(others) - len(listed)
        listed += [f"others in {more} more columns"] if more else []
        message += f"; also {', '.join(listed)}"
    raise ConfigError(f"{message}; {_hint(problems, required)}.")


@dataclass(frozen=True)
class _Problem:
    name: str
    count: int
    row: int
    cell: str
    column: Column
    is_missing: bool = False

    @property
    def has_text_cell(self) -> bool:
        return not self.is_missing and self.column.has_text_cell


def _hint(problems: Sequence[_Problem], required: Sequence[str]) -> str:
    """The settings that would help against problems."""
    hints = text_hints([p.column for p in problems if p.has_text_cell])
    if any(p.is_missing for p in problems):
        can_fill = not any(p.is_missing and p.name in required for p in problems)
        hints.append(f"add data.missing=drop{' or data.missing=median' if can_fill else ''}")
    if any(
        p.has_text_cell and p.column.is_text_column and p.name not in required for p in problems
    ):
        hints.append("add data.categorical=onehot for columns of texts")
    return "; ".join([*hints, "correct the cells, or leave columns out with data.drop"])
