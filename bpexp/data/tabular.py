"""A user's table, read from a CSV, Parquet or NPZ file."""

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from bpexp.data import columns as column_types
from bpexp.data import data_file, python_tables
from bpexp.data.columns import Column, Origin
from bpexp.data.data_file import check_names
from bpexp.data.file_settings import FileConfig
from bpexp.data.registry import DataConfig, Table
from bpexp.data.splits import Positions, rows_of
from bpexp.data.text_files import COMPRESSED, SETTINGS, SUFFIXES, TextReader
from bpexp.fields.checks import ConfigError, brief
from bpexp.typing import Array

MAX_CLASSES = 4096
"""Upper limit of the classes of a target column; each class is an output."""
MANY_LABELS = 20
"""Number of labels from which a column of mostly different texts is no target by default."""
AS_CLASSES = "add data.task=classification to make each value a class"
"""What to type where the values of a target may be meant as labels."""
INDEX_NAMES = ("index", "level_0", "id", "row", "rownames", "row.names", "row_names")
"""Names, in lower case, under which other programs write the numbers of rows."""
_UNNAMED = re.compile(r"Unnamed: [0-9]+")
"""The names that pandas gives to columns without a name."""
_BINARY = (".parquet", ".npz")
"""Endings, in lower case, of files that have no settings of text files."""


def load(config: FileConfig) -> Table:
    """Read the table.

    Raises:
        ConfigError: The file, a column or a value cannot be used.
    """
    frame = _frame(_text_reader(config), config.path)
    names = _input_columns([str(name) for name in frame.columns], config)
    if not len(frame) or not names:
        raise ConfigError(
            f"data.path must hold at least one row and one input column, got {config.path!r}."
        )
    _check_no_index(frame, names, config)
    frame, origin = _with_test_rows(frame, [*names, *config.target], config)
    target_frame = frame[list(config.target)]
    is_label = _is_classification(target_frame, config) and not _are_flags(target_frame)
    inputs = _read_inputs(frame, names, config)
    targets = {name: _target(frame[name], config, is_label=is_label) for name in config.target}
    columns = {**inputs.columns, **targets}
    column_types.check_cells(columns, origin, required=config.target, missing=config.missing)
    rows = _complete_rows(columns, config)
    if is_label:
        outputs = _one_hot(targets[config.target[0]], rows, config)
    else:
        Y = np.column_stack([targets[name].values[rows] for name in config.target])
        outputs = _Outputs(Y, config.target)
    is_bits = not is_label and config.task != "regression" and _are_binary(outputs.Y)
    return Table(
        rows_of(inputs.X, rows), outputs.Y, names, outputs.names,
        is_classification=is_label or is_bits, is_one_hot=is_label,
        label_name=config.target[0], labels=outputs.labels,
        texts={n: tuple(map(str, c.labels)) for n, c in inputs.columns.items() if c.labels},
        rows=origin.row_numbers[rows], n_test=int((rows >= origin.counts[0]).sum()),
    )  # fmt: skip


def read_table(path: str, config: DataConfig) -> pd.DataFrame:
    """Read another table as the one of a configuration was read.

    Args:
        path: The file.
        config: Its ``separator``, ``decimal``, ``header`` and ``missing_values`` apply if it is the
            configuration of a text file, and ``path`` is one.

    Raises:
        ConfigError: The file cannot be read.
    """
    is_text = Path(path).suffix.lower() not in _BINARY
    given = {name: getattr(config, name) for name in SETTINGS if hasattr(config, name)}
    form = FileConfig(name="file", path=path, target=("",), **(given if is_text else {}))
    return _frame(TextReader(form, lambda name: True), path)


def _with_test_rows(
    frame: pd.DataFrame, names: Sequence[str], config: FileConfig
) -> tuple[pd.DataFrame, Origin]:
    """The rows of the file, followed by those of the test file if there is one."""
    if config.test_path is None:
        return frame, Origin((config.path,), (len(frame),))
    try:
        test = _frame(_text_reader(config), config.test_path)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.path", "data.test_path", 1)) from error
    lacking = [name for name in names if name not in test.columns]
    if lacking:
        raise ConfigError(
            f"data.test_path must have the columns of data.path, but {config.test_path} has no "
            f"{', '.join(map(repr, lacking[:10]))}."
        )
    if not len(test):
        raise ConfigError(f"data.test_path must hold at least one row, got {config.test_path!r}.")
    origin = Origin((config.path, config.test_path), (len(frame), len(test)))
    return pd.concat([part[list(names)] for part in (frame, test)], ignore_index=True), origin


