"""The tracker for SQLite and PostgreSQL: writes many runs to MLflow's tables in one transaction."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from typing import TypeVar
from weakref import finalize

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from bpexp.tracking import artifact_uris, rows, sql
from bpexp.tracking.contract import RunRecord
from bpexp.tracking.ids import ascending
from bpexp.tracking.mlflow_internals import TESTED_SCHEMAS
from bpexp.tracking.retry import RetryPolicy, TrackingError
from bpexp.tracking.sql import Experiment
from bpexp.tracking.store import Store

T = TypeVar("T")

DRIVERS = ("pysqlite", "psycopg")
"""SQLAlchemy's drivers for SQLite and PostgreSQL that bulk writing is tested with."""
_CACHE_KIB = 65536
"""SQLite's page cache: the pages of one transaction stay in memory until it is committed."""


def unsupported_reason(engine: Engine) -> str | None:
    """Why a database with MLflow's tables cannot be written in bulk; None if it can."""
    driver = engine.dialect.driver
    if driver not in DRIVERS:
        return f"the driver {driver} is not one of {', '.join(DRIVERS)}"
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found not in TESTED_SCHEMAS.values():
        first, *_, last = TESTED_SCHEMAS
        return f"the schema version {found} is not that of MLflow {first} to {last}"
    return None


def open_engine(store: Store) -> Engine | None:
    """Connect to an existing database without importing MLflow, which takes more than a second.

    Returns:
        None unless the store is a database, the installed MLflow is of a tested version, and the
        tables are those of a tested version. MLflow must then open the store.
    """
    if (
        not store.uri.startswith(("sqlite", "postgresql"))
        or "MLFLOW_ENABLE_WORKSPACES" in os.environ
    ):
        return None
    if store.is_new:
        return None
    if version("mlflow").rpartition(".")[0] not in TESTED_SCHEMAS:
        return None
    try:
        engine = create_engine(store.uri, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError, ValueError):
        return None
    with suppress(SQLAlchemyError):
        if unsupported_reason(engine) is None:
            return engine
    engine.dispose()
    return None


def open_bulk_tracker(store: Store, experiment: str) -> "BulkTracker | None":
    """Open an existing store without importing MLflow.

    Returns:
        None unless ``open_engine`` opens the database, the experiment exists, and its artifacts
        are local files. MLflow must then open the store.
    """
    engine = open_engine(store)
    if engine is None:
        return None
    try:
        with engine.connect() as connection:
            found = sql.find_experiment(connection, experiment)
    except SQLAlchemyError:
        found = None
    if found is None or not (found.artifact_uri or "").startswith("file:///"):
        engine.dispose()
        return None
    tracker = BulkTracker(engine, found)
    finalize(tracker, engine.dispose)
    return tracker


