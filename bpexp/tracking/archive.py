"""Stored runs as plain values, with their files, wherever the store was copied to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.checks import ConfigError
from bpexp.tracking import read
from bpexp.tracking.patience import Patience
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
        self._client, self._store, self._experiment = client, store, experiment

    def find(self, wanted: str) -> StoredRun:
        """The run of that id, beginning of an id, or name. Raises ConfigError."""
        return _value(read.find(self._client, self._experiment, wanted))

    def search(self, filter_string: str = "", sweep: str | None = None) -> list[StoredRun]:
        """Runs, the newest first; of a sweep also those linked to it. Raises ConfigError."""
        found = read.search(self._client, self._experiment, filter_string, sweep)
        return [_value(run) for run in found]

    def file(self, run_id: str, name: str) -> bytes:
        """A run's artifact. Raises ConfigError where it is not there."""
        from mlflow.exceptions import MlflowException

        try:
            return self._path(run_id, name).read_bytes()
        except (OSError, MlflowException) as error:
            raise ConfigError(
                f"RUN must have its artifacts, got none named {name} of run {run_id[:8]}."
            ) from error

    def _path(self, run_id: str, name: str) -> Path:
        if self._store.artifacts is not None:
            # A copied store's database still names the folder it was copied from.
            beside = self._store.artifacts / run_id / "artifacts" / name
            if beside.is_file():
                return beside
        fetched = Patience().attempt(lambda: self._client.download_artifacts(run_id, name))
        return Path(fetched)


def open_archive(store: Store, experiment: str) -> Archive:
    """Raises ConfigError where the store cannot be opened."""
    return Archive(connect(store), store, experiment)


def _value(run: "Run") -> StoredRun:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return StoredRun(
        run.info.run_id,
        run.info.run_name or "",
        run.info.status,
        run.data.tags,
        run.data.metrics,
        inputs[0].dataset.digest if inputs else None,
    )