class _Inputs(NamedTuple):
    """The inputs of all rows.

    Attributes:
        X: (n_rows, n_columns).
        columns: The columns by name; none if all of their cells are known to be finite numbers.
    """

    X: Array
    columns: Mapping[str, Column]


class _Outputs(NamedTuple):
    """The targets of the rows to use.

    Attributes:
        Y: (n_rows, n_outputs).
        names: Names of the columns of Y.
        labels: The class that each column of one-hot targets stands for.
    """

    Y: Array
    names: tuple[str, ...]
    labels: tuple[Any, ...] = ()


def _read_inputs(frame: pd.DataFrame, names: Sequence[str], config: FileConfig) -> _Inputs:
    plain = column_types.plain_numbers(frame, names)
    if plain is not None:
        return _Inputs(plain, {})
    columns = {name: _input(frame[name], config) for name in names}
    return _Inputs(np.column_stack([column.values for column in columns.values()]), columns)


def _target(column: pd.Series, config: FileConfig, *, is_label: bool) -> Column:
    if is_label:
        return column_types.to_label_codes(column, MAX_CLASSES, "data.target")
    return column_types.to_numbers(column, config.decimal)


def _input(column: pd.Series, config: FileConfig) -> Column:
    if config.categorical == "onehot" and column_types.is_text_column(column):
        return column_types.to_label_codes(column, MAX_CLASSES, "data.categorical=onehot")
    return column_types.to_numbers(column, config.decimal)


def _complete_rows(columns: Mapping[str, Column], config: FileConfig) -> Positions:
    """The positions of the rows to use: with ``data.missing=drop`` those without missing cells."""
    n_rows = len(columns[config.target[0]].values)
    if config.missing != "drop":
        return np.arange(n_rows)
    rows = np.flatnonzero(~np.any([column.missing for column in columns.values()], axis=0))
    if not rows.size:
        raise ConfigError(
            f"data.missing=drop must leave a row, but each of the {n_rows} rows of {config.path!r} "
            "has a missing value; add data.missing=median, or leave columns out with data.drop."
        )
    return rows


def _frame(text_reader: TextReader, path: str) -> pd.DataFrame:
    """The table of a file, or one that was passed from Python.

    Raises:
        ConfigError: The file cannot be read.
    """
    passed = python_tables.table(path)
    if passed is not None:
        check_names(list(passed.columns), path)
        return passed
    read = _reader(text_reader, path)
    file = data_file.check(path)
    with _errors_of_libraries(path), file.open("rb") as content:
        frame = read(content)
    check_names([str(name) for name in frame.columns], path)
    frame.columns = frame.columns.map(str)
    return frame


def _text_reader(config: FileConfig) -> TextReader:
    """Reads the table of a configuration: targets and possible indices may be integers."""
    return TextReader(config, lambda name: name in config.target or name.lower() in INDEX_NAMES)


