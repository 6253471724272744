"""The user's own CSV, Parquet or NPZ file as arrays."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bpexp.config.schema import File
from bpexp.fields.checks import ConfigError, brief, is_printable
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd


def read(config: File) -> tuple[Array, Array, tuple[str, ...], tuple[str, ...], bool]:
    """(X, Y, input names, target names, whether targets are classes).

    Raises ConfigError where the file, a column or a value will not do.
    """
    frame = _frame(config.path)
    missing = [name for name in config.target if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"data.target must name columns of {config.path} "
            f"({', '.join(map(str, frame.columns))}), got {missing[0]!r}."
        )
    inputs = frame.drop(columns=list(config.target))
    if not len(frame) or not len(inputs.columns):
        raise ConfigError(
            f"data.path must hold at least one row and one input column, got {config.path!r}."
        )
    X = np.column_stack([_numbers(inputs[name], config.path) for name in inputs.columns])
    targets = frame[list(config.target)]
    if _are_classes(targets, config.classes):
        Y, names = _one_hot(targets, config)
        return X, Y, tuple(inputs.columns), names, True
    Y = np.column_stack([_numbers(targets[name], config.path) for name in targets.columns])
    two_valued = bool(np.isin(Y, (0.0, 1.0)).all())
    return X, Y, tuple(inputs.columns), config.target, two_valued


def _frame(path: str) -> "pd.DataFrame":
    file = Path(path)
    readers: dict[str, Callable[[BinaryIO], pd.DataFrame]] = {
        ".csv": _csv,
        ".parquet": _parquet,
        ".npz": _npz,
    }
    if file.suffix not in readers:
        raise ConfigError(f"data.path must end in .csv, .parquet or .npz, got {path!r}.")
    if not file.is_file():
        raise ConfigError(f"data.path must be an existing file, got {path!r}.")
    try:
        with file.open("rb") as content:
            frame = readers[file.suffix](content)
    except ConfigError:
        raise
    except Exception as error:
        # Readers raise many kinds of error on a broken file; each means the same here.
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"data.path must be a readable {file.suffix} file, got {path!r}: {said}"
        ) from error
    _check_names([str(name) for name in frame.columns], path)
    frame.columns = frame.columns.map(str)
    return frame


def _check_names(names: Sequence[str], path: str) -> None:
    for name in names:
        if not is_printable(name):
            raise ConfigError(
                f"data.path must have column names without control characters, got {name!r} "
                f"in {path}."
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"data.path must have different columns, got {twice[0]!r} twice.")


def _csv(content: BinaryIO) -> "pd.DataFrame":
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # Else the first values of rows longer than the header would count as their names.
            return pd.read_csv(content, index_col=False)
        except pd.errors.ParserWarning as error:
            raise ConfigError("data.path must have rows no longer than its header.") from error


def _parquet(content: BinaryIO) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow.parquet as pq

    file = pq.ParquetFile(content)
    _check_names(file.schema_arrow.names, content.name)
    _check_size(file.metadata.num_rows * file.metadata.num_columns * 8)
    return pd.read_parquet(content)


def _npz(content: BinaryIO) -> "pd.DataFrame":
    """Each array is a column, or, if two-dimensional, columns name0, name1, ..."""
    import pandas as pd

    with np.load(content, allow_pickle=False) as arrays:
        _check_size(sum(member.file_size for member in arrays.zip.infolist()))
        columns: dict[str, Array] = {}
        for name in arrays.files:
            array = arrays[name]
            if array.ndim == 1:
                columns[name] = array
            elif array.ndim == 2:
                columns |= {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
            else:
                raise ConfigError(
                    f"data.path must hold arrays of one or two dimensions, got {name!r} "
                    f"of shape {array.shape}."
                )
    if len({len(column) for column in columns.values()}) > 1:
        raise ConfigError(f"data.path must hold arrays of equal length, got {content.name!r}.")
    return pd.DataFrame(columns)


def _check_size(needed: int) -> None:
    """A small file may unpack to more than there is memory for."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there // 4:
        raise ConfigError(
            f"data.path must unpack to a quarter of this machine's memory, {there / 4e9:.1f} GB, "
            f"got {needed / 1e9:.1f} GB."
        )


def _numbers(column: "pd.Series", path: str) -> Array:
    try:
        # Dates and complex numbers would be made into something that was not meant.
        if column.dtype.kind in "mMcV":
            raise TypeError(column.dtype)
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"data.path must hold numbers in column {column.name!r}, got {brief(column.iloc[0])} "
            f"in {path}."
        ) from error
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ConfigError(
            f"data.path must hold finite numbers, got {values[bad[0]]} in column "
            f"{column.name!r}, row {bad[0] + 1} of {path}."
        )
    return values


MOST = 4096
"""Classes of a column: each is an output of its own."""


def _are_classes(targets: "pd.DataFrame", asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return len(targets.columns) == 1 and targets.iloc[:, 0].dtype.kind not in "if"


def _one_hot(targets: "pd.DataFrame", config: File) -> tuple[Array, tuple[str, ...]]:
    if len(targets.columns) != 1:
        raise ConfigError(
            f"data.target must be one column where it holds classes, got {list(config.target)}."
        )
    column = targets.iloc[:, 0]
    if column.isna().any():
        row = int(np.flatnonzero(column.isna())[0]) + 1
        raise ConfigError(f"data.target must hold a class in every row, got none in row {row}.")
    labels = _labels(column)
    Y = np.column_stack([(column == label).to_numpy(np.float64) for label in labels])
    names = tuple(f"{config.target[0]}={label}" for label in labels)
    _check_names(names, config.path)
    return Y, names


def _labels(column: "pd.Series") -> list[Any]:
    try:
        found = column.unique().tolist()
        if len(found) > MOST:
            raise ConfigError(f"data.target must hold at most {MOST} classes, got {len(found)}.")
        return sorted(found)
    except TypeError as error:
        raise ConfigError(
            "data.target must hold labels of one kind, numbers or texts, got "
            f"{brief(column.iloc[0])}."
        ) from error
