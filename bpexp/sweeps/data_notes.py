"""What a user should know about the data of a plan before its runs are trained."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from bpexp.data.dataset import Dataset
from bpexp.sweeps.plan import Plan
from bpexp.typing import Array


def notes(plan: Plan) -> list[str]:
    """A sentence for each reason why nothing, or not everything, can be learned or tested.

    With several splits, the sentence says in how many of them.
    """
    datasets = plan.datasets.values()
    counts = Counter(reason for dataset in datasets for reason in _reasons(dataset))
    return [
        reason + (f" (in {count} of {len(datasets)} splits)." if len(datasets) > 1 else ".")
        for reason, count in counts.items()
    ]


def _reasons(dataset: Dataset) -> Iterator[str]:
    untrained = _untrained(dataset)
    for name in untrained:
        yield f"No training row has the class {name}, so it cannot be learned"
    # One row alone is an exercise, whose target can be learned.
    if not untrained and len(dataset.Y) > 1 and (dataset.Y[0] == dataset.Y).all():
        yield "All training rows have the same target, so nothing can be learned"
    if _tests_training_rows(dataset):
        yield "All test rows are training rows, too, so the test metrics say nothing on new rows"


def _tests_training_rows(dataset: Dataset) -> bool:
    """Whether every test row has the inputs and the targets of a training row."""
    if not len(dataset.X_test):
        return False
    # The first test row of nearly all data sets is none, which takes no table of all rows.
    same_targets = np.flatnonzero((dataset.Y_test[0] == dataset.Y).all(axis=1))
    n_parts = 1 + len(same_targets) // 1000
    if not any(
        (dataset.X_test[0] == dataset.X[rows]).all(axis=1).any()
        for rows in np.array_split(same_targets, n_parts)
    ):
        return False
    trained = set(_row_hashes(dataset.X, dataset.Y))
    return all(row in trained for row in _row_hashes(dataset.X_test, dataset.Y_test))


def _row_hashes(X: Array, Y: Array) -> Iterator[int]:
    # Adding 0 turns -0.0 into 0.0, which is equal.
    for inputs, targets in zip(X, Y, strict=True):
        yield hash(((inputs + 0.0).tobytes(), (targets + 0.0).tobytes()))


def _untrained(dataset: Dataset) -> list[str]:
    """The names of the classes that no training row has."""
    if not dataset.is_classification:
        return []
    if dataset.is_one_hot:
        has_row = (dataset.Y.max() == dataset.Y).any(axis=0).tolist()
        return [name for name, known in zip(dataset.targets, has_row, strict=True) if not known]
    everything = np.vstack([dataset.Y, dataset.Y_validation, dataset.Y_test])
    return [
        f"{name}={value:g}"
        for place, name in enumerate(dataset.targets)
        for value in np.setdiff1d(everything[:, place], dataset.Y[:, place])
    ]
