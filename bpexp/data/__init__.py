"""Data sets: from their settings to arrays that are split and standardized.

>>> xor = load(DATA_SOURCES["xor"].config(name="xor"))
>>> xor.X.tolist(), xor.Y.tolist()
([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]])
"""

# These modules register their data sets when they are imported.
from bpexp.data import bundled, file_settings, proben1, synthetic
from bpexp.data.dataset import Dataset
from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table, load

__all__ = [
    "DATA_SOURCES", "DataConfig", "DataSource", "Dataset", "Table", "bundled", "file_settings",
    "load", "proben1", "synthetic",
]  # fmt: skip
