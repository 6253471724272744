"""What a user should know about the data of a plan before its runs are trained."""

from collections import Counter

import numpy as np

from bpexp.data.dataset import Dataset
from bpexp.sweeps.plan import Plan


def notes(plan: Plan) -> list[str]:
    """A sentence for each class that cannot be learned, because no training row has it.

    With several splits, the sentence says in how many of them.
    """
    datasets = plan.datasets.values()
    counts = Counter(name for dataset in datasets for name in _untrained(dataset))
    return [
        f"No training row has the class {name}, so it cannot be learned"
        + (f" (in {count} of {len(datasets)} splits)." if len(datasets) > 1 else ".")
        for name, count in counts.items()
    ]


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
