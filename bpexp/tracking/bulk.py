"""The tracker for SQL stores: many finished runs in one transaction, through MLflow's tables."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from weakref import finalize

from bpexp.tracking import rows
from bpexp.tracking.contract import Batch, RunRecord
from bpexp.tracking.ids import ascending
from bpexp.tracking.retry import Patience, TrackingError
from bpexp.tracking.rows import Experiment
from bpexp.tracking.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SCHEMAS = {"dc11669786a5": "3.17"}
"""Schema versions (Alembic's) whose tables this module was tested with, and their MLflow."""

DRIVERS = ("pysqlite", "psycopg")
"""SQLAlchemy's drivers for SQLite and PostgreSQL that it was tested with."""


def refusal(engine: "Engine") -> str | None:
    """Why a database with MLflow's tables cannot be written in bulk; None if it can."""
    driver = engine.dialect.driver
    if driver not in DRIVERS:
        return f"the driver {driver} is not one of {', '.join(DRIVERS)}"
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found not in SCHEMAS:
        return f"the schema version {found} is not one that was tested ({', '.join(SCHEMAS)})"
    return None


def known(store: Store, experiment: str) -> "BulkTracker | None":
    """The tracker where database and experiment are there, artifacts are files and the MLflow
    that is installed is the one that was tested; None where MLflow itself is to look at them.
    """
    if (
        not store.uri.startswith(("sqlite", "postgresql"))
        or "MLFLOW_ENABLE_WORKSPACES" in os.environ
    ):
        return None
    if store.uri.startswith("sqlite") and not Path(store.uri.removeprefix("sqlite:///")).exists():
        return None
    if not version("mlflow").startswith(tuple(f"{tested}." for tested in SCHEMAS.values())):
        return None
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(store.uri, pool_pre_ping=True)
        if refusal(engine) is not None:
            return None
        with engine.connect() as connection:
            found = rows.experiment(connection, experiment)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError):
        return None
    if found is None or not (found.location or "").startswith("file:///"):
        return None
    tracker = BulkTracker(engine, found)
    # Connections are kept, with what SQLite has read, as long as the tracker is.
    finalize(tracker, engine.dispose)
    return tracker


class BulkTracker:
    """See ``contract.Tracker``. For databases where ``refusal`` is None.

    Artifacts are written before the transaction that makes their runs visible. A process
    that is killed in between leaves files that no run names, never a run without files.
    """

    def __init__(
        self, engine: "Engine", experiment: Experiment, patience: Patience | None = None
    ) -> None:
        self.experiment_id, self._location = experiment
        self._patience = patience or Patience()
        self._engine, self._ids = engine, ascending()

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        run = RunRecord(name, "RUNNING", started, started, tags=tags)
        return self.stage([run], None).commit()[0]

    def running(self) -> dict[str, dict[str, str]]:
        """See ``Tracker.running``."""

        def read() -> dict[str, dict[str, str]]:
            with self._engine.connect() as connection:
                self._prepare(connection)
                return rows.running(connection, int(self.experiment_id))

        return self._patience.attempt(read)

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """See ``Tracker.add_files``."""
        home = _home(self._location, run_id)
        self._patience.attempt(lambda: _add(home, files))

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        values = rows.of_ending(run, run_id)
        if run.artifacts:
            self.add_files(run_id, run.artifacts)

        def write(connection: "Connection") -> None:
            rows.end(connection, run_id, run)
            rows.merge(connection, values)
            if run.dataset is not None and not rows.is_tied(connection, run_id):
                rows.insert_inputs(connection, [run], [run_id], int(self.experiment_id), self._ids)

        self._write(write)

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""
        values = [(run_id, rows.checked(key), value) for run_id in run_ids]
        self._write(lambda connection: rows.insert(connection, {rows.TAGS: values}))

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> Batch:
        """See ``Tracker.stage``."""
        # MLflow lists runs of one start by their ids.
        ids = list(islice(self._ids, len(runs)))
        ties = list(islice(self._ids, len(runs)))
        homes = [_home(self._location, run_id) for run_id in ids]
        values = rows.of_runs(runs, ids, homes, int(self.experiment_id), parent)
        write_artifacts(homes, [run.artifacts for run in runs], self._patience)

        def write(connection: "Connection") -> None:
            # A connection may break after the store had committed.
            if not rows.are_there(connection, ids[0]):
                rows.insert(connection, values)
                rows.insert_inputs(connection, runs, ids, int(self.experiment_id), iter(ties))

        def commit() -> list[str]:
            try:
                if ids:
                    self._write(write)
            except TrackingError:
                self._forget(ids, homes)
                raise
            return ids

        return Batch(commit, discard=lambda: _remove(homes))

    def _forget(self, ids: Sequence[str], homes: Sequence[str]) -> None:
        """Remove artifacts of runs that are seen not to be in the store."""
        from sqlalchemy.exc import SQLAlchemyError

        with suppress(SQLAlchemyError), self._engine.connect() as connection:
            self._prepare(connection)
            if not rows.are_there(connection, ids[0]):
                _remove(homes)

    def _write(self, put: Callable[["Connection"], None]) -> None:
        """One transaction, repeated where the store was locked or away."""

        def write() -> None:
            with self._engine.connect() as connection:
                self._prepare(connection)
                put(connection)
                connection.commit()

        self._patience.attempt(write)

    def _prepare(self, connection: "Connection") -> None:
        """The settings MLflow gives its own SQLite sessions, but for the patience."""
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            busy = min(self._patience.busy_ms, round(1000 * self._patience.seconds))
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {busy}")
            # In KiB: the pages of one transaction stay in memory until it is committed.
            connection.exec_driver_sql("PRAGMA cache_size = -65536")


