"""The data sets by name, and how they are loaded.

A new data set is a function from its settings to a ``Table``, registered under a name:

>>> def ramp(config: DataConfig) -> Table:
...     X = np.linspace(0.0, 1.0, 5)[:, None]
...     return Table(X, X * X, ("x",), ("y",), is_classification=False)
>>> source = DataSource("ramp", DataConfig, ramp)
>>> load(DataConfig(name="ramp", test_fraction=0.4), {"ramp": source}).X.shape
(3, 1)
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.data import preparation, splits, target_scaling
from bpexp.data.dataset import Dataset, RowNumbers, Samples, compute_digest
from bpexp.fields import REQUIRED, Registry, setting, settings_of
from bpexp.fields.checks import Boolean, ConfigError, Integer, Optional, Real, Text
from bpexp.typing import Array


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Settings of every data set.

    What a setting changes decides which results can be compared, see ``runs.comparability``. The
    settings that are not named here make other data.

    Attributes:
        prepares: Names of the settings that change what the network receives of a row, but neither
            the rows nor their targets in the units of the results.
        selects: Names of the settings that change which rows of the same data there are, and which
            of them are training, validation and test rows.
        rescales: Names of the settings that change the unit of the targets, and so of errors and
            losses.
    """

    prepares: ClassVar[frozenset[str]] = frozenset({"standardize"})
    selects: ClassVar[frozenset[str]] = frozenset({
        "test_fraction", "validation_fraction", "split_seed", "stratify", "folds", "fold",
    })  # fmt: skip
    rescales: ClassVar[frozenset[str]] = frozenset()

    name: str = setting(Text(), REQUIRED, "name of the data set")
    test_fraction: float = setting(
        Real(0.0, below=1.0), 0.0, "fraction of rows for testing, never used in training"
    )
    validation_fraction: float = setting(
        Real(0.0, below=1.0), 0.0, "fraction of rows for early stopping and model selection"
    )
    split_seed: int = setting(
        Integer(0, 2**32 - 1), 0, "seed of the split into training, validation and test rows"
    )
    stratify: bool = setting(
        Boolean(),
        False,
        "keep the share of each class in test and validation rows; folds always do",
    )
    folds: int | None = setting(
        Optional(Integer(2)),
        None,
        "number of folds of a cross-validation; each run validates on one",
    )
    fold: int | None = setting(
        Optional(Integer(0)), None, "the fold of a run, from 0; null: all folds in a sweep"
    )
    standardize: bool = setting(
        Boolean(), False, "scale inputs to mean 0 and deviation 1 of the training rows"
    )


