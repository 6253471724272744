"""Metrics of outputs against targets, as ``sklearn.metrics`` defines them.

They are computed with NumPy: importing scikit-learn takes longer than training a short run, and
its functions take longer than a short run on few rows. Sums are taken in order, so that the bits
of a metric do not depend on the machine.

>>> classes = of_classes(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
>>> classes["accuracy"] == 2 / 3, classes["balanced_accuracy"]
(True, 0.75)
>>> of_numbers(np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]]))
{'rmse': 1.0, 'mae': 1.0, 'r2': 0.0}
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.typing import Array

Codes = NDArray[np.integer[Any]]
"""Classes as whole numbers from 0."""
Values = dict[str, float]
"""Values by the name of the metric."""


def of_classes(targets: Codes, predicted: Codes, n_classes: int) -> Values:
    """Metrics of a classification where each row has one class.

    Args:
        targets: The class of each row, (n_samples,), at least one.
        predicted: The predicted class of each row, (n_samples,).
        n_classes: The number of classes.

    Returns:
        ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that rows have; and
        ``macro_f1``, the mean F1 of the classes that rows or predictions have.
    """
    right = np.bincount(targets[targets == predicted], minlength=n_classes).tolist()
    rows = np.bincount(targets, minlength=n_classes).tolist()
    columns = np.bincount(predicted, minlength=n_classes).tolist()
    recalls = [hits / n for hits, n in zip(right, rows, strict=True) if n]
    f1 = [2 * r / (n + m) for r, n, m in zip(right, rows, columns, strict=True) if n + m]
    return {
        "accuracy": sum(right) / len(targets),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(f1) / len(f1),
    }


def of_labels(targets: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Values:
    """Metrics of a classification with several binary labels.

    Args:
        targets: Which labels each row has, (n_samples, n_labels), at least one row.
        predicted: Which labels are predicted, (n_samples, n_labels).

    Returns:
        ``accuracy``, the share of rows whose labels are all right; and ``macro_f1``, the mean F1
        of the labels, 0 for a label that no row and no prediction has.
    """
    right = (targets & predicted).sum(axis=0).tolist()
    total = (targets.sum(axis=0) + predicted.sum(axis=0)).tolist()
    f1 = [2 * r / n if n else 0.0 for r, n in zip(right, total, strict=True)]
    exact = int((targets == predicted).all(axis=1).sum())
    return {"accuracy": exact / len(targets), "macro_f1": sum(f1) / len(f1)}


def of_numbers(targets: Array, predicted: Array) -> Values:
    """Metrics of a regression; those of several targets are averaged.

    Args:
        targets: (n_samples, n_outputs), at least one row.
        predicted: (n_samples, n_outputs).

    Returns:
        ``rmse``, the root of the mean squared error; ``mae``, the mean absolute error; and, with
        at least two rows, ``r2``, the coefficient of determination. It is 1 for a constant target
        that is predicted without an error, and 0 if there is one. A metric that is not a number,
        since an error is too large, is left out.
    """
    n = len(targets)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = predicted - targets
        squares = _sum(errors * errors)
        found = {
            "rmse": _mean(np.sqrt(squares / n)),
            "mae": _mean(_sum(np.abs(errors)) / n),
        }
        if n > 1:
            centered = targets - _sum(targets) / n
            totals = _sum(centered * centered)
            # A constant column has rounding errors of its mean as its variation.
            totals[targets.min(axis=0) == targets.max(axis=0)] = 0.0
            found["r2"] = _mean(
                np.array([
                    1.0 - square / total if total else float(not square)
                    for square, total in zip(squares, totals, strict=True)
                ])
            )  # fmt: skip
    return {name: value for name, value in found.items() if not math.isnan(value)}


def mean_squared_error(targets: Array, outputs: Array) -> float:
    """The mean of the squared errors over rows and outputs.

    Args:
        targets: (n_samples, n_outputs), at least one row.
        outputs: (n_samples, n_outputs).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        errors = outputs - targets
        return _mean(_sum(errors * errors) / len(targets))


def _sum(values: Array) -> Array:
    """The sum of each column, from the first row to the last."""
    total: Array = np.add.accumulate(values, axis=0)[-1]
    return total


def _mean(values: Array) -> float:
    return float(_sum(values)) / len(values)


def confusion_matrix(targets: Codes, predicted: Codes, n_classes: int) -> Codes:
    """The number of rows of each class (rows) and predicted class, (n_classes, n_classes)."""
    counts = np.bincount(targets * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)
