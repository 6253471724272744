"""The user's own CSV, Parquet or NPZ file as arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bpexp.checks import ConfigError
from bpexp.config import File
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
    import pandas as pd

    file = Path(path)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".npz": _npz,
    }
    if file.suffix not in readers:
        raise ConfigError(f"data.path must end in .csv, .parquet or .npz, got {path!r}.")
    if not file.is_file():
        raise ConfigError(f"data.path must be an existing file, got {path!r}.")
    try:
        frame = readers[file.suffix](file)
    except ConfigError:
        raise
    except Exception as error:
        # Readers raise many kinds of error on a broken file; each means the same here.
        said = " ".join(str(error).split())
        raise ConfigError(
            f"data.path must be a readable {file.suffix} file, got {path!r}: {said}"
        ) from error
    frame.columns = frame.columns.map(str)
    return frame


def _npz(file: Path) -> "pd.DataFrame":
    """Each array is a column, or, if two-dimensional, columns name0, name1, ..."""
    import pandas as pd

    with np.load(file, allow_pickle=False) as arrays:
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
        raise ConfigError(f"data.path must hold arrays of equal length, got {file.name!r}.")
    return pd.DataFrame(columns)


def _numbers(column: "pd.Series", path: str) -> Array:
    try:
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data.path must hold numbers in column {column.name!r}, got {column.iloc[0]!r} "
            f"in {path}."
        ) from error
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ConfigError(
            f"data.path must hold finite numbers, got {values[bad[0]]} in column "
            f"{column.name!r}, row {bad[0] + 1} of {path}."
        )
    return values


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
    labels = sorted(column.unique().tolist())
    Y = np.column_stack([(column == label).to_numpy(np.float64) for label in labels])
    return Y, tuple(f"{config.target[0]}={label}" for label in labels)
