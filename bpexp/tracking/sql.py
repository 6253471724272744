"""Statements on MLflow's tables by which ``bulk`` writes runs, for SQLite and PostgreSQL.

The caller commits. All functions raise SQLAlchemy's DBAPIError where the database reports an error.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from bpexp.tracking.clock import now
from bpexp.tracking.contract import DatasetInput
from bpexp.tracking.database import select
from bpexp.tracking.retry import DeletedError
from bpexp.tracking.rows import COLUMNS, DATASETS, LATEST, PARAMS, TAGS, MetricRow, Rows, SqlRow

_NEW_POINT = "(excluded.step, excluded.timestamp, excluded.value)"
_OLD_POINT = "(latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"
_ON_CONFLICT = {
    TAGS: "(key, run_uuid) DO UPDATE SET value = excluded.value",
    # The settings that vary, once a sweep was extended.
    PARAMS: "(key, run_uuid) DO UPDATE SET value = excluded.value",
    LATEST: "(key, run_uuid) DO UPDATE SET value = excluded.value, step = excluded.step, "
    "timestamp = excluded.timestamp, is_nan = excluded.is_nan WHERE "
    f"{_NEW_POINT} > {_OLD_POINT}",
}
"""What ``upsert`` does with a row whose key exists; in other tables the old row stays."""

_ANALYZED_ROWS = 400
"""Rows of an index from which SQLite estimates; its documentation recommends 100 to 1000."""
_MAX_VARIABLES = 32_766
"""Values in one statement: SQLite's default limit."""


class Experiment(NamedTuple):
    """An active experiment, and the URI below which its artifacts are."""

    experiment_id: str
    artifact_uri: str


def find_experiment(connection: Connection, name: str) -> Experiment | None:
    """The active experiment with a name; None if there is none."""
    rows = select(
        connection,
        "experiment_id, artifact_location FROM experiments "
        "WHERE name = :name AND lifecycle_stage = 'active'",
        name=name,
    )
    return Experiment(str(rows[0][0]), rows[0][1]) if rows else None


def run_exists(connection: Connection, run_id: str) -> bool:
    """Whether a run is in the store."""
    return bool(select(connection, "1 FROM runs WHERE run_uuid = :run", run=run_id))


def check_not_deleted(connection: Connection, experiment: int, sweep: str | None) -> None:
    """Check that an experiment, and the parent run of a sweep in it, can be written to.

    Raises:
        DeletedError: One of them is deleted.
    """
    active = "1 FROM experiments WHERE experiment_id = :id AND lifecycle_stage = 'active'"
    if not select(connection, active, id=experiment):
        raise DeletedError.of_experiment()
    if sweep is not None and not _is_active(connection, sweep):
        raise DeletedError.of_sweep(sweep)


def check_active(connection: Connection, run_id: str) -> None:
    """Raise DeletedError if a run does not exist or is deleted."""
    if not _is_active(connection, run_id):
        raise DeletedError.of_run(run_id)


def _is_active(connection: Connection, run_id: str) -> bool:
    active = "1 FROM runs WHERE run_uuid = :run AND lifecycle_stage = 'active'"
    return bool(select(connection, active, run=run_id))


def has_dataset(connection: Connection, run_id: str) -> bool:
    """Whether a run has a data set."""
    query = "1 FROM inputs WHERE destination_type = 'RUN' AND destination_id = :run"
    return bool(select(connection, query, run=run_id))


def running(connection: Connection, experiment: int) -> dict[str, dict[str, str]]:
    """The tags of the experiment's runs with the status RUNNING, by run id."""
    rows = select(
        connection,
        "runs.run_uuid, tags.key, tags.value "
        "FROM runs LEFT JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE experiment_id = :experiment AND status = 'RUNNING' AND lifecycle_stage = 'active'",
        experiment=experiment,
    )
    tags: dict[str, dict[str, str]] = {}
    for run_id, key, value in rows:
        tags.setdefault(run_id, {}).update({} if key is None else {key: value})
    return tags


