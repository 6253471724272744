"""Finished runs as rows of MLflow's tables, as MLflow's own store would write them.

What is written follows ``create_run``, ``log_batch``, ``log_inputs`` and
``update_run_info`` of ``mlflow.store.tracking.sqlalchemy_store`` in MLflow 3.17, which is
not imported: that takes longer than to train and track a short run.
"""

import math
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from bpexp.tracking import limits
from bpexp.tracking.contract import DatasetInput, RunRecord
from bpexp.tracking.retry import TrackingError, refused
from bpexp.tracking.store import before_mlflow

if TYPE_CHECKING:
    from sqlalchemy import Connection

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
"""Rows by table; their values are in the order of ``COLUMNS``."""

LARGEST = 1.7976931348623157e308
"""What MLflow stores for an infinite metric, as SQL has no infinities."""


RUNS, PARAMS, TAGS, METRICS, LATEST = "runs", "params", "tags", "metrics", "latest_metrics"
DATASETS, INPUTS, INPUT_TAGS = "datasets", "inputs", "input_tags"

_METRIC = ("run_uuid", "key", "value", "timestamp", "step", "is_nan")
COLUMNS: dict[str, tuple[str, ...]] = {
    RUNS: (
        "run_uuid", "name", "artifact_uri", "experiment_id", "user_id", "status", "start_time",
        "end_time", "deleted_time", "lifecycle_stage", "source_type", "source_name",
        "source_version", "entry_point_name",
    ),
    PARAMS: ("run_uuid", "key", "value"),
    TAGS: ("run_uuid", "key", "value"),
    METRICS: _METRIC,
    LATEST: _METRIC,
    INPUTS: (
        "input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step",
    ),
    INPUT_TAGS: ("input_uuid", "name", "value"),
    DATASETS: (
        "dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type",
        "dataset_source", "dataset_schema", "dataset_profile",
    ),
}  # fmt: skip

_LATER = "(excluded.step, excluded.timestamp, excluded.value)"
MEETING = {
    TAGS: "(key, run_uuid) DO UPDATE SET value = excluded.value",
    LATEST: "(key, run_uuid) DO UPDATE SET value = excluded.value, step = excluded.step, "
    "timestamp = excluded.timestamp, is_nan = excluded.is_nan WHERE "
    f"{_LATER} > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
}
"""What becomes of a row that meets one of its key; in other tables the old one stays."""

PLAIN_KEY = re.compile(r"\w[\w.\-]{0,199}")
"""Keys that MLflow is known to take."""


class Experiment(NamedTuple):
    """An experiment that is not deleted, and the URI below which its artifacts are."""

    experiment_id: str
    location: str


def of_runs(
    runs: Sequence[RunRecord],
    ids: Sequence[str],
    homes: Sequence[str],
    experiment: int,
    parent: str | None,
) -> Rows:
    """The rows of all runs but for their data sets, in an order that foreign keys bear.

    ``homes`` are the runs' artifact URIs. A run that is RUNNING has no end. Raises TrackingError
    for a key MLflow refuses.
    """
    rows: Rows = {table: [] for table in (RUNS, PARAMS, TAGS, METRICS, LATEST)}
    for run, run_id, home in zip(runs, ids, homes, strict=True):
        name, tags = limits.name(run.name), limits.tags(run.tags)
        if parent:
            tags["mlflow.parentRunId"] = parent
        tags["mlflow.runName"] = name
        user = tags.get("mlflow.user", "unknown")
        ended = None if run.status == "RUNNING" else run.ended
        rows[RUNS].append((
            run_id, name, home, experiment, user, run.status, run.started,
            ended, None, "active", "UNKNOWN", "", "", "",
        ))  # fmt: skip
        for table, values in _values(run, tags, run_id).items():
            rows[table] += values
    return rows


def of_ending(run: RunRecord, run_id: str) -> Rows:
    """The rows that a run which is in the store gets when it ends."""
    return _values(run, limits.tags(run.tags), run_id)


def _values(run: RunRecord, tags: Mapping[str, str], run_id: str) -> Rows:
    params = limits.params(run.params)
    points, latest = _metrics(run, run_id)
    return {
        PARAMS: [(run_id, checked(key), value) for key, value in params.items()],
        TAGS: [(run_id, checked(key), value) for key, value in tags.items()],
        METRICS: points,
        LATEST: latest,
    }


def _metrics(run: RunRecord, run_id: str) -> tuple[list[Row], list[Row]]:
    """The points of a run, each once, and of each key the point with the last step, of equal
    steps the largest value. NaN counts as 0, with its own mark.
    """
    points: dict[Row, None] = {}
    latest: dict[str, Row] = {}
    for key, value, step in run.metrics:
        is_nan = math.isnan(value)
        if is_nan:
            value = 0.0
        elif math.isinf(value):
            value = math.copysign(LARGEST, value)
        row = (run_id, checked(key), value, run.ended, step, is_nan)
        points[row] = None
        last = latest.get(key)
        if last is None or (step, value) > (last[4], last[2]):
            latest[key] = row
    return list(points), list(latest.values())


@cache
def checked(key: str) -> str:
    """A key of a parameter, metric or tag. Raises TrackingError if MLflow refuses it."""
    if PLAIN_KEY.fullmatch(key):
        return key
    before_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_param

    try:
        _validate_param(key, "")  # type: ignore[no-untyped-call]
    except MlflowException as error:
        raise refused(error) from error
    return key


def are_there(connection: "Connection", run_id: str) -> bool:
    """Whether the run is in the store."""
    return bool(_select(connection, "1 FROM runs WHERE run_uuid = :run", run=run_id))