def _home(location: str, run_id: str) -> str:
    """A run's artifact URI below its experiment's, as MLflow's SQL store forms it."""
    parts = urlsplit(location)
    if parts.scheme == "file" and not (parts.query or parts.fragment):
        return f"{location.rstrip('/')}/{run_id}/artifacts"
    from mlflow.utils.uri import append_to_uri_path

    return str(append_to_uri_path(location, run_id, "artifacts"))  # type: ignore[no-untyped-call]


def _local(home: str) -> Path | None:
    """The folder that an artifact URI means, None if it is not on this machine."""
    parts = urlsplit(home)
    if parts.scheme == "file" and not (parts.netloc or parts.query or parts.fragment):
        return Path(unquote(parts.path))
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    if not is_local_uri(home, is_tracking_or_registry_uri=False):  # type: ignore[no-untyped-call]
        return None
    return Path(local_file_uri_to_path(home))  # type: ignore[no-untyped-call]


def _remove(homes: Sequence[str]) -> None:
    for folder in filter(None, map(_local, homes)):
        shutil.rmtree(folder.parent, ignore_errors=True)


def write_artifacts(
    homes: Sequence[str], contents: Sequence[Mapping[str, bytes]], patience: Patience
) -> None:
    """Write each run's files below its artifact URI, straight to disk where that is local.

    Raises TrackingError where one cannot be written; what this call wrote locally is removed.
    """
    made: list[Path] = []
    try:
        for home, files in zip(homes, contents, strict=True):
            folder = _local(home)
            if folder is None:
                patience.attempt(lambda home=home, files=files: _upload(home, files))  # type: ignore[misc]
            elif files:
                made.append(folder.parent)
                os.makedirs(folder)
                _write_files(folder, files)
    except (OSError, TrackingError) as error:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        said = str(error).rstrip(".")
        raise TrackingError(f"An artifact could not be written: {said}.") from error


def _add(home: str, files: Mapping[str, bytes]) -> None:
    """Put files among a run's artifacts, each there whole or not at all."""
    folder = _local(home)
    if folder is None:
        _upload(home, files)
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        _write_files(Path(staging), files)
        for name in files:
            os.replace(Path(staging, name), folder / name)


def _upload(home: str, files: Mapping[str, bytes]) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as staging:
        _write_files(Path(staging), files)
        get_artifact_repository(home).log_artifacts(staging)  # type: ignore[no-untyped-call]


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
