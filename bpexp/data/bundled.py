"""Classification data sets that are part of scikit-learn, which is imported only to load them."""

import numpy as np

from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table


def _load(config: DataConfig) -> Table:
    """The data set with its class as one-hot targets."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{config.name}")()
    Y = np.eye(len(bunch.target_names))[bunch.target]
    inputs = tuple(str(name) for name in bunch.feature_names)
    targets = tuple(str(name) for name in bunch.target_names)
    X = bunch.data.astype(np.float64)
    return Table(
        X, Y, inputs, targets, is_classification=True, is_one_hot=True,
        labels=tuple(bunch.target_names.tolist()),
    )  # fmt: skip


for _name in ("iris", "digits", "breast_cancer"):
    DATA_SOURCES.register(DataSource(_name, DataConfig, _load))
