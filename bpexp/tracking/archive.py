"""Reads the runs and artifacts of one experiment, also from a copy of an SQLite store."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.data import DataConfig, Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.tracking import artifact_uris, lookup
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import EVERYTHING, Parts, Query, RunReader, StoredRun
from bpexp.tracking.retry import RetryPolicy, TrackingError, storage_errors
from bpexp.tracking.store import Store, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo

ALL = Query()


class Archive:
    """The runs of one experiment, with their artifacts.

    Attributes:
        reader: Reads the store.
        store: The store. Artifacts in its folder are read there, also if the database names another
            folder because it was copied.
        experiment_id: MLflow's id of the experiment.
    """

    def __init__(self, reader: RunReader, store: Store, experiment_id: str) -> None:
        self.reader, self.store, self.experiment_id = reader, store, experiment_id

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client on the store, for what the reader cannot do.

        Raises:
            ConfigError: The store cannot be opened.
        """
        return self.reader.client or connect(self.store)

    def get(self, run_id: str) -> StoredRun | None:
        """The run with a complete id; None if the store does not have it."""
        return next(iter(self.reader.get([run_id])), None)

    def search(self, query: Query = ALL, parts: Parts = EVERYTHING) -> list[StoredRun]:
        """The runs that a query selects, the newest first.

        Raises:
            ConfigError: The filter of the query is invalid.
        """
        return list(self.reader.search(self.experiment_id, query, parts))

    def is_local(self, run: StoredRun) -> bool:
        """Whether the artifacts of a run are files of this machine."""
        return _named_folder(run) is not None

    def file(self, run: StoredRun, name: str) -> bytes:
        """The content of an artifact.

        Raises:
            ConfigError: The run does not have the artifact, or a local file cannot be read.
            TrackingError: The store does not answer.
        """
        missing = ConfigError(f"Run {run.run_id[:8]} has no artifact {name}.")
        try:
            for folder in self._local_folders(run):
                # Unbuffered: the file is read at once.
                with suppress(FileNotFoundError), open(f"{folder}/{name}", "rb", 0) as file:
                    return file.read()
            if _named_folder(run) is not None:
                raise missing
            return self._download(run, name)
        except TrackingError:
            if name in self.files(run):
                raise
            raise missing from None
        except OSError as error:
            raise missing from error

    def file_if_any(self, run: StoredRun, name: str) -> bytes | None:
        """The content of an artifact, or None if the run does not have it."""
        folders = self._local_folders(run)
        is_local = any(os.path.isfile(os.path.join(folder, name)) for folder in folders)
        if not is_local and name not in self.files(run):
            return None
        return self.file(run, name)

    def files(self, run: StoredRun) -> Mapping[str, int | None]:
        """The size in bytes of each artifact of a run by its name; None for a folder."""
        for folder in self._local_folders(run):
            if os.path.isdir(folder):
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
                return {e.name: None if e.is_dir() else e.stat().st_size for e in entries}
        if _named_folder(run) is not None:
            return {}
        listed = RetryPolicy().call(_list, self.client, run.run_id)
        return {file.path: None if file.is_dir else file.file_size for file in listed}

    def load_data(self, config: DataConfig) -> Dataset:
        """The data set of a stored run.

        Raises:
            ConfigError: The data cannot be read or do not fit the settings.
        """
        return load(config)

    def _download(self, run: StoredRun, name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return RetryPolicy().call(_download, self.client, run.run_id, name, folder)

    def _local_folders(self, run: StoredRun) -> Iterator[str]:
        """Where the artifacts may be on this machine; the first has precedence.

        The database of a copy names the folder of the original. Texts, because thousands of runs
        are checked, and pathlib takes longer to make a path than the system to read a file.
        """
        if self.store.artifacts:
            yield f"{self.store.artifacts}/{run.run_id}/artifacts"
        named = _named_folder(run)
        if named is not None:
            yield str(named)


def _list(client: "MlflowClient", run_id: str) -> "list[FileInfo]":
    with storage_errors():
        return client.list_artifacts(run_id)


def _download(client: "MlflowClient", run_id: str, name: str, folder: str) -> bytes:
    with storage_errors():
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()


def _named_folder(run: StoredRun) -> Path | None:
    """The folder that the store names, if it is on this machine."""
    return artifact_uris.local_folder(run.artifact_uri) if run.artifact_uri else None


def open_archive(store: Store, experiment: str) -> Archive:
    """Open an experiment for reading.

    Raises:
        ConfigError: The store cannot be opened, or the experiment does not exist.
    """
    reader = open_reader(store)
    return Archive(reader, store, lookup.experiment_id(reader, experiment))
