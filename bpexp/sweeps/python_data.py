"""Data that are passed to ``bpexp.train`` and ``bpexp.sweep`` as arrays or tables of pandas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpexp.data import python_tables
from bpexp.fields.checks import ConfigError
from bpexp.tracking import output_directory

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path("outputs", "data")
"""Where the data of sweeps are written."""
TASKS = {"classifier": "classification", "regressor": "regression"}
"""What ``model`` says about numbers as targets."""


@dataclass(frozen=True, eq=False)
class PythonData:
    """A table, and the settings that were passed with it.

    Attributes:
        frame: Inputs and targets.
        targets: Names of the target columns.
        others: The settings without ``data``.
    """

    frame: "pd.DataFrame"
    targets: tuple[str, ...]
    others: Mapping[str, Any]

    def settings(self, path: str) -> dict[str, Any]:
        """The settings of a run or sweep on the table, which ``path`` stands for."""
        task = TASKS.get(str(self.others.get("model")))
        chosen = {"data__task": task} if task else {}
        return {
            "data": "file", "data__path": path, "data__target": list(self.targets),
            **chosen, **self.others,
        }  # fmt: skip


def take(X: Any, y: Any, target: Any, settings: Mapping[str, Any]) -> PythonData | None:
    """The data that were passed; None if they are a data set of the configuration.

    Raises:
        ConfigError: The data are passed twice, or cannot be used.
    """
    data = settings.get("data")
    is_pair = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str)
    is_table = hasattr(data, "columns")
    is_one_value = data is None or isinstance(data, str | Mapping) or is_pair or is_table
    if not is_one_value and not _are_names(data):
        raise ConfigError(
            "data must be the name of a data set, a table of pandas, or a tuple (X, y), got "
            f"{type(data).__name__}."
        )
    if X is None and y is None and not is_pair and not is_table:
        if target is not None:
            raise ConfigError("target must go with a table of pandas; for a file use data__target.")
        return None
    if data is not None and X is not None:
        raise ConfigError("data must be left out if X is given.")
    if is_pair and isinstance(data, tuple):
        X, y = data
    elif data is not None:
        X = data
    if X is None:
        raise ConfigError("X must be given with y.")
    others = {key: value for key, value in settings.items() if key != "data"}
    for key in ("data__path", "data__target"):
        if key in others:
            raise ConfigError(f"{key} must be left out for data that are passed from Python.")
    frame, targets = python_tables.joined(X, y, target)
    return PythonData(frame, targets, others)


def _are_names(data: Any) -> bool:
    """Whether the value of ``data`` is a list of data sets, which a sweep takes."""
    return isinstance(data, Iterable) and all(isinstance(one, str | Mapping) for one in data)


def save(frame: "pd.DataFrame") -> str:
    """Write a table to a file that is named after its content, and return its path.

    Raises:
        ConfigError: A column mixes types, or the file cannot be written.
    """
    path = FOLDER / f"{python_tables.digest(frame)[:12]}.parquet"
    try:
        output_directory.create(FOLDER)
        frame.to_parquet(path, index=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The data cannot be written to {path}: {reason}") from error
    return str(path)
