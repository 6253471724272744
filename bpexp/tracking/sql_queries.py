"""Queries on MLflow's tables by which ``sql_reader`` reads runs, for SQLite and PostgreSQL.

All functions raise SQLAlchemy's DBAPIError where the database reports an error.
"""

import json
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from bpexp.runs import run_tags
from bpexp.runs.result import Outcome
from bpexp.tracking.database import select
from bpexp.tracking.reading import Parts, Point, Query, StoredRun, restored
from bpexp.tracking.rows import SqlRow

_NEWEST_FIRST = "ORDER BY start_time DESC, run_uuid"
"""MLflow's order of runs."""
_JSON_OBJECT = {
    # Somebody may have written another type to a column of SQLite.
    "sqlite": "json_group_object(key, CAST(value AS TEXT))",
    "postgresql": "CAST(json_object_agg(key, value) AS TEXT)",
}
"""An aggregate by database: the values of some rows by key, as JSON."""
_OUTCOMES = ", ".join(f"'{outcome}'" for outcome in Outcome)
_IS_SWEEP = f"""run_uuid IN (
SELECT sign.run_uuid FROM tags AS sign
WHERE (sign.key = '{run_tags.KIND}' AND sign.value = '{run_tags.SWEEP_KIND}')
OR sign.key = '{run_tags.OBJECTIVE}'
GROUP BY sign.run_uuid HAVING count(*) > 1 OR NOT EXISTS (
SELECT 1 FROM tags AS outcome WHERE outcome.run_uuid = sign.run_uuid
AND outcome.key = '{run_tags.OUTCOME}' AND outcome.value IN ({_OUTCOMES})
))"""
"""The condition for the parent run of a sweep, see ``run_tags.are_of_sweep``."""
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
"""The beginning of an id."""


def experiments(connection: Connection, stage: str) -> dict[str, str]:
    """The ids of the experiments in a stage, ``active`` or ``deleted``, by name.

    They are in MLflow's order: the newest first.
    """
    rows = select(
        connection,
        "name, experiment_id FROM experiments WHERE lifecycle_stage = :stage "
        "ORDER BY creation_time DESC, experiment_id",
        stage=stage,
    )
    return {name: str(number) for name, number in rows}


def run_ids(
    connection: Connection, experiment_id: int, query: Query, limit: int | None = None
) -> list[str]:
    """The ids of the runs that a query selects, without its filter; the newest first."""
    conditions, values = _conditions(query)
    end = "" if limit is None else f" LIMIT {limit}"
    rows = select(
        connection,
        f"run_uuid FROM runs WHERE {conditions} {_NEWEST_FIRST}{end}",
        experiment=experiment_id, **values,
    )  # fmt: skip
    return [run_id for (run_id,) in rows]


def count(connection: Connection, experiment_id: int, query: Query) -> int:
    """The number of runs that a query selects, without its filter."""
    conditions, values = _conditions(query)
    ((n_runs,),) = select(
        connection, f"count(*) FROM runs WHERE {conditions}", experiment=experiment_id, **values
    )
    return int(n_runs)


def matching_ids(connection: Connection, experiment_id: int, wanted: str) -> list[str]:
    """The ids of the active runs with an id that begins with ``wanted``, or with that name."""
    same = "name = :wanted"
    values = {"wanted": wanted}
    if _HEXADECIMAL.fullmatch(wanted):
        # A range, which both databases find through the index of the ids.
        same = f"({same} OR run_uuid BETWEEN :wanted AND :last)"
        values["last"] = f"{wanted}g"
    rows = select(
        connection,
        f"run_uuid FROM runs WHERE {same} AND experiment_id = :experiment "
        f"AND lifecycle_stage = 'active' {_NEWEST_FIRST}",
        experiment=experiment_id, **values,
    )  # fmt: skip
    return [run_id for (run_id,) in rows]


def runs(connection: Connection, ids: Sequence[str], parts: Parts) -> list[StoredRun]:
    """The runs with some ids, in their order; one that does not exist is left out."""
    selected = select(
        connection,
        "run_uuid, name, status, experiment_id, start_time, end_time, artifact_uri "
        "FROM runs WHERE run_uuid IN :ids",
        ids=ids,
    )
    rows = {row[0]: row for row in selected}
    params = _texts(connection, "params", ids, parts.params)
    tags = _texts(connection, "tags", ids, parts.all_tags())
    metrics = _metrics(connection, ids, parts.metrics)
    data = _data(connection, ids) if parts.data else {}
    return [
        StoredRun(
            run_id, row[1] or "", row[2] or "", "" if row[3] is None else str(row[3]),
            _time(row[4]) or 0, _time(row[5]), row[6] or "", params.get(run_id, {}),
            tags.get(run_id, {}), metrics.get(run_id, {}), data.get(run_id),
        )
        for run_id in ids
        if (row := rows.get(run_id)) is not None
    ]  # fmt: skip


