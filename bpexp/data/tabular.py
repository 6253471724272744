"""A user's table, read from a CSV, Parquet or NPZ file."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table
from bpexp.fields import REQUIRED, setting
from bpexp.fields.checks import Boolean, ConfigError, Names, Optional, Text, brief, is_printable
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 4096
"""Upper limit of the classes of a target column; each class is an output."""


@dataclass(frozen=True, kw_only=True)
class FileConfig(DataConfig):
    """Settings of ``file``; columns that are not targets are inputs."""

    path: str = setting(Text(), REQUIRED, "a .csv, .parquet or .npz file")
    target: tuple[str, ...] = setting(Names(), REQUIRED, "target column, or a list of columns")
    classes: bool | None = setting(
        Optional(Boolean()), None, "true: targets are class labels; null: true for texts"
    )


def load(config: FileConfig) -> Table:
    """Read the table.

    Raises:
        ConfigError: The file, a column or a value cannot be used.
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
        return Table(X, Y, tuple(inputs.columns), names, is_classification=True, is_one_hot=True)
    Y = np.column_stack([_numbers(targets[name], config.path) for name in targets.columns])
    return Table(X, Y, tuple(inputs.columns), config.target, _are_binary(Y))


DATA_SOURCES.register(DataSource("file", FileConfig, load))


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
        # The libraries raise many types of errors for a broken file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"data.path must be a readable {file.suffix} file, got {path!r}: {reason}"
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
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise ConfigError(f"data.path must have different columns, got {duplicates[0]!r} twice.")


def _csv(content: BinaryIO) -> "pd.DataFrame":
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # Without index_col=False pandas would use the first values of rows that are longer
            # than the header as row names.
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
    """A one-dimensional array is a column, a two-dimensional one columns name0, name1, ..."""
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


def _check_size(n_bytes: int) -> None:
    """Refuse a compressed file that would fill the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > memory // 4:
        raise ConfigError(
            "data.path must unpack to at most a quarter of this machine's memory, "
            f"{memory / 4e9:.1f} GB, got {n_bytes / 1e9:.1f} GB."
        )


def _numbers(column: "pd.Series", path: str) -> Array:
    try:
        # NumPy would convert dates and complex numbers to meaningless floats.
        if column.dtype.kind in "mMcV":
            raise TypeError(column.dtype)
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"data.path must hold numbers in column {column.name!r}, got {brief(column.iloc[0])} "
            f"in {path}."
        ) from error
    not_finite = np.flatnonzero(~np.isfinite(values))
    if not_finite.size:
        raise ConfigError(
            f"data.path must hold finite numbers, got {values[not_finite[0]]} in column "
            f"{column.name!r}, row {not_finite[0] + 1} of {path}."
        )
    return values


def _are_classes(targets: "pd.DataFrame", classes: bool | None) -> bool:
    if classes is not None:
        return classes
    return len(targets.columns) == 1 and targets.iloc[:, 0].dtype.kind not in "if"


def _are_binary(Y: Array) -> bool:
    """Whether all targets are 0 or 1, or -1 or 1."""
    values = set(np.unique(Y).tolist())
    return values <= {0.0, 1.0} or values == {-1.0, 1.0}


def _one_hot(targets: "pd.DataFrame", config: FileConfig) -> tuple[Array, tuple[str, ...]]:
    if len(targets.columns) != 1:
        raise ConfigError(
            f"data.target must be one column if it holds classes, got {list(config.target)}."
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
        labels = column.unique().tolist()
        if len(labels) > MAX_CLASSES:
            raise ConfigError(
                f"data.target must hold at most {MAX_CLASSES} classes, got {len(labels)}."
            )
        return sorted(labels)
    except TypeError as error:
        raise ConfigError(
            "data.target must hold labels of one kind, numbers or texts, got "
            f"{brief(column.iloc[0])}."
        ) from error
