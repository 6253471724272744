"""A data set, split into training, validation and test rows."""

import hashlib
from dataclasses import dataclass

import numpy as np

from bpexp.typing import Array

Rows = tuple[Array, Array]
"""Inputs and targets of some rows."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays of float64, all finite, and column names.

    Attributes:
        name: The data set's name in the configuration.
        X: Inputs of the training rows, (n_samples, n_features).
        Y: Targets of the training rows, (n_samples, n_outputs).
        X_validation: Inputs of the validation rows, possibly none.
        Y_validation: Targets of the validation rows.
        X_test: Inputs of the test rows, possibly none.
        Y_test: Targets of the test rows.
        inputs: Names of the columns of X.
        targets: Names of the columns of Y.
        classes: Whether targets are classes or bits, so that accuracy applies.
        digest: Result of ``compute_digest``. It is a field and not computed when needed: threads
            share the data set while another thread pickles it.
    """

    name: str
    X: Array
    Y: Array
    X_validation: Array
    Y_validation: Array
    X_test: Array
    Y_test: Array
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    classes: bool
    digest: str


def compute_digest(train: Rows, validation: Rows, test: Rows) -> str:
    """Compute the SHA-256 of shapes (int64) and values (float64), little-endian, in hexadecimal.

    In the order training rows, test rows and, if there are any, validation rows.

    Args:
        train: Inputs and targets of the training rows.
        validation: Inputs and targets of the validation rows.
        test: Inputs and targets of the test rows.
    """
    sha = hashlib.sha256()
    for array in (*train, *test, *(validation if len(validation[0]) else ())):
        sha.update(np.asarray(array.shape, "<i8").tobytes())
        sha.update(np.ascontiguousarray(array, "<f8").tobytes())
    return sha.hexdigest()


def accuracy(predictions: Array, targets: Array) -> float:
    """The fraction of rows that are classified correctly.

    For one-hot targets the class is that of the largest output. Otherwise a row is correct if
    all outputs are on the same side as their targets of the mean of the two target values.

    Args:
        predictions: (n_samples, n_outputs).
        targets: (n_samples, n_outputs), of two values.
    """
    low, high = float(targets.min()), float(targets.max())
    one_hot = targets.shape[1] > 1 and bool(((targets == high).sum(axis=1) == 1).all())
    if one_hot:
        return float((predictions.argmax(axis=1) == targets.argmax(axis=1)).mean())
    middle = (low + high) / 2.0
    return float(((predictions > middle) == (targets > middle)).all(axis=1).mean())