def _time(value: object) -> int | None:
    """A time; None for text, which SQLite allows."""
    return value if isinstance(value, int) else None


def history(connection: Connection, ids: Sequence[str], metric: str) -> dict[str, list[Point]]:
    """All logged values of a metric by run, in ascending order of their steps."""
    # Not an index of the keys, by which SQLite would read the points of all runs of the store.
    points = select(
        connection,
        "run_uuid, step, value, is_nan FROM metrics WHERE run_uuid IN :ids AND key || '' = :key "
        "ORDER BY run_uuid, step, timestamp",
        ids=ids, key=metric,
    )  # fmt: skip
    return {
        run_id: [
            Point(step, math.nan if is_nan else restored(value)) for _, step, value, is_nan in rows
        ]
        for run_id, rows in groupby(points, key=itemgetter(0))
    }


def _conditions(query: Query) -> tuple[str, dict[str, Any]]:
    """The WHERE clause of a query without its filter, and the values in it."""
    stage = "deleted" if query.are_deleted else "active"
    conditions = ["experiment_id = :experiment", f"lifecycle_stage = '{stage}'"]
    values: dict[str, Any] = {}
    if query.statuses:
        conditions.append("COALESCE(status, '') IN :statuses")
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
    if query.are_sweeps is not None:
        conditions.append(_IS_SWEEP if query.are_sweeps else f"NOT {_IS_SWEEP}")
    return " AND ".join(conditions), values


def _tagged(condition: str) -> str:
    return f"run_uuid IN (SELECT run_uuid FROM tags WHERE {condition})"


def _texts(
    connection: Connection, table: str, ids: Sequence[str], keys: Collection[str] | None
) -> dict[str, dict[str, str]]:
    """The parameters or tags of runs, by run and key.

    The database returns a JSON object for each run, which takes a third of the time of a row for
    each text. They are parsed together, so that runs share the texts of their keys.
    """
    texts = _JSON_OBJECT[connection.dialect.name]
    rows = _of_keys(connection, f"{texts} FROM {table}", ids, keys, "GROUP BY run_uuid")
    values = json.loads(f"[{','.join(value for _, value in rows)}]")
    return dict(zip((run_id for run_id, _ in rows), values, strict=True))


def _metrics(
    connection: Connection, ids: Sequence[str], keys: Collection[str] | None
) -> dict[str, dict[str, float]]:
    """The last value of each metric, by run and name; text, which SQLite allows, is left out."""
    values: dict[str, dict[str, float]] = {}
    columns = "key, value, is_nan FROM latest_metrics"
    for run_id, key, value, is_nan in _of_keys(connection, columns, ids, keys):
        if isinstance(value, int | float):
            number = float("nan") if is_nan else restored(value)
            values.setdefault(run_id, {})[sys.intern(key)] = number
    return values


def _of_keys(
    connection: Connection,
    columns: str,
    ids: Sequence[str],
    keys: Collection[str] | None,
    end: str = "",
) -> Sequence[SqlRow]:
    """Rows of a table with a key: the id of the run, and some columns."""
    if keys is None:
        return select(connection, f"run_uuid, {columns} WHERE run_uuid IN :ids {end}", ids=ids)
    if not keys:
        return []
    # By an index of several keys, SQLite would read their rows of all runs of the store.
    key = "key" if len(keys) == 1 else "key || ''"
    return select(
        connection, f"run_uuid, {columns} WHERE run_uuid IN :ids AND {key} IN :keys {end}",
        ids=ids, keys=list(keys),
    )  # fmt: skip


def _data(connection: Connection, ids: Sequence[str]) -> Mapping[str, str]:
    """The digest of the data set of each run that has one."""
    rows = select(
        connection,
        "destination_id, digest FROM inputs JOIN datasets ON dataset_uuid = source_id "
        "WHERE destination_type = 'RUN' AND source_type = 'DATASET' AND destination_id IN :ids",
        ids=ids,
    )
    return dict(reversed(rows))
