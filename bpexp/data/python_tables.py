"""Tables that are passed from Python instead of being read from a file.

While a table is in use, it has a path that ``data=file`` accepts:

>>> import pandas as pd
>>> with in_use(pd.DataFrame({"x": [1.0]})) as path:
...     found = table(path)
>>> len(found), table(path) is None
(1, True)
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bpexp.fields.checks import ConfigError

_tables: dict[str, pd.DataFrame] = {}
_users: Counter[str] = Counter()
_lock = threading.Lock()


def table(path: str) -> pd.DataFrame | None:
    """The table with this path; None if it is not in use."""
    return _tables.get(path)


@contextmanager
def in_use(frame: pd.DataFrame) -> Iterator[str]:
    """Make a table available under a path, which depends only on its content."""
    path = f"<data {digest(frame)[:12]}>"
    with _lock:
        _tables[path] = frame
        _users[path] += 1
    try:
        yield path
    finally:
        with _lock:
            _users[path] -= 1
            if not _users[path]:
                del _tables[path], _users[path]


def digest(frame: pd.DataFrame) -> str:
    """The SHA-256 of the names, types and cells of a table, in hexadecimal."""
    sha = hashlib.sha256()
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        sha.update(repr((str(name), str(column.dtype), len(column))).encode())
        values = column.to_numpy()
        # The bytes of an array of objects are addresses.
        is_plain = values.dtype.kind in "biufM"
        sha.update(values.tobytes() if is_plain else repr(values.tolist()).encode())
    return sha.hexdigest()


def joined(X: Any, y: Any, target: Any = None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Make a table of inputs and targets.

    Args:
        X: Inputs: a table of pandas, or an array (n_rows, n_features), whose columns are named
            x1, x2, ... With ``y=None`` a table that has the targets, too.
        y: Targets, (n_rows,) or (n_rows, n_outputs): an array, a list, or a column of pandas.
        target: With ``y=None``, the name of the target column, or a list of names.

    Returns:
        The table, and the names of the targets.

    Raises:
        ConfigError: X and y do not have the same number of rows, or are no tables.
    """
    frame = _frame(X, "X", "x")
    repeated = [name for name, count in Counter(frame.columns).items() if count > 1]
    if repeated:
        raise ConfigError(f"X must have columns of different names, got {repeated[0]!r} twice.")
    if y is None:
        if target is None:
            raise ConfigError("target must name the column to predict, or y must be given.")
        names = target if isinstance(target, list | tuple) else [target]
        return frame, tuple(map(str, names))
    if target is not None:
        raise ConfigError("target must be left out if y is given.")
    targets = _frame(y, "y", "target" if "y" in frame.columns else "y")
    if len(frame) != len(targets):
        raise ConfigError(
            f"X and y must have the same number of rows, got {len(frame)} and {len(targets)}."
        )
    both = [*frame.columns, *targets.columns]
    if len(set(both)) < len(both):
        twice = next(name for name in both if both.count(name) > 1)
        raise ConfigError(f"X and y must have columns of different names, got {twice!r} twice.")
    parts = [frame.reset_index(drop=True), targets.reset_index(drop=True)]
    return pd.concat(parts, axis=1), tuple(targets.columns)


def _frame(values: Any, name: str, column: str) -> pd.DataFrame:
    """Values as a table; columns without names are named after ``column``."""
    if isinstance(values, pd.DataFrame):
        return values.set_axis([str(key) for key in values.columns], axis=1)
    if isinstance(values, pd.Series):
        return values.to_frame(column if values.name is None else str(values.name))
    array = as_array(values, name)
    if array.ndim == 0:
        kind = type(values).__name__
        file = "; for a file use data='file' with data__path and data__target"
        hint = file if isinstance(values, str | PathLike) else ""
        raise ConfigError(
            f"{name} must be a table of pandas, an array or a list, got {kind}{hint}."
        )
    if array.ndim == 1 and name == "y":
        return pd.DataFrame({column: array})
    if array.ndim != 2:
        raise ConfigError(f"{name} must have two dimensions, got an array of shape {array.shape}.")
    if not array.shape[1]:
        raise ConfigError(f"{name} must have at least one column, got none.")
    return pd.DataFrame({f"{column}{i + 1}": array[:, i] for i in range(array.shape[1])})


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Values as an array, in which masked numbers are missing.

    Raises:
        ConfigError: The rows have different lengths.
    """
    if isinstance(values, np.ma.MaskedArray):
        masked: Any = values.astype(np.float64 if values.dtype.kind in "iuf" else object)
        filled: NDArray[Any] = masked.filled(np.nan)
        return filled
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"{name} must have rows of equal length.") from error
