"""Reads the runs and artifacts of one experiment, also from a copy of an SQLite store."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking import lookup, read
from bpexp.tracking.retry import RetryPolicy, TrackingError
from bpexp.tracking.store import Store, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class StoredRun:
    """A run as it is in the store.

    Attributes:
        run_id: MLflow's id of the run.
        name: The name.
        status: MLflow's status, such as FINISHED.
        tags: Tags by key.
        metrics: The last value of each metric, by name.
        data: The digest of the data set, as MLflow stores it; None if there is no data set.
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    data: str | None

    @property
    def parent(self) -> str | None:
        """The id of the sweep that trained the run."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def is_sweep(self) -> bool:
        """Whether this is the parent run of a sweep."""
        return self.tags.get(run_tags.KIND) == run_tags.SWEEP_KIND

    @property
    def label(self) -> str:
        """The name and the first digits of the id, for messages."""
        return f"{self.name} ({self.run_id[:8]})"


class Archive:
    """The runs of one experiment, with their artifacts.

    Args:
        client: MLflow's client on the store.
        store: The store. Artifacts in its folder are read there, also if the database names another
            folder because it was copied.
        experiment: Name of the experiment.
    """

    def __init__(self, client: "MlflowClient", store: Store, experiment: str) -> None:
        self.client, self._store, self._experiment = client, store, experiment

    def find(self, wanted: str) -> StoredRun:
        """Find a run by its id, the start of its id, or its name.

        Raises:
            ConfigError: Not exactly one run matches.
        """
        return stored(lookup.find_in_experiment(self.client, self._experiment, wanted))

    def search(self, filter_string: str = "", sweep: str | None = None) -> list[StoredRun]:
        """The runs that match an MLflow filter, the newest first.

        Args:
            filter_string: MLflow's filter; empty for all runs.
            sweep: Only runs of this sweep, including those that it reuses from other sweeps.

        Raises:
            ConfigError: The experiment or the sweep does not exist, or the filter is invalid.
        """
        found = lookup.search(self.client, self._experiment, filter_string, sweep)
        return [stored(run) for run in found]

    def file(self, run_id: str, name: str) -> bytes:
        """The content of an artifact.

        Raises:
            ConfigError: The run does not have the artifact, or a local file cannot be read.
            TrackingError: The store does not answer.
        """
        copied = self._path_beside_store(run_id, name)
        missing = ConfigError(f"Run {run_id[:8]} has no artifact {name}.")
        try:
            if copied is not None and copied.is_file():
                return copied.read_bytes()
            with tempfile.TemporaryDirectory() as folder:
                download = partial(self.client.download_artifacts, run_id, name, folder)
                return Path(RetryPolicy().call(download)).read_bytes()
        except TrackingError:
            if name in self._listed(run_id):
                raise
            raise missing from None
        except OSError as error:
            raise missing from error

    def _listed(self, run_id: str) -> set[str]:
        """The names of the artifacts of a run."""
        listed = RetryPolicy().call(self.client.list_artifacts, run_id)
        return {file.path for file in listed}

    def file_if_any(self, run_id: str, name: str) -> bytes | None:
        """The content of an artifact, or None if the run does not have it."""
        copied = self._path_beside_store(run_id, name)
        if (copied is None or not copied.is_file()) and name not in self._listed(run_id):
            return None
        return self.file(run_id, name)

    def _path_beside_store(self, run_id: str, name: str) -> Path | None:
        """The path in the store's own folder; the database of a copy names the original folder."""
        return self._store.artifacts and self._store.artifacts / run_id / "artifacts" / name


def open_archive(store: Store, experiment: str) -> Archive:
    """Open an experiment for reading.

    Raises:
        ConfigError: The store cannot be opened.
    """
    return Archive(connect(store), store, experiment)


def stored(run: "Run") -> StoredRun:
    """MLflow's run as a plain value."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return StoredRun(
        run.info.run_id,
        run.info.run_name or "",
        run.info.status,
        run.data.tags,
        read.metrics(run),
        inputs[0].dataset.digest if inputs else None,
    )