def experiment(connection: "Connection", name: str) -> Experiment | None:
    """The experiment of that name, None where there is none or it is deleted, and where there
    are several workspaces: MLflow uses such a database only if it is told of them.
    """
    found = _select(
        connection,
        "experiment_id, artifact_location FROM experiments "
        "WHERE name = :name AND lifecycle_stage = 'active' "
        "AND NOT EXISTS (SELECT 1 FROM experiments WHERE workspace <> 'default')",
        name=name,
    )
    return Experiment(str(found[0][0]), found[0][1]) if found else None


def is_tied(connection: "Connection", run_id: str) -> bool:
    """Whether the run has a data set."""
    what = "1 FROM inputs WHERE destination_type = 'RUN' AND destination_id = :run"
    return bool(_select(connection, what, run=run_id))


def running(connection: "Connection", experiment: int) -> dict[str, dict[str, str]]:
    """The tags of an experiment's open runs by their ids."""
    found = _select(
        connection,
        "runs.run_uuid, tags.key, tags.value "
        "FROM runs LEFT JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE experiment_id = :experiment AND status = 'RUNNING' AND lifecycle_stage = 'active'",
        experiment=experiment,
    )
    tags: dict[str, dict[str, str]] = {}
    for run_id, key, value in found:
        tags.setdefault(run_id, {}).update({} if key is None else {key: value})
    return tags


def _select(connection: "Connection", what: str, **values: object) -> Sequence[Row]:
    import sqlalchemy

    found = connection.execute(sqlalchemy.text(f"SELECT {what}"), values)
    return [tuple(row) for row in found]


def insert(connection: "Connection", rows: Rows) -> None:
    """Put rows into the store; the caller commits. Raises SQLAlchemy's DBAPIError.

    The driver is given plain tuples: SQLAlchemy's own way with each value costs more than
    the database does.
    """
    quote = connection.dialect.identifier_preparer.quote
    write = {"pysqlite": _insert_values, "psycopg": _copy}[connection.dialect.driver]
    for table, values in rows.items():
        if values:
            write(connection, table, [quote(name) for name in COLUMNS[table]], values)


def merge(connection: "Connection", rows: Rows) -> None:
    """Put rows into the store that may meet others of their keys; the caller commits."""
    import sqlalchemy

    quote = connection.dialect.identifier_preparer.quote
    for table, values in rows.items():
        names = COLUMNS[table]
        columns, marks = ", ".join(map(quote, names)), ", ".join(f":{name}" for name in names)
        statement = sqlalchemy.text(
            f"INSERT INTO {table} ({columns}) VALUES ({marks}) "
            f"ON CONFLICT {MEETING.get(table, 'DO NOTHING')}"
        )
        for row in values:
            connection.execute(statement, dict(zip(names, row, strict=True)))


def end(connection: "Connection", run_id: str, run: RunRecord) -> None:
    """Give a run its status and its end; the caller commits.

    Raises TrackingError where there is no such run, or none that is not deleted.
    """
    import sqlalchemy

    change = (
        "UPDATE runs SET status = :status, end_time = :ended "
        "WHERE run_uuid = :run AND lifecycle_stage = 'active'"
    )
    values = {"status": run.status, "ended": run.ended, "run": run_id}
    if connection.execute(sqlalchemy.text(change), values).rowcount != 1:
        raise TrackingError(f"The store refused: run {run_id} is deleted or not there.")


MARKS = 32_766
"""Values of a statement at most: what SQLite takes unless it was built to take fewer."""


def _insert_values(
    connection: "Connection", table: str, columns: list[str], values: list[Row]
) -> None:
    """Thousands of rows a statement, in which SQLite works without Python's lock: row by row it
    would wait for a thread that holds it.
    """
    most: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    height = min(most, MARKS) // len(columns)
    into, marks = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ",
        ",".join("?" * len(columns)),
    )
    for start in range(0, len(values), height):
        part = values[start : start + height]
        connection.exec_driver_sql(
            into + ",".join([f"({marks})"] * len(part)), tuple(chain.from_iterable(part))
        )


def _copy(connection: "Connection", table: str, columns: list[str], values: list[Row]) -> None:
    """PostgreSQL's own way for many rows; SQLAlchemy has no word for it, nor sees its errors."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    try:
        cursor: psycopg.Cursor = connection.connection.cursor()  # type: ignore[assignment]
        with cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def insert_inputs(
    connection: "Connection",
    runs: Sequence[RunRecord],
    ids: Sequence[str],
    experiment: int,
    ties: Iterator[str],
) -> None:
    """Put the runs' data sets and new runs' ties to them into the store; the caller commits.

    ``ties`` are the ids of ties to come.
    """
    datasets = {run.dataset for run in runs if run.dataset is not None}
    known = {data: _dataset_uuid(connection, data, experiment) for data in datasets}
    rows: Rows = {INPUTS: [], INPUT_TAGS: []}
    for run, run_id in zip(runs, ids, strict=True):
        if run.dataset is not None:
            tie = next(ties)
            rows[INPUTS].append((tie, "DATASET", known[run.dataset], "RUN", run_id, 0))
            rows[INPUT_TAGS].append((tie, "mlflow.data.context", "training"))
    insert(connection, rows)


def _dataset_uuid(connection: "Connection", data: DatasetInput, experiment: int) -> str:
    """The data set's row, made if it is not there; two processes may do so at once."""
    row = (uuid4().hex, experiment, data.name, data.digest, "local", *data[2:])
    merge(connection, {DATASETS: [row]})
    ((found,),) = _select(
        connection,
        "dataset_uuid FROM datasets "
        "WHERE experiment_id = :experiment AND name = :name AND digest = :digest",
        experiment=experiment, name=data.name, digest=data.digest,
    )  # fmt: skip
    return str(found)
