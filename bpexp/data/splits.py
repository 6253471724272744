"""Splits of rows into training, validation and test rows, and the moments of columns.

>>> train, validation, test = random(8, 0.25, 0.25, seed=0)
>>> train.tolist(), validation.tolist(), test.tolist()
([0, 3, 4, 5], [1, 7], [2, 6])
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import EXACT
from bpexp.typing import Array

Rows = NDArray[np.integer[Any]]


def random(
    n_rows: int, test_fraction: float, validation_fraction: float, seed: int
) -> tuple[Rows, Rows, Rows]:
    """Split rows at random.

    The test rows do not depend on ``validation_fraction``.

    Returns:
        The row numbers for training, validation and testing, each in ascending order.

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
        return np.arange(n_rows), np.arange(0), np.arange(0)
    order = np.random.RandomState(seed).permutation(n_rows)
    test, validation, train = np.split(order, [n_test, n_test + n_validation])
    return np.sort(train), np.sort(validation), np.sort(test)


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
        variance = EXACT.sum((X - mean) * (X - mean), 0) / n
        is_constant = variance <= n * epsilon * variance + (n * mean * epsilon) ** 2
    scale = np.sqrt(variance)
    scale[is_constant & np.isfinite(scale)] = 1.0
    return mean, scale
