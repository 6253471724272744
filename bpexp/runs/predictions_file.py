"""The predictions of a run as a file: a line for each row of the data set.

The columns are ``row``, its number in the user's table; ``split``; the inputs of a small data set
in the user's units; the targets; the predicted labels of a classification; and the outputs. A data
set with many rows or outputs has a Parquet file instead of a CSV file; pyarrow is imported only for
such files.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.data.dataset import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.guards.memory_limit import content_limit
from bpexp.runs.metrics import Split
from bpexp.runs.result import TrainResult
from bpexp.typing import Array

CSV, PARQUET = "predictions.csv", "predictions.parquet"
NAMES = (CSV, PARQUET)
"""The names that the file of a run may have."""
MAX_CSV_NUMBERS = 10_000
"""Maximum number of predicted numbers in a CSV file: 200 kB."""
MAX_INPUT_NUMBERS = 5_000
"""Maximum number of inputs of a data set that each of its runs shows."""
Columns = dict[str, NDArray[Any]]
"""Values by column: float64, or texts."""


def of_result(result: TrainResult, dataset: Dataset) -> tuple[str, bytes]:
    """The name and the content of the file of a run."""
    if dataset.n_rows * len(dataset.targets) <= MAX_CSV_NUMBERS:
        return CSV, _to_csv(result, dataset)
    return PARQUET, _to_parquet(result, dataset)


def parts(result: TrainResult) -> Iterator[tuple[Split, Array]]:
    """The outputs of each kind of rows that the run has been evaluated on."""
    yield Split.TRAINING, result.predictions
    if result.validation_predictions is not None:
        yield Split.VALIDATION, result.validation_predictions
    if result.test_predictions is not None:
        yield Split.TEST, result.test_predictions


def _to_csv(result: TrainResult, dataset: Dataset) -> bytes:
    lines = [_csv_header(dataset)]
    for split, outputs in parts(result):
        labels = _label_cells(dataset, outputs)
        for start, label, numbers in zip(
            _csv_rows(dataset, split), labels, outputs.tolist(), strict=True
        ):
            lines.append(f"{start}{label}{','.join(map(repr, numbers))}")
    return "\n".join([*lines, ""]).encode()


def _label_cells(dataset: Dataset, outputs: Array) -> list[str]:
    """The cells of the predicted labels of each row, with a comma after each."""
    if not dataset.is_classification:
        return [""] * len(outputs)
    texts = [f"{_cell(text)}," for text in label_texts(dataset)]
    codes = dataset.class_codes(outputs).tolist()
    if codes and isinstance(codes[0], list):
        return ["".join(texts[code] for code in row) for row in codes]
    return [texts[code] for code in codes]


@lru_cache(maxsize=16)
def label_texts(dataset: Dataset) -> tuple[str, ...]:
    """The text of each class of ``Dataset.class_codes``."""
    if dataset.is_one_hot:
        return tuple(map(str, dataset.labels or dataset.targets))
    return tuple(map(repr, dataset.two_values))


@lru_cache(maxsize=16)
def _csv_header(dataset: Dataset) -> str:
    return ",".join(map(_cell, _titles(dataset, with_inputs=_shows_inputs(dataset))))


def _titles(dataset: Dataset, *, with_inputs: bool) -> list[str]:
    targets = [dataset.label_name] if dataset.is_one_hot else list(dataset.targets)
    labels: list[str] = []
    if dataset.is_classification:
        several = len(targets) > 1
        labels = [f"predicted label {t}" if several else "predicted label" for t in targets]
    outputs = [f"predicted {name}" for name in dataset.targets]
    inputs = dataset.inputs if with_inputs else ()
    return ["row", "split", *inputs, *targets, *labels, *outputs]


def _shows_inputs(dataset: Dataset) -> bool:
    return sum(a.size for a in (dataset.X, dataset.X_validation, dataset.X_test)) <= (
        MAX_INPUT_NUMBERS
    )


# Cached, because the runs of a sweep have the same rows.
@lru_cache(maxsize=48)
def _csv_rows(dataset: Dataset, split: Split) -> list[str]:
    """The beginning of each line, up to the predicted labels."""
    numbers, X, Y = _rows(dataset, split)
    inputs: Sequence[str] = [""] * len(Y)
    if _shows_inputs(dataset):
        inputs = ["".join(f"{value!r}," for value in row) for row in dataset.in_user_units(X)]
    targets = [f"{cells}," for cells in _target_cells(dataset, Y)]
    return [
        f"{number},{split.value},{shown}{target}"
        for number, shown, target in zip(numbers, inputs, targets, strict=True)
    ]


class _Rows(NamedTuple):
    """The numbers, inputs and targets of a kind of rows."""

    numbers: list[int]
    X: Array
    Y: Array


def _rows(dataset: Dataset, split: Split) -> _Rows:
    X, Y = {
        Split.TRAINING: (dataset.X, dataset.Y),
        Split.VALIDATION: (dataset.X_validation, dataset.Y_validation),
        Split.TEST: (dataset.X_test, dataset.Y_test),
    }[split]
    if dataset.rows is None:
        return _Rows(list(range(1, len(Y) + 1)), X, Y)
    return _Rows(getattr(dataset.rows, split.value).tolist(), X, Y)


def _target_cells(dataset: Dataset, Y: Array) -> list[str]:
    if dataset.is_one_hot:
        texts = label_texts(dataset)
        return [_cell(texts[code]) for code in dataset.class_codes(Y).tolist()]
    return [",".join(map(repr, row)) for row in Y.tolist()]


def _cell(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([text])
    return buffer.getvalue()


def _to_parquet(result: TrainResult, dataset: Dataset) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    outputs_of = dict(parts(result))
    outputs = np.concatenate(list(outputs_of.values()))
    columns = list(_known_columns(dataset, tuple(outputs_of)))
    if dataset.is_classification:
        texts, codes = pa.array(label_texts(dataset)), dataset.class_codes(outputs)
        columns += [texts.take(pa.array(column)) for column in codes.reshape(len(outputs), -1).T]
    titles, repeating = _titles(dataset, with_inputs=False), len(columns)
    columns += [pa.array(column) for column in np.ascontiguousarray(outputs.T)]
    stream = pa.BufferOutputStream()
    # Outputs hardly ever repeat: a dictionary of them takes more time and space than they do. The
    # first bytes of all numbers of a column, put side by side, do repeat.
    pq.write_table(
        pa.table(columns, names=titles), stream, compression="lz4", write_statistics=False,
        use_dictionary=titles[:repeating], use_byte_stream_split=titles[repeating:],
    )  # fmt: skip
    content: bytes = stream.getvalue().to_pybytes()
    return content


# Cached, because the runs of a sweep have the same rows.
@lru_cache(maxsize=4)
def _known_columns(dataset: Dataset, splits: tuple[Split, ...]) -> Sequence[Any]:
    """The columns that do not depend on the run: numbers, splits and targets of the rows."""
    import pyarrow as pa

    rows_of = {split: _rows(dataset, split) for split in splits}
    numbers = np.concatenate([rows.numbers for rows in rows_of.values()])
    names = np.repeat([split.value for split in splits], [len(r.Y) for r in rows_of.values()])
    Y = np.concatenate([rows.Y for rows in rows_of.values()])
    if dataset.is_one_hot:
        targets = [pa.array(label_texts(dataset)).take(pa.array(dataset.class_codes(Y)))]
    else:
        targets = [pa.array(column) for column in np.ascontiguousarray(Y.T)]
    return [pa.array(numbers, pa.int64()), pa.array(names), *targets]


def training_outputs(content: bytes, n_outputs: int, name: str) -> Array:
    """The outputs on the training rows, (n_samples, n_outputs), from the content of a file.

    Args:
        content: The content of the file.
        n_outputs: The number of outputs, which are the last columns.
        name: What error messages call the file.

    Raises:
        ConfigError: The file is empty, truncated or damaged.
    """
    columns = read(content, name)
    values = list(columns.values())[-n_outputs:]
    if len(columns) < n_outputs + 2 or any(column.dtype.kind != "f" for column in values):
        raise ConfigError(
            f"{name} must contain a column of numbers for each of {n_outputs} outputs."
        )
    outputs = np.column_stack(values)
    return np.ascontiguousarray(outputs[list(columns.values())[1] == Split.TRAINING.value])


def read(content: bytes, name: str) -> Columns:
    """All columns of a file by their titles; a title that is not unique has its position added.

    Raises:
        ConfigError: The file is empty, truncated or damaged.
    """
    if not content:
        raise ConfigError(f"{name} is empty.")
    return _read_parquet(content, name) if content[:4] == b"PAR1" else _read_csv(content, name)


def _read_csv(content: bytes, name: str) -> Columns:
    if not content.endswith(b"\n"):
        raise ConfigError(f"{name} is truncated: its last line has no end.")
    try:
        header, *rows = csv.reader(io.StringIO(content.decode()))
        if any(len(row) != len(header) for row in rows):
            raise ValueError("its lines do not have the same number of cells")
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name} is damaged: {error}.") from error
    cells = list(zip(*rows, strict=True)) or [()] * len(header)
    return dict(zip(_unique(header), map(_typed, cells), strict=True))


def _typed(cells: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array([float(cell) for cell in cells], np.float64)
    except ValueError:
        return np.array(cells, dtype=object)


def _read_parquet(content: bytes, name: str) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        size = file.metadata.num_rows * file.metadata.num_columns * 8
        if size > content_limit():
            raise ValueError(f"{size / 1e9:.1f} GB unpacked")
        table = file.read()
        columns = [column.to_numpy() for column in table.columns]
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ConfigError(f"{name} is damaged: {reason}.") from error
    numbers = [c.astype(np.float64) if c.dtype.kind in "iuf" else c for c in columns]
    return dict(zip(_unique(table.column_names), numbers, strict=True))


class ColumnCounts(NamedTuple):
    """The numbers of columns of a file after ``row`` and ``split``, in the order of the file."""

    n_inputs: int
    n_targets: int
    n_labels: int
    n_outputs: int


def column_counts(titles: Sequence[str]) -> ColumnCounts:
    """How many columns of each kind a file has.

    Raises:
        ValueError: The titles are not those of a file with predictions.
    """
    if list(titles[:2]) == ["row", "split"]:
        for n in range(1, len(titles) - 2):
            before, outputs = titles[2:-n], titles[-n:]
            names = [title.removeprefix("predicted ") for title in outputs]
            if list(before[-n:]) == names:
                return ColumnCounts(len(before) - n, n, 0, n)
            if list(before[-1:]) == ["predicted label"]:
                return ColumnCounts(len(before) - 2, 1, 1, n)
            if list(before[-n:]) == [f"predicted label {name}" for name in names]:
                return ColumnCounts(len(before) - 2 * n, n, n, n)
    raise ValueError("it has no columns of predictions")


def _unique(titles: Sequence[str]) -> list[str]:
    return [
        title if titles.index(title) == place else f"{title} (column {place + 1})"
        for place, title in enumerate(titles)
    ]
