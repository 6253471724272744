"""Reads the losses and artifacts of the runs of a report, after checking them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.runs import predictions_file
from bpexp.sweeps import integrity
from bpexp.tracking import stored_results
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.unreadable import UnreadableRunError
from bpexp.typing import Array

_RESULT_FILES = {"losses.npz", "weights.npz", *predictions_file.NAMES}

LossesAt = Callable[[Array, StoredRun, Archive], Array]
"""Reads the losses of a run at some epochs, as ``stored_results.losses_at``."""


@dataclass(frozen=True)
class RunFiles:
    """The ``report.ArtifactReader`` of runs in a store; each run is checked once."""

    archive: Archive
    _checked: dict[str, StoredRun] = field(default_factory=dict, init=False)

    def losses(self, rows: pd.DataFrame, epochs: Array) -> Array:
        """Losses of runs at the given epochs, (n_runs, n_epochs); nan after the end of a run.

        Raises:
            ConfigError: The artifacts of a run are not those that were written.
        """
        return self._of_each(rows, epochs, stored_results.losses_at)

    def validation_losses(self, rows: pd.DataFrame, epochs: Array) -> Array:
        """Validation losses of runs at the given epochs, (n_runs, n_epochs).

        Between two evaluations they are interpolated; after the last one it stays. Those of a run
        whose artifacts were deleted are nan.

        Raises:
            ConfigError: The artifacts of a run are not those that were written.
        """
        return self._of_each(rows, epochs, _validation_losses)

    def artifact(self, row: Any, name: str) -> bytes | None:
        """The content of an artifact of a run; None if it does not exist.

        Raises:
            ConfigError: The artifacts of the run are not those that were written.
        """
        found = self._checked_runs([row["run_id"]])
        return self.archive.file_if_any(found[0], name) if found else None

    def data(self, row: Any) -> tuple[TrainConfig, Dataset] | None:
        """The configuration and the data of a run.

        None if the run has no artifacts, or if the data are missing or have changed.

        Raises:
            ConfigError: The artifacts of the run are not those that were written.
        """
        for run in self._checked_runs([row["run_id"]]):
            with suppress(UnreadableRunError):
                return stored_results.config_of(run, self.archive)
        return None

    def _of_each(self, rows: pd.DataFrame, epochs: Array, losses_at: LossesAt) -> Array:
        """Losses of runs at the given epochs; nan for a run that is not in the store."""
        runs = self._checked_runs(list(rows["run_id"]))
        losses = self.archive.for_each(runs, lambda run: losses_at(epochs, run, self.archive))
        found = dict(zip((run.run_id for run in runs), losses, strict=True))
        unknown = np.full(len(epochs), np.nan)
        return np.array([found.get(run_id, unknown) for run_id in rows["run_id"]])

    def _checked_runs(self, run_ids: Sequence[str]) -> Sequence[StoredRun]:
        """The stored runs with some ids, after comparing their artifacts with their digests.

        A run whose artifacts were all deleted is reported with its metrics.
        """
        new = [run_id for run_id in run_ids if run_id not in self._checked]
        runs = self.archive.reader.get(new, integrity.TO_CHECK)
        finished = [run for run in runs if run.status == "FINISHED"]
        kept = [run for run in finished if _RESULT_FILES & self.archive.files(run).keys()]
        problems = integrity.artifact_problems(kept, self.archive)
        for run in kept:
            if run.run_id in problems:
                integrity.refuse(self.archive.get(run.run_id) or run, problems[run.run_id])
        self._checked.update((run.run_id, run) for run in runs)
        return [self._checked[run_id] for run_id in run_ids if run_id in self._checked]


def _validation_losses(epochs: Array, run: StoredRun, archive: Archive) -> Array:
    if archive.file_if_any(run, "validation.npz") is None:
        return np.full(len(epochs), np.nan)
    evaluated = stored_results.validation_of(run, archive)
    return np.interp(epochs, evaluated.epochs, evaluated.losses)
