"""Splits of rows into training, validation and test rows, and the moments of columns.

>>> train, validation, test = random(8, 0.25, 0.25, seed=0)
>>> train.tolist(), validation.tolist(), test.tolist()
([0, 3, 4, 5], [1, 7], [2, 6])
"""

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import EXACT
from bpexp.typing import Array

Positions = NDArray[np.integer[Any]]
"""Positions of rows in a table, counted from 0."""
ClassCodes = NDArray[np.integer[Any]]
"""The class of each row of a table, as a number."""
BLOCK_ROWS = 128
"""Rows of a table that are computed at once: 800 KB of 784 columns."""


class RowSplit(NamedTuple):
    """The positions of the training, validation and test rows, each in ascending order."""

    training: Positions
    validation: Positions
    test: Positions


def random(
    n_rows: int,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
    classes: ClassCodes | None = None,
) -> RowSplit:
    """Split rows at random.

    The test rows do not depend on ``validation_fraction``.

    Args:
        n_rows: The number of rows.
        test_fraction: The fraction of test rows.
        validation_fraction: The fraction of validation rows.
        seed: Seed of the permutation of the rows.
        classes: The class of each row, (n_rows,), for a stratified split; None for an
            unstratified one.

    Raises:
        ConfigError: No training row is left.
    """
    n_test, n_validation = round(n_rows * test_fraction), round(n_rows * validation_fraction)
    if n_test >= n_rows:
        raise ConfigError(
            f"data.test_fraction must leave a row to train on, got {test_fraction:g} "
            f"of {n_rows} rows."
        )
    if n_test + n_validation >= n_rows:
        raise ConfigError(
            "data.validation_fraction must leave a row to train on, got "
            f"{validation_fraction:g} of {n_rows} rows, {n_test} of which are test rows."
        )
    if not n_test + n_validation:
        return RowSplit(np.arange(n_rows), np.arange(0), np.arange(0))
    order: Positions = np.random.RandomState(seed).permutation(n_rows)
    if classes is not None:
        test, order = _stratified(order, classes, n_test)
        validation, train = _stratified(order, classes, n_validation)
    else:
        test, validation, train = np.split(order, [n_test, n_test + n_validation])
    return RowSplit(np.sort(train), np.sort(validation), np.sort(test))


def _stratified(order: Positions, classes: ClassCodes, n_drawn: int) -> tuple[Positions, Positions]:
    """Draw rows in proportion to the sizes of the classes.

    A class keeps at least one row that is not drawn, as long as others have rows left to draw.

    Returns:
        The first rows of each class in ``order``, ``n_drawn`` in all, and the remaining rows.
    """
    _, class_of, sizes = np.unique(classes[order], return_inverse=True, return_counts=True)
    shares = sizes * (n_drawn / max(len(order), 1))
    drawn = np.minimum(shares.astype(np.int64), sizes - 1)
    for limits in (sizes - 1, sizes):
        while drawn.sum() < n_drawn and (drawn < limits).any():
            lacking = np.where(drawn < limits, shares - drawn, -np.inf)
            drawn[np.argmax(lacking)] += 1
    place = np.empty(len(order), np.int64)
    for number in range(len(sizes)):
        place[class_of == number] = np.arange(sizes[number])
    is_drawn = place < drawn[class_of]
    return order[is_drawn], order[~is_drawn]


def fold(
    rows: Positions, n_folds: int, number: int, seed: int, classes: ClassCodes | None = None
) -> Positions:
    """The rows of one of several folds of nearly equal size, in ascending order.

    >>> [fold(np.arange(5), 2, number, 0).tolist() for number in range(2)]
    [[1, 2, 4], [0, 3]]

    Args:
        rows: Row numbers that are distributed to the folds.
        n_folds: The number of folds.
        number: The fold, counted from 0.
        seed: Seed of the permutation of the rows.
        classes: The class of each row of the table; each fold has its share of each class.

    Raises:
        ConfigError: There are more folds than rows.
    """
    if n_folds > len(rows):
        raise ConfigError(f"data.folds must be at most the {len(rows)} rows, got {n_folds}.")
    order = rows[np.random.RandomState(seed).permutation(len(rows))]
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    return np.sort(order[number::n_folds])


def rows_of(values: Array, rows: Positions) -> Array:
    """Some rows of an array, in ascending order; the array itself if these are all of its rows."""
    return values if len(rows) == len(values) else values[rows]


def moments(X: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, summed in order to be bit-identical everywhere.

    The deviation of a constant column is replaced by 1. A column is constant if its variance is
    within the rounding errors of its mean, by the bound of scikit-learn's ``StandardScaler``. A
    deviation that overflows is not finite.

    >>> moments(np.array([[0.7], [0.7], [0.7]]))[1]
    array([1.])
    """
    n, epsilon = len(X), np.finfo(np.float64).eps
    with np.errstate(over="ignore", invalid="ignore"):
        mean = EXACT.sum(X, 0) / n
        variance = reduce(np.add, _squared_deviations(X, mean)) / n
        is_constant = variance <= n * epsilon * variance + (n * mean * epsilon) ** 2
    scale = np.sqrt(variance)
    scale[is_constant & np.isfinite(scale)] = 1.0
    return mean, scale


def _squared_deviations(X: Array, mean: Array) -> Iterator[Array]:
    """Yield the rows of (X - mean)^2, computed in blocks that fit into the cache of a core."""
    for top in range(0, len(X), BLOCK_ROWS):
        deviations = X[top : top + BLOCK_ROWS] - mean
        deviations *= deviations
        yield from deviations
