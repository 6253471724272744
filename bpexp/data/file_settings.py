"""The settings of ``data=file``, a user's table.

Every command has the settings, but few read a table. The code that reads tables needs pandas, so
that it is imported when a table is read.
"""

import ctypes
from dataclasses import dataclass

from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource, Table
from bpexp.fields import REQUIRED, setting
from bpexp.fields.checks import Boolean, Names, OneOf, Optional, Separator, Text

TASKS = ("regression", "classification")
"""The values of ``data.task``."""
MISSING = ("refuse", "drop", "median")
"""The values of ``data.missing``."""
CATEGORICAL = ("refuse", "onehot")
"""The values of ``data.categorical``."""
LARGE_TABLE = 2**24
"""Bytes of inputs above which reading them leaves much free memory in this process."""


@dataclass(frozen=True, kw_only=True)
class FileConfig(DataConfig):
    """Settings of ``file``; columns that are not targets are inputs."""

    # Errors of a scaled target are reported in the target's own unit.
    prepares = DataConfig.prepares | {"inputs", "drop", "categorical", "scale_target"}
    selects = DataConfig.selects | {
        "test_path", "separator", "decimal", "header", "missing_values", "missing",
    }  # fmt: skip

    path: str = setting(
        Text(),
        REQUIRED,
        "a .csv, .tsv, .txt, .data (also .gz, .bz2, .xz, .zip), .parquet or .npz file",
    )
    test_path: str | None = setting(
        Optional(Text()), None, "a second file whose rows are the test rows"
    )
    target: tuple[str, ...] = setting(Names(), REQUIRED, "target column, or a list of columns")
    task: str | None = setting(
        Optional(OneOf(TASKS)), None, "null: classification if the target holds texts or booleans"
    )
    inputs: tuple[str, ...] | None = setting(
        Optional(Names()), None, "input columns; null: all that are not targets"
    )
    drop: tuple[str, ...] | None = setting(Optional(Names()), None, "columns to leave out")
    separator: str | None = setting(
        Optional(Separator()),
        None,
        "character between the cells of a text file; null: found in its first line",
    )
    decimal: str = setting(OneOf((".", ",")), ".", "decimal mark of a text file")
    header: bool = setting(
        Boolean(), True, "whether a text file starts with names; else they are 0, 1, 2, ..."
    )
    missing_values: tuple[str, ...] | None = setting(
        Optional(Names("text")), None, "texts that mean a missing value, beside those of pandas"
    )
    missing: str = setting(
        OneOf(MISSING), "refuse", "missing values: refuse; drop the row; median of training rows"
    )
    categorical: str = setting(
        OneOf(CATEGORICAL), "refuse", "input columns of texts; onehot: an input for each text"
    )
    standardize: bool = setting(
        Boolean(), True, "scale inputs to mean 0 and deviation 1 of the training rows"
    )
    stratify: bool = setting(
        Boolean(), True, "keep the share of each class in test and validation rows; folds always do"
    )
    scale_target: bool = setting(
        Boolean(), True, "scale targets of regressions likewise, if model.output=identity"
    )


def _load(config: FileConfig) -> Table:
    from bpexp.data import tabular

    table = tabular.load(config)
    if table.X.nbytes > LARGE_TABLE:
        _return_free_memory()
    return table


def _return_free_memory() -> None:
    """Let the C library return freed memory: pandas leaves as much as the table takes.

    Only glibc keeps so much, and has the function.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


DATA_SOURCES.register(DataSource("file", FileConfig, _load))
