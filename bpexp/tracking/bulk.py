"""The tracker for SQL stores: many finished runs in one transaction, through MLflow's tables."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import RunRecord
from bpexp.tracking.patience import Patience, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Connection

SCHEMAS = {"dc11669786a5": "MLflow 3.17"}
"""Schema versions (Alembic's) whose tables this module was tested with."""

DRIVERS = ("pysqlite", "psycopg")
"""SQLAlchemy's drivers for SQLite and PostgreSQL that it was tested with."""


def refusal(store: object) -> str | None:
    """Why this store of MLflow's cannot be written in bulk; None if it can."""
    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # A subclass, MLflow's workspaces for one, may write more than is known here.
    if type(store) is not SqlAlchemyStore:
        return f"a {type(store).__name__} is not a plain SQL store"
    driver = store.engine.dialect.driver
    if driver not in DRIVERS:
        return f"the driver {driver} is not one of {', '.join(DRIVERS)}"
    with store.engine.connect() as connection:
        version = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    if version not in SCHEMAS:
        return f"the schema version {version} is not one that was tested ({', '.join(SCHEMAS)})"
    return None


class BulkTracker:
    """See ``contract.Tracker``. For SQL stores where ``refusal`` is None.

    Artifacts are written before the transaction that makes their runs visible. A process
    that is killed in between leaves files that no run names, never a run without files.
    """

    def __init__(
        self,
        client: "MlflowClient",
        store: "SqlAlchemyStore",
        experiment_id: str,
        patience: Patience | None = None,
    ) -> None:
        self.experiment_id = experiment_id
        self._patience = patience or Patience()
        self._engine = store.engine
        self._location = client.get_experiment(experiment_id).artifact_location
        self._parents = ClientTracker(client, experiment_id, patience=self._patience)

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        return self._parents.open_run(name, started, tags)

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        self._parents.close_run(run_id, run)

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""
        from bpexp.tracking import rows

        values = [(run_id, rows.checked(key), value) for run_id in run_ids]

        def write() -> None:
            with self._engine.connect() as connection:
                self._prepare(connection)
                rows.insert(connection, {rows.TAGS: values})
                connection.commit()

        self._patience.attempt(write)

    def record_many(self, runs: Sequence[RunRecord], parent: str | None) -> list[str]:
        """See ``Tracker.record_many``."""
        if not runs:
            return []
        from bpexp.tracking import rows

        # Random, but ascending: MLflow lists runs of one start by id, and indexes fill in order.
        ids = sorted(uuid4().hex for _ in runs)
        homes = [_home(self._location, run_id) for run_id in ids]
        values = rows.of_runs(runs, ids, homes, int(self.experiment_id), parent)
        write_artifacts(homes, [run.artifacts for run in runs], self._patience)

        def write() -> None:
            with self._engine.connect() as connection:
                self._prepare(connection)
                # A connection may break after the store had committed.
                if not rows.are_there(connection, ids[0]):
                    rows.insert(connection, values)
                    rows.insert_inputs(connection, runs, ids, int(self.experiment_id))
                    connection.commit()

        try:
            self._patience.attempt(write)
        except TrackingError:
            self._forget(ids, homes)
            raise
        return ids

    def _forget(self, ids: Sequence[str], homes: Sequence[str]) -> None:
        """Remove artifacts of runs that are seen not to be in the store."""
        from sqlalchemy.exc import SQLAlchemyError

        from bpexp.tracking import rows

        with suppress(SQLAlchemyError), self._engine.connect() as connection:
            if not rows.are_there(connection, ids[0]):
                for folder in filter(None, map(_local, homes)):
                    shutil.rmtree(folder.parent, ignore_errors=True)

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
    from mlflow.utils.uri import append_to_uri_path

    return str(append_to_uri_path(location, run_id, "artifacts"))  # type: ignore[no-untyped-call]


def _local(home: str) -> Path | None:
    """The folder that an artifact URI means, None if it is not on this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    if not is_local_uri(home, is_tracking_or_registry_uri=False):  # type: ignore[no-untyped-call]
        return None
    return Path(local_file_uri_to_path(home))  # type: ignore[no-untyped-call]


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


def _upload(home: str, files: Mapping[str, bytes]) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as staging:
        _write_files(Path(staging), files)
        get_artifact_repository(home).log_artifacts(staging)  # type: ignore[no-untyped-call]


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
