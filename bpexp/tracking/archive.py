"""Reads the runs and artifacts of one experiment, also from a copy of an SQLite store."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bpexp.data import DataConfig, Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.guards import regular_file
from bpexp.tracking import artifact_uris, lookup
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import EVERYTHING, Parts, Query, RunReader, StoredRun
from bpexp.tracking.retry import RetryPolicy, TrackingError, artifact_store_errors
from bpexp.tracking.store import Store, connect
from bpexp.tracking.unreadable import HiddenFileError, unreadable_run_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo

T = TypeVar("T")

ALL = Query()
_HIDDEN = (errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Errors of a file that say nothing about its content."""
_THREADS = 8
"""Runs whose artifacts are read from a server at the same time."""


class Archive:
    """The runs of one experiment, with their artifacts.

    Attributes:
        reader: Reads the store.
        store: The store. Artifacts in its folder are read there, also if the database names another
            folder because it was copied; those of the store that it was copied from are not.
        experiment_id: MLflow's id of the experiment.
    """

    def __init__(self, reader: RunReader, store: Store, experiment_id: str) -> None:
        self.reader, self.store, self.experiment_id = reader, store, experiment_id
        self._copied_from: dict[str, bool] = {}

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

    @property
    def can_be_opened_again(self) -> bool:
        """Whether another process can open the archive by its store without importing MLflow."""
        return self.reader.client is None

    def is_local(self, run: StoredRun) -> bool:
        """Whether the artifacts of a run are files of this machine."""
        # Most are below one folder, which is found out once: to parse an address takes longer than
        # to read a file.
        above, _, _ = run.artifact_uri.partition(run.run_id)
        return _is_local(above or run.artifact_uri)

    def why_not_written(self, run: StoredRun) -> str:
        """Why nothing must be added to the artifacts of a run, as a sentence; "" if it may be.

        The database of a copied or foreign store may name any folder of this machine.
        """
        named = _named_folder(run)
        if named is None or self.store.contains(named):
            return ""
        own = os.path.isdir(f"{self.store.artifacts}/{run.run_id}")
        is_moved = own or not named.exists() or self.store.is_copy_of(named.parent.parent)
        advice = f" Type: {self.store.relocate_command}" if is_moved else ""
        return (
            f"The artifacts of {run.label} are in {named}, outside the folder of the store, where "
            f"nothing is written.{advice}"
        )

    def for_each(self, runs: Sequence[StoredRun], action: Callable[[StoredRun], T]) -> list[T]:
        """The results of an action that reads artifacts of a run, for each of some runs.

        Artifacts on a server are read in threads. Those of this machine are not, because an action
        is then mostly Python code, which runs in one thread at a time.
        """
        if all(self.is_local(run) for run in runs):
            return [action(run) for run in runs]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(action, runs))

    @unreadable_run_errors()
    def file(self, run: StoredRun, name: str) -> bytes:
        """The content of an artifact.

        Raises:
            UnreadableRunError: The run does not have the artifact, or a local one is not a regular
                file or is larger than a quarter of the memory.
            TrackingError: The store does not answer, a local file must not be read, or is only in
                the folder of the store that this one was copied from.
        """
        try:
            for folder in self._local_folders(run):
                try:
                    return regular_file.content(f"{folder}/{name}")
                except FileNotFoundError:
                    continue
            named = _named_folder(run)
            if named is None:
                return self._download(run, name)
            self._check_is_copied(run)
            raise missing(run, name)
        except TrackingError:
            # Each storage has another error for an artifact that does not exist.
            if name in self.files(run):
                raise
            raise missing(run, name) from None
        except NotADirectoryError as error:
            raise missing(run, name) from error
        except OSError as error:
            sentence = f"{name} of run {run.short_id} cannot be read: {error.strerror}."
            # A folder in place of a file is an alteration; who lacks a permission does not know.
            is_hidden = error.errno in _HIDDEN
            raise (HiddenFileError if is_hidden else ConfigError)(sentence) from error

    def file_if_any(self, run: StoredRun, name: str) -> bytes | None:
        """The content of an artifact, or None if the run does not have it."""
        folders = self._local_folders(run)
        is_local = any(os.path.isfile(os.path.join(folder, name)) for folder in folders)
        if not is_local and name not in self.files(run):
            return None
        return self.file(run, name)

    def files(self, run: StoredRun) -> Mapping[str, int | None]:
        """The size in bytes of each artifact of a run by its name; None for a folder.

        Raises:
            TrackingError: The store does not answer, or as ``file``.
        """
        for folder in self._local_folders(run):
            try:
                names = sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise HiddenFileError(
                    f"The artifacts of run {run.short_id} cannot be read: {error.strerror}."
                ) from error
            return {name: _size(os.path.join(folder, name)) for name in names}
        if _named_folder(run) is not None:
            self._check_is_copied(run)
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
        if named is not None and not self._is_of_another_store(run):
            yield str(named)

    def _check_is_copied(self, run: StoredRun) -> None:
        """Raise TrackingError if the artifacts of a run are only in the store that was copied."""
        named = _named_folder(run)
        if named is not None and self._is_of_another_store(run) and named.is_dir():
            raise TrackingError(
                f"The artifacts of {run.label} are not in {self.store.artifacts}: only the "
                f"database was copied. Copy the folder {named.parent.parent} to it, too."
            )

    def _is_of_another_store(self, run: StoredRun) -> bool:
        """Whether the database names the folder of the store that it was copied from."""
        # Most runs have the same, which is looked at once, see ``is_local``.
        above, _, _ = run.artifact_uri.partition(run.run_id)
        if above not in self._copied_from:
            named = artifact_uris.local_folder(above) if above else None
            self._copied_from[above] = named is not None and self.store.is_copy_of(named)
        return self._copied_from[above]


def _size(path: str) -> int | None:
    """The size of a file; None for a folder. That of the link if it leads nowhere."""
    try:
        found = os.stat(path)
    except OSError:
        found = os.lstat(path)
    return None if stat.S_ISDIR(found.st_mode) else found.st_size


def missing(run: StoredRun, name: str) -> ConfigError:
    """The error about an artifact that a run does not have."""
    return ConfigError(f"Run {run.short_id} has no artifact {name}.")


@lru_cache(maxsize=1024)
def _is_local(uri: str) -> bool:
    """Whether a URI denotes a folder of this machine."""
    return bool(uri) and artifact_uris.local_folder(uri) is not None


def _list(client: "MlflowClient", run_id: str) -> "list[FileInfo]":
    with artifact_store_errors():
        return client.list_artifacts(run_id)


def _download(client: "MlflowClient", run_id: str, name: str, folder: str) -> bytes:
    with artifact_store_errors():
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