def dataset_id(connection: Connection, data: DatasetInput, experiment: int) -> str:
    """The id of a data set's row, which is inserted if it does not exist.

    Two processes may insert the same data set at once.
    """
    row = (uuid4().hex, experiment, data.name, data.digest, "local", *data[2:])
    upsert(connection, {DATASETS: [row]})
    ((value,),) = select(
        connection,
        "dataset_uuid FROM datasets "
        "WHERE experiment_id = :experiment AND name = :name AND digest = :digest",
        experiment=experiment, name=data.name, digest=data.digest,
    )  # fmt: skip
    return str(value)


def end_run(connection: Connection, run_id: str, status: str, ended: int) -> None:
    """Set the status and the end (ms since the Unix epoch) of a run; at the earliest its start.

    Raises:
        DeletedError: The run does not exist or is deleted.
    """
    change = (
        "UPDATE runs SET status = :status, "
        "end_time = CASE WHEN start_time > :ended THEN start_time ELSE :ended END "
        "WHERE run_uuid = :run AND lifecycle_stage = 'active'"
    )
    values = {"status": status, "ended": ended, "run": run_id}
    if connection.execute(text(change), values).rowcount != 1:
        raise DeletedError.of_run(run_id)


def reopen_run(connection: Connection, run_id: str, without: Sequence[str]) -> None:
    """Set the status of a run to RUNNING, and delete its tags with some keys."""
    check_active(connection, run_id)
    connection.execute(
        text("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = :run"), {"run": run_id}
    )
    _delete_tags(connection, run_id, without)


def update_run(
    connection: Connection, run_id: str, tags: Mapping[str, str | None], name: str | None
) -> None:
    """Set tags of a run, delete those that are None, and change its name unless that is None."""
    check_active(connection, run_id)
    if name is not None:
        connection.execute(
            text("UPDATE runs SET name = :name WHERE run_uuid = :run"),
            {"run": run_id, "name": name},
        )
    _delete_tags(connection, run_id, tags)
    values = [(run_id, key, value) for key, value in tags.items() if value is not None]
    insert(connection, {TAGS: values})


def _delete_tags(connection: Connection, run_id: str, keys: Iterable[str]) -> None:
    for key in keys:
        connection.execute(
            text("DELETE FROM tags WHERE run_uuid = :run AND key = :key"),
            {"run": run_id, "key": key},
        )


def delete_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Mark runs as deleted, as MLflow does."""
    _set_stage(connection, run_ids, "deleted", now())


def restore_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Undo ``delete_runs``, as MLflow does."""
    _set_stage(connection, run_ids, "active", None)


def _set_stage(
    connection: Connection, run_ids: Sequence[str], stage: str, deleted: int | None
) -> None:
    change = (
        "UPDATE runs SET lifecycle_stage = :stage, deleted_time = :deleted WHERE run_uuid = :run"
    )
    values = [{"run": run_id, "stage": stage, "deleted": deleted} for run_id in run_ids]
    if values:
        connection.execute(text(change), values)


class StoredPoint(NamedTuple):
    """What tells a stored point of a run from others."""

    key: str
    step: int
    value: float
    is_nan: bool


def points_of(connection: Connection, run_id: str) -> list[StoredPoint]:
    """The points of all metrics of a run."""
    found = select(
        connection, "key, step, value, is_nan FROM metrics WHERE run_uuid = :run", run=run_id
    )
    return [StoredPoint(key, step, value, bool(is_nan)) for key, step, value, is_nan in found]


def delete_other_points(
    connection: Connection, run_id: str, stored: Iterable[StoredPoint], points: Sequence[SqlRow]
) -> None:
    """Delete the points of a run at steps where its metrics have none at their end.

    Args:
        connection: The database.
        run_id: The run.
        stored: Its points.
        points: All points of some metrics, as rows of the table ``metrics``.
    """
    rows = [MetricRow(*point) for point in points]
    keys, places = {row.key for row in rows}, {(row.key, row.step) for row in rows}
    for key, step in {(point.key, point.step) for point in stored if point.key in keys} - places:
        connection.execute(
            text("DELETE FROM metrics WHERE run_uuid = :run AND key = :key AND step = :step"),
            {"run": run_id, "key": key, "step": step},
        )


