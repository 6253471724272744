"""The tracker for SQLite and PostgreSQL: writes many runs to MLflow's tables in one transaction."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection

from bpexp.tracking import artifact_uris, relocation, rows, sql
from bpexp.tracking.contract import RunRecord
from bpexp.tracking.database import Database
from bpexp.tracking.ids import ascending
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.rows import NewRun
from bpexp.tracking.sql import Experiment
from bpexp.tracking.store import Store

CACHE_KIB = 65536
"""SQLite's page cache: the pages of one transaction stay in memory until it is committed."""


def open_bulk_tracker(store: Store, experiment: str) -> "BulkTracker | None":
    """Open an existing store without importing MLflow.

    Returns:
        None unless ``Database.open`` opens the store, the experiment exists, and its artifacts are
        local files. MLflow must then open the store.

    Raises:
        ConfigError: The artifacts of the experiment are those of another store.
    """
    database = Database.open(store, CACHE_KIB)
    if database is None:
        return None
    try:
        found = database.without_retry().read(sql.find_experiment, experiment)
        if found is None or not (found.artifact_uri or "").startswith("file:///"):
            return None
        relocation.check_not_relocated(store, database, experiment, found)
    except TrackingError:
        return None
    return BulkTracker(database, found)


class BulkTracker:
    """See ``contract.Tracker``; for the databases that ``Database`` can use.

    Artifacts are written before the transaction that makes their runs visible. A process that
    is killed in between leaves files without a run, never a run without its files.
    """

    def __init__(self, database: Database, experiment: Experiment) -> None:
        self.experiment_id, self._artifact_uri = experiment
        self._database, self._ids = database, ascending()

    def open_run(self, name: str, started: int, tags: Mapping[str, str]) -> str:
        """See ``Tracker.open_run``."""
        run = RunRecord(name, "RUNNING", started, started, tags=tags)
        return self.stage([run], None).commit()[0]

    def running(self) -> dict[str, dict[str, str]]:
        """See ``Tracker.running``."""
        return self._database.read(sql.running, int(self.experiment_id))

    def add_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """See ``Tracker.add_files``."""
        uri = artifact_uris.of_run(self._artifact_uri, run_id)
        self._database.retry.call(artifact_uris.add, uri, files)

    def add_values(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.add_values``."""
        self._database.transaction(_add_values, run_id, rows.of_open_run(run, run_id))

    def stage(self, runs: Sequence[RunRecord], parent: str | None) -> "BulkStagedRuns":
        """See ``Tracker.stage``."""
        # MLflow lists runs with the same start in the order of their ids.
        ids = list(islice(self._ids, len(runs)))
        input_ids = islice(self._ids, len(runs))
        new = [self._new(*run) for run in zip(runs, ids, input_ids, strict=True)]
        experiment = int(self.experiment_id)
        values = rows.of_runs(new, experiment, parent)
        files = [run.artifacts for run in runs]
        artifact_uris.write_all([run.artifact_uri for run in new], files, self._database.retry)
        return BulkStagedRuns(self._database, experiment, parent, new, values)

    def _new(self, record: RunRecord, run_id: str, input_id: str) -> NewRun:
        uri = artifact_uris.of_run(self._artifact_uri, run_id)
        return NewRun(record, run_id, uri, input_id)

    def tag_many(self, run_ids: Sequence[str], key: str, value: str) -> None:
        """See ``Tracker.tag_many``."""
        values = [(run_id, rows.checked(key), value) for run_id in run_ids]
        self._database.transaction(sql.insert, {rows.TAGS: values})

    def claim(self, run_id: str, key: str, seen: str, value: str) -> str:
        """See ``Tracker.claim``."""
        return self._database.transaction(sql.replace_tag, run_id, key, seen, value)

    def check_not_deleted(self, sweep: str | None) -> None:
        """See ``Tracker.check_not_deleted``."""
        self._database.read(sql.check_not_deleted, int(self.experiment_id), sweep)

    def reopen_run(self, run_id: str, without: Sequence[str]) -> None:
        """See ``Tracker.reopen_run``."""
        self._database.transaction(sql.reopen_run, run_id, without)

    def update_run(
        self, run_id: str, tags: Mapping[str, str | None], name: str | None = None
    ) -> None:
        """See ``Tracker.update_run``."""
        named = {} if name is None else {"mlflow.runName": name}
        values = {rows.checked(key): value for key, value in {**tags, **named}.items()}
        self._database.transaction(sql.update_run, run_id, values, name)

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """See ``Tracker.delete_runs``."""
        self._database.transaction(sql.delete_runs, run_ids)

    def restore_runs(self, run_ids: Sequence[str]) -> None:
        """See ``Tracker.restore_runs``."""
        self._database.transaction(sql.restore_runs, run_ids)

    def finish(self) -> None:
        """See ``Tracker.finish``."""
        with suppress(TrackingError):
            self._database.without_retry().transaction(sql.update_statistics)

    def close_run(self, run_id: str, run: RunRecord) -> None:
        """See ``Tracker.close_run``."""
        values = rows.of_open_run(run, run_id)
        if run.artifacts:
            self.add_files(run_id, run.artifacts)
        self._database.transaction(self._close, run_id, run, values)

    def _close(
        self, connection: Connection, run_id: str, run: RunRecord, values: rows.Rows
    ) -> None:
        sql.end_run(connection, run_id, run.status, run.ended)
        stored, points = sql.points_of(connection, run_id), values[rows.METRICS]
        sql.delete_other_points(connection, run_id, stored, points)
        sql.upsert(connection, {**values, rows.METRICS: sql.new_points(stored, points)})
        if run.dataset is not None and not sql.has_dataset(connection, run_id):
            new = self._new(run, run_id, next(self._ids))
            _insert_inputs(connection, int(self.experiment_id), [new])


def _add_values(connection: Connection, run_id: str, values: rows.Rows) -> None:
    sql.check_active(connection, run_id)
    sql.upsert(connection, values)


def _insert_inputs(connection: Connection, experiment: int, runs: Sequence[NewRun]) -> None:
    """Insert the data sets of runs that have none in the database."""
    datasets = {run.record.dataset for run in runs if run.record.dataset is not None}
    known = {data: sql.dataset_id(connection, data, experiment) for data in datasets}
    sql.insert(connection, rows.of_inputs(runs, known))


@dataclass(frozen=True)
class BulkStagedRuns:
    """See ``contract.StagedRuns``: artifacts are on disk, rows are ready to be inserted."""

    database: Database
    experiment: int
    parent: str | None
    runs: Sequence[NewRun]
    values: rows.Rows

    def commit(self) -> list[str]:
        """See ``StagedRuns.commit``."""
        try:
            if self.runs:
                # A power loss must not leave runs without their artifacts.
                with_files = [run for run in self.runs if run.record.artifacts]
                artifact_uris.flush_to_disk(run.artifact_uri for run in with_files)
                self.database.transaction(self._insert)
        except TrackingError:
            self._remove_artifacts_of_missing_runs()
            raise
        return [run.run_id for run in self.runs]

    def discard(self) -> None:
        """See ``StagedRuns.discard``."""
        artifact_uris.remove([run.artifact_uri for run in self.runs])

    def _insert(self, connection: Connection) -> None:
        # An earlier attempt may have been committed before its connection was lost.
        if not sql.run_exists(connection, self.runs[0].run_id):
            sql.check_not_deleted(connection, self.experiment, self.parent)
            sql.insert(connection, self.values)
            _insert_inputs(connection, self.experiment, self.runs)

    def _remove_artifacts_of_missing_runs(self) -> None:
        """Remove the artifacts, unless the runs are in the store or it cannot be read."""
        with suppress(TrackingError):
            if not self.database.without_retry().read(sql.run_exists, self.runs[0].run_id):
                self.discard()