def configure(connection: Connection, retry: RetryPolicy, cache_kib: int = _CACHE_KIB) -> None:
    """Set up an SQLite connection as MLflow does, except for the time to wait for a lock.

    Args:
        connection: The connection.
        retry: How long to wait for a lock.
        cache_kib: The largest size of SQLite's page cache in KiB.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        # The default leaves the rollback journal in the folder for a while after a commit:
        # after a power loss the last transaction would be undone.
        connection.exec_driver_sql("PRAGMA synchronous = EXTRA")
        timeout = min(retry.busy_timeout_ms, round(1000 * retry.seconds))
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {timeout}")
        connection.exec_driver_sql(f"PRAGMA cache_size = -{cache_kib}")


class BulkTracker:
    """See ``contract.Tracker``; for databases where ``unsupported_reason`` is None.

    Artifacts are written before the transaction that makes their runs visible. A process that
    is killed in between leaves files without a run, never a run without its files.
    """

    def __init__(
        self, engine: Engine, experiment: Experiment, retry: RetryPolicy | None = None
    ) -> None:
        self.experiment_id, self._artifact_uri = experiment
        self._retry = retry or RetryPolicy()
        self._engine, self._ids = engine, ascending()

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        run = RunRecord(name, "RUNNING", started, started, tags=tags)
        return self.stage([run], None).commit()[0]

    def running(self) -> dict[str, dict[str, str]]:
        """See ``Tracker.running``."""
        return self.transaction(sql.running, int(self.experiment_id))

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """See ``Tracker.add_files``."""
        self._retry.call(artifact_uris.add, artifact_uris.of_run(self._artifact_uri, run_id), files)

    def add_values(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.add_values``."""
        self.transaction(_add_values, run_id, rows.of_open_run(run, run_id))

    def check_not_deleted(self, sweep: str | None) -> None:
        """See ``Tracker.check_not_deleted``."""
        self.transaction(sql.check_not_deleted, int(self.experiment_id), sweep)

    def reopen_run(self, run_id: str, without: Sequence[str]) -> None:
        """See ``Tracker.reopen_run``."""
        self.transaction(sql.reopen_run, run_id, without)

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        values = rows.of_open_run(run, run_id)
        if run.artifacts:
            self.add_files(run_id, run.artifacts)
        self.transaction(self._close, run_id, run, values)

    def claim(self, run_id: str, key: str, seen: str, value: str) -> str:
        """See ``Tracker.claim``."""
        return self.transaction(sql.replace_tag, run_id, key, seen, value)

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """See ``Tracker.delete_runs``."""
        self.transaction(sql.delete_runs, run_ids)

    def finish(self) -> None:
        """See ``Tracker.finish``."""
        with suppress(TrackingError):
            replace(self._retry, seconds=0).call(self._transaction_once, sql.update_statistics)

    def _close(
        self, connection: Connection, run_id: str, run: RunRecord, values: rows.Rows
    ) -> None:
        sql.end_run(connection, run_id, run.status, run.ended)
        points = sql.replace_points(connection, run_id, values[rows.METRICS])
        sql.upsert(connection, {**values, rows.METRICS: points})
        if run.dataset is not None and not sql.has_dataset(connection, run_id):
            input_ids = list(islice(self._ids, 1))
            self.insert_inputs(connection, [run], [run_id], input_ids)

    def insert_inputs(
        self,
        connection: Connection,
        runs: Sequence[RunRecord],
        ids: Sequence[str],
        input_ids: Sequence[str],
    ) -> None:
        """Insert the data sets of runs that have none in the database."""
        datasets = {run.dataset for run in runs if run.dataset is not None}
        known = {
            data: sql.dataset_id(connection, data, int(self.experiment_id)) for data in datasets
        }
        sql.insert(connection, rows.of_inputs(runs, ids, input_ids, known))

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""
        values = [(run_id, rows.checked(key), value) for run_id in run_ids]
        self.transaction(sql.insert, {rows.TAGS: values})

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> "BulkStagedRuns":
        """See ``Tracker.stage``."""
        # MLflow lists runs with the same start in the order of their ids.
        ids = list(islice(self._ids, len(runs)))
        input_ids = list(islice(self._ids, len(runs)))
        uris = [artifact_uris.of_run(self._artifact_uri, run_id) for run_id in ids]
        values = rows.of_runs(runs, ids, uris, int(self.experiment_id), parent)
        artifact_uris.write_all(uris, [run.artifacts for run in runs], self._retry)
        return BulkStagedRuns(self, runs, parent, ids, uris, input_ids, values)

    def transaction(self, action: Callable[..., T], *args: object) -> T:
        """Run an action in a transaction; repeat both while the store is unavailable.

        Args:
            action: Called with a connection and the other arguments.
            *args: The other arguments.

        Returns:
            What ``action`` returns.
        """
        return self._retry.call(self._transaction_once, action, *args)

    def _transaction_once(self, action: Callable[..., T], *args: object) -> T:
        # SQLAlchemy commits nothing that went around it, as COPY does, unless a transaction began.
        with self._engine.begin() as connection:
            configure(connection, self._retry)
            return action(connection, *args)

    def remove_artifacts_of_missing_runs(self, ids: Sequence[str], uris: Sequence[str]) -> None:
        """Remove the artifacts of runs, unless they are in the store or it cannot be read."""
        with suppress(SQLAlchemyError), self._engine.connect() as connection:
            configure(connection, self._retry)
            if not sql.run_exists(connection, ids[0]):
                artifact_uris.remove(uris)


def _add_values(connection: Connection, run_id: str, values: rows.Rows) -> None:
    sql.check_active(connection, run_id)
    sql.upsert(connection, values)


@dataclass(frozen=True)
class BulkStagedRuns:
    """See ``contract.StagedRuns``: artifacts are on disk, rows are ready to be inserted."""

    tracker: BulkTracker
    runs: Sequence[RunRecord]
    parent: str | None
    ids: list[str]
    uris: Sequence[str]
    input_ids: Sequence[str]
    values: rows.Rows

    def commit(self) -> list[str]:
        """See ``StagedRuns.commit``."""
        try:
            if self.ids:
                # A power loss must not leave runs without their artifacts.
                with_files = zip(self.uris, self.runs, strict=True)
                artifact_uris.flush_to_disk(uri for uri, run in with_files if run.artifacts)
                self.tracker.transaction(self._insert)
        except TrackingError:
            self.tracker.remove_artifacts_of_missing_runs(self.ids, self.uris)
            raise
        return self.ids

    def discard(self) -> None:
        """See ``StagedRuns.discard``."""
        artifact_uris.remove(self.uris)

    def _insert(self, connection: Connection) -> None:
        # An earlier attempt may have been committed before its connection was lost.
        if not sql.run_exists(connection, self.ids[0]):
            sql.check_not_deleted(connection, int(self.tracker.experiment_id), self.parent)
            sql.insert(connection, self.values)
            self.tracker.insert_inputs(connection, self.runs, self.ids, self.input_ids)