def new_points(stored: Iterable[StoredPoint], points: Sequence[SqlRow]) -> list[SqlRow]:
    """Those of some points, as rows of the table ``metrics``, that are not stored yet."""
    known = set(stored)
    rows = [MetricRow(*point) for point in points]
    return [
        row for row in rows if StoredPoint(row.key, row.step, row.value, row.is_nan) not in known
    ]


def replace_tag(connection: Connection, run_id: str, key: str, seen: str, value: str) -> str:
    """Replace the value ``seen`` of a tag; returns the value that the tag then has."""
    change = "UPDATE tags SET value = :value WHERE run_uuid = :run AND key = :key AND value = :seen"
    values = {"value": value, "run": run_id, "key": key, "seen": seen}
    if connection.execute(text(change), values).rowcount == 1:
        return value
    rows = select(
        connection, "value FROM tags WHERE run_uuid = :run AND key = :key", run=run_id, key=key
    )
    if rows:
        return str(rows[0][0])
    # Fails if another process inserts it at the same time.
    insert(connection, {TAGS: [(run_id, key, value)]})
    return value


def update_statistics(connection: Connection) -> None:
    """Let the database estimate how many rows its tables have for each key.

    Without the estimates, SQLite sorts MLflow's runs by a metric in a time that grows with the
    square of their number.
    """
    if connection.dialect.name == "sqlite":
        # Reads some rows of each index instead of all: milliseconds instead of seconds.
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {_ANALYZED_ROWS}")
        # sqlite3 would commit each ANALYZE, which waits for the disk several times.
        connection.exec_driver_sql("BEGIN")
    for table in COLUMNS:
        connection.exec_driver_sql(f"ANALYZE {table}")


def insert(connection: Connection, rows: Rows) -> None:
    """Insert rows with new keys, as plain tuples through the driver.

    SQLAlchemy's processing of single values takes longer than the database.
    """
    quote = connection.dialect.identifier_preparer.quote
    write = {"pysqlite": _insert_values, "psycopg": _copy}[connection.dialect.driver]
    for table, values in rows.items():
        if values:
            write(connection, table, [quote(name) for name in COLUMNS[table]], values)


def upsert(connection: Connection, rows: Rows) -> None:
    """Insert rows whose keys may exist, see ``_ON_CONFLICT``."""
    quote = connection.dialect.identifier_preparer.quote
    for table, values in rows.items():
        names = COLUMNS[table]
        columns, marks = ", ".join(map(quote, names)), ", ".join(f":{name}" for name in names)
        statement = text(
            f"INSERT INTO {table} ({columns}) VALUES ({marks}) "
            f"ON CONFLICT {_ON_CONFLICT.get(table, 'DO NOTHING')}"
        )
        for row in values:
            connection.execute(statement, dict(zip(names, row, strict=True)))


def _insert_values(
    connection: Connection, table: str, columns: list[str], values: list[SqlRow]
) -> None:
    """Insert into SQLite, thousands of rows in each statement.

    SQLite releases the GIL while it executes a statement; with one statement for each row it
    would wait for the GIL every time.
    """
    limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    n_rows = min(limit, _MAX_VARIABLES) // len(columns)
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    marks = f"({','.join('?' * len(columns))})"
    for start in range(0, len(values), n_rows):
        part = values[start : start + n_rows]
        connection.exec_driver_sql(
            head + ",".join([marks] * len(part)), tuple(chain.from_iterable(part))
        )


def _copy(connection: Connection, table: str, columns: list[str], values: list[SqlRow]) -> None:
    """Insert into PostgreSQL with COPY, which SQLAlchemy does not support."""
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    psycopg: Any = connection.dialect.loaded_dbapi
    try:
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except psycopg.Error as error:
        # RetryPolicy expects SQLAlchemy's exceptions.
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error