def _reader(text_reader: TextReader, path: str) -> Callable[[BinaryIO], pd.DataFrame]:
    """What reads a file with this ending.

    Raises:
        ConfigError: The ending is unknown, or settings of text files are given for another file.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    readers: dict[str, Callable[[BinaryIO], pd.DataFrame]] = {
        **dict.fromkeys(SUFFIXES, partial(text_reader.read, name=file.name)),
        **dict.fromkeys(
            COMPRESSED, partial(text_reader.read_compressed, name=file.stem, suffix=suffix)
        ),
        ".zip": text_reader.read_zip,
        ".parquet": _parquet,
        ".npz": _npz,
    }
    is_known = suffix in readers
    if suffix in COMPRESSED:
        is_known = Path(file.stem).suffix.lower() in SUFFIXES
    if not is_known:
        raise ConfigError(
            f"data.path must end in {', '.join(SUFFIXES)}, .csv.gz, .csv.bz2, .csv.xz, .zip, "
            f".parquet or .npz, got {path!r}."
        )
    if suffix in _BINARY:
        for name in SETTINGS:
            if getattr(text_reader.config, name) != getattr(FileConfig, name):
                raise ConfigError(f"data.{name} must go with a text file, got {path!r}.")
    return readers[suffix]


@contextmanager
def _errors_of_libraries(path: str) -> Iterator[None]:
    """Turn the errors of the libraries that read a file into a ConfigError."""
    try:
        yield
    except ConfigError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"data.path must be text in UTF-8 or UTF-16, got {path!r}; if it is Latin-1, convert "
            "it with: iconv -f latin1 -t utf-8 FILE > NEW"
        ) from error
    except Exception as error:
        # The libraries raise many types of errors for a broken file.
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.removeprefix("Error tokenizing data. C error: ")
        reason = reason.replace("EOF inside string", "a quote is not closed, in the cell")
        if isinstance(error, MemoryError) or "out of memory" in reason:
            raise ConfigError(
                f"data.path must hold a table that fits into the memory, got {path!r}: {reason}"
            ) from error
        raise ConfigError(
            f"data.path must be a readable {Path(path).suffix.lower()} file, got {path!r}: {reason}"
        ) from error


def _parquet(content: BinaryIO) -> pd.DataFrame:
    file = pq.ParquetFile(content)
    check_names(file.schema_arrow.names, content.name)
    data_file.check_size(file.metadata.num_rows * file.metadata.num_columns * 8)
    # One block for all columns of a type, as pandas makes it, would be a copy of the table.
    frame: pd.DataFrame = file.read().to_pandas(split_blocks=True)
    # Parquet keeps only categories of texts.
    described = (file.schema_arrow.pandas_metadata or {}).get("columns", [])
    for column in described:
        name = column.get("name")
        if column.get("pandas_type") == "categorical" and name in frame:
            frame[name] = frame[name].astype("category")
    return frame


def _npz(content: BinaryIO) -> pd.DataFrame:
    """A one-dimensional array is a column, a two-dimensional one columns name0, name1, ..."""
    if not zipfile.is_zipfile(content):
        raise zipfile.BadZipFile("it is not a zip file")
    content.seek(0)
    with np.load(content, allow_pickle=False) as arrays:
        data_file.check_size(sum(member.file_size for member in arrays.zip.infolist()))
        parts = []
        for name in arrays.files:
            array = arrays[name]
            if array.ndim == 1:
                parts.append(pd.DataFrame({name: array}))
            elif array.ndim == 2:
                names = [f"{name}{i}" for i in range(array.shape[1])]
                parts.append(pd.DataFrame(array, columns=names, copy=False))
            else:
                raise ConfigError(
                    f"data.path must hold arrays of one or two dimensions, got {name!r} "
                    f"of shape {array.shape}."
                )
    if len({len(part) for part in parts}) > 1:
        raise ConfigError(f"data.path must hold arrays of equal length, got {content.name!r}.")
    return pd.concat(parts, axis=1) if parts else pd.DataFrame()


def _input_columns(names: Sequence[str], config: FileConfig) -> tuple[str, ...]:
    """The columns to use as inputs, in the order of the file.

    Raises:
        ConfigError: A setting names a column that does not exist, or that has two uses; or a
            column without a name is used although no setting asks for it.
    """
    dropped, chosen = config.drop or (), config.inputs
    for key, listed in (("target", config.target), ("inputs", chosen or ()), ("drop", dropped)):
        for name in listed:
            if name not in names:
                raise ConfigError(
                    f"data.{key} must name columns of {config.path} ({', '.join(names)}), "
                    f"got {name!r}{_hint(name, names)}"
                )
            if key != "target" and name in config.target:
                raise ConfigError(f"data.{key} must not name a target, got {name!r}.")
            if key == "drop" and chosen is not None and name in chosen:
                raise ConfigError(f"data.drop must not name a column of data.inputs, got {name!r}.")
    if chosen is not None:
        return tuple(name for name in names if name in chosen)
    inputs = tuple(name for name in names if name not in (*config.target, *dropped))
    unnamed = [name for name in inputs if _UNNAMED.fullmatch(name)]
    if unnamed:
        raise ConfigError(
            f"data.path must have a name for every input column, got {unnamed[0]!r} in "
            f"{config.path}, which looks like an index that pandas wrote, or like a separator at "
            f"the end of lines; leave it out with 'data.drop={_listed(unnamed)}', or choose the "
            "inputs with data.inputs."
        )
    return inputs


def _check_no_index(frame: pd.DataFrame, inputs: Sequence[str], config: FileConfig) -> None:
    """Refuse an input that counts the rows by its values and its name, unless it is asked for."""
    for name in inputs if config.inputs is None else ():
        if name.lower() in INDEX_NAMES and column_types.counts_rows(frame[name]):
            raise ConfigError(
                f"data.path must not have the numbers of its rows as an input, got {name!r} in "
                f"{config.path}; leave it out with 'data.drop={_listed([name])}', or choose the "
                "inputs with data.inputs."
            )


def _hint(name: str, names: Sequence[str]) -> str:
    """What may be meant by a name that no column has, from the first line of the file."""
    near = [known for known in names if known.strip().lower() == name.strip().lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    first = names[0] if names else ""
    if first.startswith("#"):
        return "; if the first line is a comment, delete it."
    if first.startswith("sep="):
        return "; delete the first line, and add data.separator."
    if len(names) == 1 and re.search(r"[^\w\s]", first):
        return "; if a character separates the columns, add data.separator."
    return f"{_without_header(names)}."


def _without_header(names: Sequence[str]) -> str:
    """What to type if the first line of a file seems to hold values."""
    is_number = [re.fullmatch(r"-?[0-9.]*[0-9](e-?[0-9]+)?", name) is not None for name in names]
    if sum(is_number) * 2 <= len(names) or names == [str(place) for place in range(len(names))]:
        return ""
    return "; if the first line is no header, add data.header=false"


def _listed(names: Sequence[str]) -> str:
    """Names as the value of an override."""
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


def _is_classification(targets: pd.DataFrame, config: FileConfig) -> bool:
    """Whether the targets are classes: as ``data.task`` says, or by the types of the columns.

    Raises:
        ConfigError: The type does not decide it: a column mixes numbers and texts.
    """
    if config.task == "classification" and len(targets.columns) > 1 and not _are_flags(targets):
        raise ConfigError(
            f"data.target must be one column if it holds classes, got {list(config.target)}."
        )
    if config.task is not None:
        return config.task == "classification"
    columns = [targets.iloc[:, place] for place in range(len(targets.columns))]
    if any(column_types.is_numeric(column, config.decimal) for column in columns):
        return False
    for column in columns:
        mixed = column_types.first_number_and_text(column, config.decimal)
        if mixed is not None:
            hints = column_types.text_hints([column_types.to_numbers(column, config.decimal)])
            hints.append(f"correct the cells, or {AS_CLASSES}")
            raise ConfigError(
                f"data.target must hold only numbers or only labels, got {mixed} in column "
                f"{column.name!r} of {config.path}; {'; '.join(hints)}."
            )
        if not column_types.is_label(column):
            raise ConfigError(
                f"data.target must hold numbers or labels, got {brief(column.iloc[0])} in column "
                f"{column.name!r} of {config.path}; {AS_CLASSES}."
            )
        n_labels = column.nunique()
        if len(columns) == 1 and n_labels > max(MANY_LABELS, len(column) // 2):
            raise ConfigError(
                f"data.target must hold labels that occur several times, got {n_labels} different "
                f"texts in {len(column)} rows of column {column.name!r} of {config.path}; "
                f"{AS_CLASSES}."
            )
    return len(columns) == 1


def _are_flags(targets: pd.DataFrame) -> bool:
    """Whether the targets are several columns of two values, each of which is a label."""
    if len(targets.columns) == 1:
        return False
    found = [column_types.to_numbers(targets[name]) for name in targets.columns]
    return all(c.n_wrong == 0 for c in found) and _are_binary(
        np.concatenate([c.values[~c.missing] for c in found])
    )


def _are_binary(Y: Array) -> bool:
    """Whether all targets are 0 or 1, or -1 or 1."""
    values = set(np.unique(Y).tolist())
    return values <= {0.0, 1.0} or values == {-1.0, 1.0}


def _one_hot(column: Column, rows: Positions, config: FileConfig) -> _Outputs:
    values, labels = column.values[rows], column.labels or ()
    present = np.unique(values)
    Y = (values[:, None] == present).astype(np.float64)
    classes = tuple(labels[int(place)] for place in present)
    names = tuple(f"{config.target[0]}={label}" for label in classes)
    check_names(names, config.path)
    return _Outputs(Y, names, classes)
