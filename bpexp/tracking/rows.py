"""Finished runs as rows of MLflow's tables, as MLflow's own store would write them.

What is written follows ``create_run``, ``log_batch``, ``log_inputs`` and
``update_run_info`` of ``mlflow.store.tracking.sqlalchemy_store`` in MLflow 3.17.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlflow.store.tracking.dbmodels import models

from bpexp.tracking import limits
from bpexp.tracking.contract import DatasetInput, RunRecord
from bpexp.tracking.patience import refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

Row = tuple[Any, ...]
Rows = dict["Table", list[Row]]
"""Rows by table; their values are in the order of ``COLUMNS``."""

LARGEST = 1.7976931348623157e308
"""What MLflow stores for an infinite metric, as SQL has no infinities."""


def _table(model: type) -> "Table":
    return model.__table__  # type: ignore[attr-defined,no-any-return]


RUNS, PARAMS, TAGS = _table(models.SqlRun), _table(models.SqlParam), _table(models.SqlTag)
METRICS, LATEST = _table(models.SqlMetric), _table(models.SqlLatestMetric)
DATASETS = _table(models.SqlDataset)
INPUTS, INPUT_TAGS = _table(models.SqlInput), _table(models.SqlInputTag)

_METRIC = ("run_uuid", "key", "value", "timestamp", "step", "is_nan")
COLUMNS: dict["Table", tuple[str, ...]] = {
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
}  # fmt: skip


def of_runs(
    runs: Sequence[RunRecord],
    ids: Sequence[str],
    homes: Sequence[str],
    experiment: int,
    parent: str | None,
) -> Rows:
    """The rows of all runs but for their data sets, in an order that foreign keys bear.

    ``homes`` are the runs' artifact URIs. Raises TrackingError for a key MLflow refuses.
    """
    rows: Rows = {table: [] for table in (RUNS, PARAMS, TAGS, METRICS, LATEST)}
    for run, run_id, home in zip(runs, ids, homes, strict=True):
        name, tags = limits.name(run.name), limits.tags(run.tags)
        if parent:
            tags["mlflow.parentRunId"] = parent
        tags["mlflow.runName"] = name
        user = tags.get("mlflow.user", "unknown")
        rows[RUNS].append((
            run_id, name, home, experiment, user, run.status, run.started,
            run.ended, None, "active", "UNKNOWN", "", "", "",
        ))  # fmt: skip
        params = limits.params(run.params)
        rows[PARAMS] += [(run_id, checked(key), value) for key, value in params.items()]
        rows[TAGS] += [(run_id, checked(key), value) for key, value in tags.items()]
        points, latest = _metrics(run, run_id)
        rows[METRICS] += points
        rows[LATEST] += latest
    return rows


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
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_param

    try:
        _validate_param(key, "")  # type: ignore[no-untyped-call]
    except MlflowException as error:
        raise refused(error) from error
    return key


def are_there(connection: "Connection", run_id: str) -> bool:
    """Whether the run is in the store."""
    found = RUNS.select().with_only_columns(RUNS.c.run_uuid).where(RUNS.c.run_uuid == run_id)
    return connection.scalar(found) is not None


def insert(connection: "Connection", rows: Rows) -> None:
    """Put rows into the store; the caller commits. Raises SQLAlchemy's DBAPIError.

    The driver is given plain tuples: SQLAlchemy's own way with each value costs more than
    the database does.
    """
    quote = connection.dialect.identifier_preparer.quote
    write = {"pysqlite": _execute_many, "psycopg": _copy}[connection.dialect.driver]
    for table, values in rows.items():
        if values:
            write(connection, table.name, [quote(name) for name in COLUMNS[table]], values)


def _execute_many(
    connection: "Connection", table: str, columns: list[str], values: list[Row]
) -> None:
    marks = ", ".join("?" * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values
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
    connection: "Connection", runs: Sequence[RunRecord], ids: Sequence[str], experiment: int
) -> None:
    """Put the runs' data sets and the runs' ties to them into the store; the caller commits."""
    datasets = {run.dataset for run in runs if run.dataset is not None}
    known = {data: _dataset_uuid(connection, data, experiment) for data in datasets}
    rows: Rows = {INPUTS: [], INPUT_TAGS: []}
    for run, run_id in zip(runs, ids, strict=True):
        if run.dataset is not None:
            tie = uuid4().hex
            rows[INPUTS].append((tie, "DATASET", known[run.dataset], "RUN", run_id, 0))
            rows[INPUT_TAGS].append((tie, "mlflow.data.context", "training"))
    insert(connection, rows)


def _dataset_uuid(connection: "Connection", data: DatasetInput, experiment: int) -> str:
    """The data set's row, made if it is not there; two processes may do so at once."""
    import sqlalchemy
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = {"sqlite": sqlite, "postgresql": postgresql}[connection.dialect.name]
    row = {
        "dataset_uuid": uuid4().hex, "experiment_id": experiment, "name": data.name,
        "digest": data.digest, "dataset_source_type": "local", "dataset_source": data.source,
        "dataset_schema": data.schema, "dataset_profile": data.profile,
    }  # fmt: skip
    connection.execute(dialect.insert(DATASETS).values(row).on_conflict_do_nothing())
    columns = DATASETS.c
    same = sqlalchemy.select(columns.dataset_uuid).where(
        columns.experiment_id == experiment,
        columns.name == data.name,
        columns.digest == data.digest,
    )
    return str(connection.scalar(same))
