"""Stored runs as plain values, with their files, wherever the store was copied to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.tracking import read
from bpexp.tracking.retry import Patience
from bpexp.tracking.store import Store, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it; ``data`` is its data set's digest as far as MLflow keeps it."""

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    data: str | None

    @property
    def parent(self) -> str | None:
        """The sweep it belongs to."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for a sweep."""
        return self.tags.get("bpexp.kind") == "sweep"

    @property
    def label(self) -> str:
        """Its name and the beginning of its id, for people."""
        return f"{self.name} ({self.run_id[:8]})"


class Archive:
    """Reads one experiment of a store."""

    def __init__(self, client: "MlflowClient", store: Store, experiment: str) -> None:
        self.client, self._store, self._experiment = client, store, experiment

    def find(self, wanted: str) -> StoredRun:
        """The run of that id, beginning of an id, or name. Raises ConfigError."""
        return stored(read.find(self.client, self._experiment, wanted))

    def search(self, filter_string: str = "", sweep: str | None = None) -> list[StoredRun]:
        """Runs, the newest first; of a sweep also those linked to it. Raises ConfigError."""
        found = read.search(self.client, self._experiment, filter_string, sweep)
        return [stored(run) for run in found]

    def file(self, run_id: str, name: str) -> bytes:
        """A run's artifact. Raises ConfigError where it is not there."""
        from mlflow.exceptions import MlflowException

        try:
            return self._path(run_id, name).read_bytes()
        except (OSError, MlflowException) as error:
            raise ConfigError(
                f"RUN must have its artifacts, got none named {name} of run {run_id[:8]}."
            ) from error

    def file_if_any(self, run_id: str, name: str) -> bytes | None:
        """A run's artifact, or None where it was never written."""
        listed = Patience().attempt(lambda: self.client.list_artifacts(run_id))
        beside = self._beside(run_id, name)
        if (beside is None or not beside.is_file()) and name not in {f.path for f in listed}:
            return None
        return self.file(run_id, name)

    def _beside(self, run_id: str, name: str) -> Path | None:
        """Where the file is if the store was copied: its database still names the old folder."""
        return self._store.artifacts and self._store.artifacts / run_id / "artifacts" / name

    def _path(self, run_id: str, name: str) -> Path:
        beside = self._beside(run_id, name)
        if beside is not None and beside.is_file():
            return beside
        fetched = Patience().attempt(lambda: self.client.download_artifacts(run_id, name))
        return Path(fetched)


def open_archive(store: Store, experiment: str) -> Archive:
    """Raises ConfigError where the store cannot be opened."""
    return Archive(connect(store), store, experiment)


def stored(run: "Run") -> StoredRun:
    """A run as MLflow has it, as a plain value."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return StoredRun(
        run.info.run_id,
        run.info.run_name or "",
        run.info.status,
        run.data.tags,
        read.metrics(run),
        inputs[0].dataset.digest if inputs else None,
    )
