"""A data set as the trainer takes it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to train on (X, Y), to validate and to test with (possibly none), and column names.

    X: (n_samples, n_features), Y: (n_samples, n_outputs), float64 and finite.
    ``classes`` says that targets stand for classes or bits, so that accuracy applies.
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

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shapes and values (little-endian float64), in hexadecimal.

        Training rows, test rows, then validation rows where there are some.
        """
        sha = hashlib.sha256()
        validation = (self.X_validation, self.Y_validation) if len(self.X_validation) else ()
        for array in (self.X, self.Y, self.X_test, self.Y_test, *validation):
            sha.update(np.asarray(array.shape, "<i8").tobytes())
            sha.update(np.ascontiguousarray(array, "<f8").tobytes())
        return sha.hexdigest()


def accuracy(predictions: Array, targets: Array) -> float:
    """Share of rows that are right: the largest output of a one-hot target, otherwise
    every output on its target's side of the middle between the two target values.
    """
    low, high = float(targets.min()), float(targets.max())
    one_hot = targets.shape[1] > 1 and bool(((targets == high).sum(axis=1) == 1).all())
    if one_hot:
        return float((predictions.argmax(axis=1) == targets.argmax(axis=1)).mean())
    middle = (low + high) / 2.0
    return float(((predictions > middle) == (targets > middle)).all(axis=1).mean())
