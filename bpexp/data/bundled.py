"""Classification data sets that are files of scikit-learn.

The files are read here, because importing scikit-learn takes longer than a short sweep.
"""

import gzip
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table

_CELLS = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
    "concave points", "symmetry", "fractal dimension",
)  # fmt: skip


class _File(NamedTuple):
    """A file whose lines have the inputs and the number of the class, after ``n_header`` lines."""

    name: str
    n_header: int
    inputs: Sequence[str]
    classes: Sequence[int | str]


_FILES = {
    "iris": _File(
        "iris.csv",
        1,
        [f"{part} {size} (cm)" for part in ("sepal", "petal") for size in ("length", "width")],
        ["setosa", "versicolor", "virginica"],
    ),
    "digits": _File(
        "digits.csv.gz", 0, [f"pixel_{i}_{j}" for i in range(8) for j in range(8)], range(10)
    ),
    "breast_cancer": _File(
        "breast_cancer.csv",
        1,
        [text.format(one) for text in ("mean {}", "{} error", "worst {}") for one in _CELLS],
        ["malignant", "benign"],
    ),
}


def _load(config: DataConfig) -> Table:
    """The data set with its class as one-hot targets."""
    file, scikit_learn = _FILES[config.name], find_spec("sklearn")
    assert scikit_learn is not None
    assert scikit_learn.origin is not None
    content = (Path(scikit_learn.origin).parent / "datasets" / "data" / file.name).read_bytes()
    text = (gzip.decompress(content) if file.name.endswith(".gz") else content).decode()
    values = np.loadtxt(text.splitlines()[file.n_header :], delimiter=",")
    X, classes = np.ascontiguousarray(values[:, :-1]), values[:, -1].astype(int)
    targets, labels = tuple(map(str, file.classes)), tuple(file.classes)
    return Table(
        X, np.eye(len(targets))[classes], tuple(file.inputs), targets, is_classification=True,
        is_one_hot=True, labels=labels,
    )  # fmt: skip


for _name in _FILES:
    DATA_SOURCES.register(DataSource(_name, DataConfig, _load))
