"""Queries on MLflow's tables of runs, for SQLite and PostgreSQL.

All functions raise SQLAlchemy's DBAPIError where the database reports an error.
"""

import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, text

from bpexp.runs import run_tags
from bpexp.tracking.reading import Parts, Point, Query, StoredRun, restored

Row = tuple[Any, ...]

_NEWEST_FIRST = "ORDER BY start_time DESC, run_uuid"
"""MLflow's order of runs."""
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
"""The beginning of an id."""


def has_workspaces(connection: Connection) -> bool:
    """Whether the database has workspaces, which MLflow must be configured for."""
    return bool(_select(connection, "1 FROM experiments WHERE workspace <> 'default'"))


def experiments(connection: Connection) -> dict[str, str]:
    """The ids of the active experiments by name, in MLflow's order: the newest first."""
    found = _select(
        connection,
        "name, experiment_id FROM experiments WHERE lifecycle_stage = 'active' "
        "ORDER BY creation_time DESC, experiment_id",
    )
    return {name: str(number) for name, number in found}


def run_ids(
    connection: Connection, experiment: int, query: Query, limit: int | None = None
) -> list[str]:
    """The ids of the runs that a query selects, without its filter; the newest first."""
    conditions, values = _conditions(query)
    end = "" if limit is None else f" LIMIT {limit}"
    found = _select(
        connection,
        f"run_uuid FROM runs WHERE {conditions} {_NEWEST_FIRST}{end}",
        experiment=experiment, **values,
    )  # fmt: skip
    return [run_id for (run_id,) in found]


def count(connection: Connection, experiment: int, query: Query) -> int:
    """The number of runs that a query selects, without its filter."""
    conditions, values = _conditions(query)
    ((found,),) = _select(
        connection, f"count(*) FROM runs WHERE {conditions}", experiment=experiment, **values
    )
    return int(found)


def matching_ids(connection: Connection, experiment: int, wanted: str) -> list[str]:
    """The ids of the active runs with an id that begins with ``wanted``, or with that name."""
    same = "name = :wanted"
    values = {"wanted": wanted}
    if _HEXADECIMAL.fullmatch(wanted):
        # A range, which both databases find through the index of the ids.
        same = f"({same} OR run_uuid BETWEEN :wanted AND :last)"
        values["last"] = f"{wanted}g"
    found = _select(
        connection,
        f"run_uuid FROM runs WHERE {same} AND experiment_id = :experiment "
        f"AND lifecycle_stage = 'active' {_NEWEST_FIRST}",
        experiment=experiment, **values,
    )  # fmt: skip
    return [run_id for (run_id,) in found]


def runs(connection: Connection, ids: Sequence[str], parts: Parts) -> list[StoredRun]:
    """The runs with some ids, in their order; one that does not exist is left out."""
    found = _select(
        connection,
        "run_uuid, name, status, experiment_id, start_time, end_time, artifact_uri "
        "FROM runs WHERE run_uuid IN :ids",
        ids=ids,
    )
    rows = {row[0]: row for row in found}
    params = _texts(connection, "params", ids, parts.params)
    tags = _texts(connection, "tags", ids, parts.all_tags())
    metrics = _metrics(connection, ids, parts.metrics)
    data = _data(connection, ids) if parts.data else {}
    return [
        StoredRun(
            run_id, row[1] or "", row[2], str(row[3]), row[4] or 0, row[5], row[6] or "",
            params.get(run_id, {}), tags.get(run_id, {}), metrics.get(run_id, {}),
            data.get(run_id),
        )
        for run_id in ids
        if (row := rows.get(run_id)) is not None
    ]  # fmt: skip


def history(connection: Connection, ids: Sequence[str], metric: str) -> dict[str, list[Point]]:
    """All logged values of a metric by run, in ascending order of their steps."""
    # Not an index of the keys, by which SQLite would read the points of all runs of the store.
    found = _select(
        connection,
        "run_uuid, step, value, is_nan FROM metrics WHERE run_uuid IN :ids AND key || '' = :key "
        "ORDER BY run_uuid, step, timestamp",
        ids=ids, key=metric,
    )  # fmt: skip
    return {
        run_id: [
            Point(step, math.nan if is_nan else restored(value)) for _, step, value, is_nan in rows
        ]
        for run_id, rows in groupby(found, key=itemgetter(0))
    }


