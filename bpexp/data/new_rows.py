"""Rows that a trained network has not seen, as the inputs of the network."""

from typing import Any

import numpy as np
import pandas as pd

from bpexp.data import columns as column_types
from bpexp.data import python_tables
from bpexp.data.preparation import Preparation
from bpexp.fields.checks import ConfigError
from bpexp.typing import Array


def inputs(
    X: Any,
    prepared: Preparation,
    *,
    decimal: str = ".",
    name: str = "X",
) -> Array:
    """Prepare new rows as the training rows were prepared.

    Args:
        X: A table of pandas with the columns of the training data, in any order and with others,
            or an array (n_rows, n_columns) in their order.
        prepared: The preparation that was fitted on the training rows.
        decimal: The decimal mark of texts, as ``data.decimal``.
        name: What error messages call the rows.

    Returns:
        The inputs of the network, (n_rows, n_features).

    Raises:
        ConfigError: A column is missing, there is no row, or a cell is not a finite number.
    """
    if not isinstance(X, pd.DataFrame):
        X = _frame_of_array(X, prepared, name)
    known = {str(key): place for place, key in enumerate(X.columns)}
    missing = [column for column in prepared.columns if column not in known]
    if missing:
        raise ConfigError(
            f"{name} must have the columns that the network was trained on, got none named "
            f"{', '.join(map(repr, missing[:10]))}."
        )
    repeated = [column for column in prepared.columns if [*map(str, X.columns)].count(column) > 1]
    if repeated:
        raise ConfigError(f"{name} must have different columns, got {repeated[0]!r} twice.")
    if not len(X):
        raise ConfigError(f"{name} must have at least one row, got none.")
    columns = {title: X.iloc[:, known[title]] for title in prepared.columns}
    for title, column in columns.items():
        if prepared.medians is None and column.isna().any():
            row = int(np.flatnonzero(column.isna())[0]) + 1
            raise ConfigError(
                f"{name} must have a value in every cell, got none in column {title!r}, row {row}."
            )
    cells = [_cells(column, title, prepared, name, decimal) for title, column in columns.items()]
    return prepared.transform(np.column_stack(cells))


def _frame_of_array(X: Any, prepared: Preparation, name: str) -> pd.DataFrame:
    array = python_tables.as_array(X, name)
    n_columns = len(prepared.columns)
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ConfigError(
            f"{name} must have {n_columns} columns ({', '.join(prepared.columns[:10])}), got an "
            f"array of shape {array.shape}."
        )
    return pd.DataFrame(array, columns=list(prepared.columns)).infer_objects()


def _cells(
    column: "pd.Series", title: str, prepared: Preparation, name: str, decimal: str
) -> Array:
    """The cells of a column as ``Preparation`` takes them."""
    if title in prepared.texts:
        places = {text: float(place) for place, text in enumerate(prepared.texts[title])}
        return np.array([places.get(str(cell), np.nan) for cell in column], np.float64)
    found = column_types.to_numbers(column, decimal)
    if found.n_wrong:
        raise ConfigError(
            f"{name} must hold finite numbers in column {title!r}, got {found.first_cell} in row "
            f"{found.first_row + 1}."
        )
    return found.values
