"""A data set, split into training, validation and test rows."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.data.preparation import Preparation
from bpexp.data.target_scaling import UNSCALED, TargetScaling
from bpexp.typing import Array


class Samples(NamedTuple):
    """Inputs and targets of some rows.

    Attributes:
        X: Inputs, (n_rows, n_features).
        Y: Targets, (n_rows, n_outputs).
    """

    X: Array
    Y: Array


class RowNumbers(NamedTuple):
    """The place of each row in the user's table, counted from 1 without the header.

    Attributes:
        training: Of the training rows, (n_samples,).
        validation: Of the validation rows.
        test: Of the test rows.
    """

    training: NDArray[np.integer[Any]]
    validation: NDArray[np.integer[Any]]
    test: NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False, slots=True)
class Dataset:
    """Arrays of float64, all finite, and column names. Nothing of it ever changes.

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
        is_classification: Whether targets are classes or bits, so that accuracy applies.
        is_one_hot: Whether the outputs are the classes of one label, exactly one of which is high
            in each row. Otherwise each output is a label of its own.
        digest: Result of ``compute_digest``. It is a field and not computed when needed: threads
            share the data set while another thread pickles it.
        label_name: Name of the column that one-hot targets were made of.
        labels: The class of each one-hot target, as the user's table has it; empty if the targets
            are not one-hot.
        rows: Where each row is in the user's table; None if that is not known.
        input_mean: What was subtracted from the inputs, (n_features,); None for nothing.
        input_scale: What the inputs were divided by, (n_features,); None for nothing.
        preparation: How the inputs were made from the columns of the table; None where only the
            arrays are known.
        target_scaling: How the targets are scaled for a network with linear outputs; None for
            unscaled targets. ``Y`` has the units of the file.
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
    is_classification: bool
    digest: str
    is_one_hot: bool = False
    label_name: str = ""
    labels: tuple[Any, ...] = ()
    rows: RowNumbers | None = None
    input_mean: Array | None = None
    input_scale: Array | None = None
    preparation: Preparation | None = None
    target_scaling: TargetScaling | None = None

    @property
    def n_rows(self) -> int:
        """The number of all rows: training, validation and test rows."""
        return len(self.X) + len(self.X_validation) + len(self.X_test)

    @property
    def threshold(self) -> float:
        """What separates low from high targets: the middle of their two values in all rows."""
        low, high = self.target_range
        is_constant_bit = low == high and low in (0.0, 1.0)
        return 0.5 if is_constant_bit else low + (high - low) / 2.0

    @property
    def target_range(self) -> tuple[float, float]:
        """The lowest and the highest target in all rows."""
        return _target_range(self)

    @property
    def two_values(self) -> tuple[float, float]:
        """The low and the high value of binary targets; 0 and 1 if all targets are equal."""
        low, high = self.target_range
        return (low, high) if low < high else (0.0, 1.0)

    @property
    def n_classes(self) -> int:
        """The number of classes of a row; 2 for a bit, and for each of several binary labels."""
        return self.Y.shape[1] if self.is_one_hot else 2

    @property
    def class_counts(self) -> tuple[int, ...]:
        """The number of training rows of each class of the only label."""
        counts = np.bincount(self.class_codes(self.Y), minlength=self.n_classes)
        return tuple(counts.tolist())

    def scaling_for(self, output: str) -> TargetScaling:
        """How the targets are scaled for a network with these output units.

        Only linear outputs can have any mean and scale.
        """
        return self.target_scaling if self.target_scaling and output == "identity" else UNSCALED

    def in_user_units(self, X: Array) -> list[list[float]]:
        """Inputs before they were standardized, (n_samples, n_features).

        They are rounded to 12 digits, which hides the rounding errors of scaling.
        """
        if self.input_mean is None or self.input_scale is None:
            return X.tolist()  # type: ignore[no-any-return]
        raw = X * self.input_scale + self.input_mean
        return [[float(f"{value:.12g}") for value in row] for row in raw.tolist()]

    def class_codes(self, outputs: Array) -> NDArray[np.integer[Any]]:
        """The classes that outputs, or targets, stand for, as numbers from 0.

        Args:
            outputs: (n_samples, n_outputs).

        Returns:
            The class of each row, (n_samples,), or 0 or 1 for each of several binary labels,
            (n_samples, n_outputs).
        """
        if self.is_one_hot:
            largest: NDArray[np.integer[Any]] = outputs.argmax(axis=1)
            return largest
        codes = (outputs > self.threshold).astype(np.intp)
        return codes[:, 0] if codes.shape[1] == 1 else codes


# Cached, but not in the data set, which must not change while another thread pickles it.
@lru_cache(maxsize=16)
def _target_range(dataset: Dataset) -> tuple[float, float]:
    Y = np.concatenate([dataset.Y, dataset.Y_validation, dataset.Y_test])
    return float(Y.min()), float(Y.max())


def compute_digest(
    train: Samples, validation: Samples, test: Samples, scaling: tuple[Array, ...] = ()
) -> str:
    """Compute the SHA-256 of shapes (int64) and values (float64), little-endian, in hexadecimal.

    In the order training rows, test rows, if there are any, validation rows, and scaling.

    Args:
        train: Inputs and targets of the training rows.
        validation: Inputs and targets of the validation rows.
        test: Inputs and targets of the test rows.
        scaling: Mean and deviation of the inputs of a file, if they are standardized: different
            tables can have equal values after standardization.
    """
    sha = hashlib.sha256()
    for array in (*train, *test, *(validation if len(validation.X) else ()), *scaling):
        sha.update(np.asarray(array.shape, "<i8").tobytes())
        # Not its bytes, which would be a copy.
        sha.update(np.ascontiguousarray(array, "<f8").reshape(-1).data)
    return sha.hexdigest()