def _conditions(query: Query) -> tuple[str, dict[str, Any]]:
    """The WHERE clause of a query without its filter, and the values in it."""
    conditions = ["experiment_id = :experiment", "lifecycle_stage = 'active'"]
    values: dict[str, Any] = {}
    if query.statuses:
        conditions.append("status IN :statuses")
        values["statuses"] = list(query.statuses)
    for number, (key, value) in enumerate(query.tags.items()):
        conditions.append(_tagged(f"key = :key{number} AND value = :value{number}"))
        values |= {f"key{number}": key, f"value{number}": value}
    if query.sweep is not None:
        conditions.append(
            _tagged(
                "(key = 'mlflow.parentRunId' AND value = :sweep) OR (key = :link AND value = "
                "'linked')"
            )
        )
        values |= {"sweep": query.sweep, "link": run_tags.linked_sweep(query.sweep)}
    if not query.sweeps:
        kind = f"key = '{run_tags.KIND}' AND value = '{run_tags.SWEEP_KIND}'"
        conditions.append(f"NOT {_tagged(kind)}")
    return " AND ".join(conditions), values


def _tagged(condition: str) -> str:
    return f"run_uuid IN (SELECT run_uuid FROM tags WHERE {condition})"


def _texts(
    connection: Connection, table: str, ids: Sequence[str], keys: Collection[str] | None
) -> dict[str, dict[str, str]]:
    """The parameters or tags of runs, by run and key; thousands of runs share a text for a key."""
    values: dict[str, dict[str, str]] = {}
    for run_id, key, value in _of_keys(connection, f"value FROM {table}", ids, keys):
        values.setdefault(run_id, {})[sys.intern(key)] = value
    return values


def _metrics(
    connection: Connection, ids: Sequence[str], keys: Collection[str] | None
) -> dict[str, dict[str, float]]:
    """The last value of each metric, by run and name; text, which SQLite allows, is left out."""
    values: dict[str, dict[str, float]] = {}
    columns = "value, is_nan FROM latest_metrics"
    for run_id, key, value, is_nan in _of_keys(connection, columns, ids, keys):
        if isinstance(value, int | float):
            number = float("nan") if is_nan else restored(value)
            values.setdefault(run_id, {})[sys.intern(key)] = number
    return values


def _of_keys(
    connection: Connection, columns: str, ids: Sequence[str], keys: Collection[str] | None
) -> Sequence[Row]:
    """Rows of a table with a key: the id of the run, the key, and some columns."""
    if keys is None:
        return _select(connection, f"run_uuid, key, {columns} WHERE run_uuid IN :ids", ids=ids)
    if not keys:
        return []
    # By an index of several keys, SQLite would read their rows of all runs of the store.
    key = "key" if len(keys) == 1 else "key || ''"
    return _select(
        connection, f"run_uuid, key, {columns} WHERE run_uuid IN :ids AND {key} IN :keys",
        ids=ids, keys=list(keys),
    )  # fmt: skip


def _data(connection: Connection, ids: Sequence[str]) -> Mapping[str, str]:
    """The digest of the data set of each run that has one."""
    found = _select(
        connection,
        "destination_id, digest FROM inputs JOIN datasets ON dataset_uuid = source_id "
        "WHERE destination_type = 'RUN' AND source_type = 'DATASET' AND destination_id IN :ids",
        ids=ids,
    )
    return dict(reversed(found))


def _select(connection: Connection, query: str, **values: Any) -> Sequence[Row]:
    """Rows; a value that is a list stands for the values of IN."""
    lists = [name for name, value in values.items() if isinstance(value, list | tuple)]
    statement = text(f"SELECT {query}").bindparams(*(bindparam(k, expanding=True) for k in lists))
    return connection.execute(statement, values).all()