class Table(NamedTuple):
    """All rows of a data set, before they are split.

    Attributes:
        X: Inputs, (n_rows, n_columns), float64.
        Y: Targets, (n_rows, n_outputs), float64.
        inputs: Names of the columns of X.
        targets: Names of the columns of Y.
        is_classification: Whether targets are classes or bits, so that accuracy applies.
        parts: The numbers of training, validation and test rows, which follow each other, if
            the data set defines its split itself.
        is_one_hot: Whether the outputs are the classes of one label. Otherwise the outputs of a
            classification are independent binary labels.
        label_name: Name of the column that one-hot targets were made of.
        labels: The class of each one-hot target; by default the names of the targets.
        texts: The texts of each input column of texts; X has their positions, and NaN where a
            cell is missing.
        rows: The number of each row in its file, counted from 1; None for 1, 2, 3, ...
        n_test: The number of last rows that are test rows, if the user's files say so.
    """

    X: Array
    Y: Array
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    is_classification: bool
    parts: tuple[int, int, int] | None = None
    is_one_hot: bool = False
    label_name: str = "class"
    labels: tuple[Any, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    rows: NDArray[np.int64] | None = None
    n_test: int = 0


@dataclass(frozen=True)
class DataSource:
    """A data set.

    Attributes:
        name: The value of ``data``.
        config: The dataclass of its settings. If it has a setting ``path``, the file is read
            again when it has changed.
        load: From its settings to its table. Raises ConfigError.
    """

    name: str
    config: type[DataConfig]
    load: Callable[[Any], Table]


DATA_SOURCES: Registry[DataSource] = Registry("data set")


def load(config: DataConfig, sources: Mapping[str, DataSource] = DATA_SOURCES) -> Dataset:
    """Load, split and standardize a data set; results are cached.

    Raises:
        ConfigError: The data cannot be read or do not fit the settings.
    """
    return _load(config, sources[config.name], _file_version(config))


def _file_version(config: DataConfig) -> tuple[int, ...]:
    """A part of the cache key that changes with the content of the data files."""
    version: tuple[int, ...] = ()
    for path in (getattr(config, "path", None), getattr(config, "test_path", None)):
        if path is not None:
            try:
                stat = os.stat(os.path.expanduser(path))
            except (OSError, ValueError):
                continue
            version += stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
    return version


COMMON_DEFAULTS = {s.name: s.default for s in settings_of(DataConfig) if s.name != "name"}
"""The settings that every data set has, on which its table does not depend."""


@lru_cache(maxsize=4)
def _table(config: DataConfig, source: DataSource, file_version: tuple[int, ...]) -> Table:
    """The table, for a configuration with ``COMMON_DEFAULTS``: many splits read a file once."""
    return source.load(config)


def _split(table: Table, config: DataConfig) -> splits.RowSplit:
    """Training, validation and test rows. Raises ConfigError."""
    n_rows = len(table.X)
    if table.parts is not None:
        return splits.RowSplit(*np.split(np.arange(n_rows), np.cumsum(table.parts)[:2]))
    n_known, classes = n_rows - table.n_test, _classes(table)
    split = splits.random(
        n_known, config.test_fraction, config.validation_fraction, config.split_seed,
        classes if config.stratify else None,
    )  # fmt: skip
    if config.folds is not None:
        if config.fold is None:
            raise ConfigError(
                f"data.folds={config.folds} makes a run for each fold: start a sweep (with -m, or "
                "bpexp.sweep), or choose a fold with data.fold=0."
            )
        seed, training = config.split_seed, split.training
        validation = splits.fold(training, config.folds, config.fold, seed, classes)
        split = split._replace(training=np.setdiff1d(training, validation), validation=validation)
    return split._replace(test=np.concatenate([split.test, np.arange(n_known, n_rows)]))


def _classes(table: Table) -> splits.ClassCodes | None:
    """The class of each row, (n_rows,); None for a regression or several labels in a row."""
    if not table.is_classification or not (table.is_one_hot or table.Y.shape[1] == 1):
        return None
    values = table.Y.argmax(axis=1) if table.is_one_hot else table.Y[:, 0]
    _, classes = np.unique(values, return_inverse=True)
    return classes


@lru_cache(maxsize=64)
def _load(config: DataConfig, source: DataSource, file_version: tuple[int, ...]) -> Dataset:
    table = _table(replace(config, **COMMON_DEFAULTS), source, file_version)
    X, Y = table.X, table.Y
    split = _split(table, config)
    fitted = preparation.fit(
        X, table.inputs, table.texts, split.training, standardize=config.standardize,
        fill_missing=getattr(config, "missing", "") == "median",
    )  # fmt: skip
    # Each part is transformed alone: all of them at once would be one more copy of the table.
    training, validation, test = (
        Samples(fitted.transform(splits.rows_of(X, part)), splits.rows_of(Y, part))
        for part in split
    )
    for array in (array for part in (training, validation, test) for array in part):
        # All runs of a sweep share the data set, and the digest is not computed again.
        array.setflags(write=False)
    # Files only: their tables can change, and identities of other data sets stay as they were.
    is_scaled_file = config.standardize and hasattr(config, "path")
    scaling = (fitted.mean, fitted.scale) if is_scaled_file else ()
    digest = compute_digest(training, validation, test, scaling)
    scaling_of_targets = None
    if not table.is_classification and getattr(config, "scale_target", False):
        scaling_of_targets = target_scaling.fit(training.Y)
    numbers = np.arange(1, len(X) + 1) if table.rows is None else table.rows
    return Dataset(
        name=config.name,
        X=training.X, Y=training.Y,
        X_validation=validation.X, Y_validation=validation.Y,
        X_test=test.X, Y_test=test.Y,
        inputs=fitted.features, targets=table.targets, digest=digest,
        is_classification=table.is_classification, is_one_hot=table.is_one_hot,
        label_name=table.label_name if table.is_one_hot else "",
        labels=(table.labels or table.targets) if table.is_one_hot else (),
        rows=RowNumbers(*(numbers[part] for part in split)),
        input_mean=fitted.mean if config.standardize else None,
        input_scale=fitted.scale if config.standardize else None,
        preparation=fitted, target_scaling=scaling_of_targets,
    )  # fmt: skip
