"""Converts runs to rows of MLflow's tables, equal to those that MLflow's own store writes.

The rows follow ``create_run``, ``log_batch``, ``log_inputs`` and ``update_run_info`` of
``mlflow.store.tracking.sqlalchemy_store`` in MLflow 3.17. MLflow itself is not imported, because
that takes longer than training and tracking a short run.

>>> from bpexp.tracking import rows
>>> from bpexp.tracking.contract import RunRecord
>>> run = RunRecord("seed=1", "FINISHED", started=1000, ended=2000, params={"lr": "0.1"})
>>> rows.of_open_run(run, "70bda3e6")["params"]
[('70bda3e6', 'lr', '0.1')]
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from bpexp.tracking import limits, mlflow_internals
from bpexp.tracking.contract import DatasetInput, RunRecord
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import configure_mlflow

SqlRow = tuple[Any, ...]
"""The values of a row of a database table."""
Rows = dict[str, list[SqlRow]]
"""Rows by table; the values of a row are in the order of ``COLUMNS``."""

MAX_FLOAT = 1.7976931348623157e308
"""What MLflow stores for an infinite metric, because SQL has no infinities."""

RUNS, PARAMS, TAGS, METRICS, LATEST = "runs", "params", "tags", "metrics", "latest_metrics"
DATASETS, INPUTS, INPUT_TAGS = "datasets", "inputs", "input_tags"


class MetricRow(NamedTuple):
    """A row of the tables of metrics, by its columns."""

    run_uuid: str
    key: str
    value: float
    timestamp: int
    step: int
    is_nan: bool


COLUMNS: dict[str, tuple[str, ...]] = {
    RUNS: (
        "run_uuid", "name", "artifact_uri", "experiment_id", "user_id", "status", "start_time",
        "end_time", "deleted_time", "lifecycle_stage", "source_type", "source_name",
        "source_version", "entry_point_name",
    ),
    PARAMS: ("run_uuid", "key", "value"),
    TAGS: ("run_uuid", "key", "value"),
    METRICS: MetricRow._fields,
    LATEST: MetricRow._fields,
    INPUTS: (
        "input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step",
    ),
    INPUT_TAGS: ("input_uuid", "name", "value"),
    DATASETS: (
        "dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type",
        "dataset_source", "dataset_schema", "dataset_profile",
    ),
}  # fmt: skip

_ACCEPTED_KEY = re.compile(r"\w[\w.\-]{0,199}")
"""Keys that MLflow accepts; it accepts some others, too."""


class NewRun(NamedTuple):
    """A run that is written to the store.

    Attributes:
        record: What is tracked of it; with the status RUNNING it gets no end.
        run_id: Its id.
        artifact_uri: Where its artifacts are.
        input_id: The id of the row that connects it with its data set.
    """

    record: RunRecord
    run_id: str
    artifact_uri: str
    input_id: str


def of_runs(runs: Sequence[NewRun], experiment: int, parent: str | None) -> Rows:
    """Rows of new runs, without their data sets.

    Args:
        runs: The runs.
        experiment: Id of the experiment.
        parent: Id of the sweep that the runs belong to.

    Returns:
        Tables in an order in which no foreign key is missing.

    Raises:
        TrackingError: MLflow does not accept a key.
    """
    rows: Rows = {table: [] for table in (RUNS, PARAMS, TAGS, METRICS, LATEST)}
    for run, run_id, uri, _ in runs:
        name, tags = limits.truncate_name(run.name), limits.truncate_tags(run.tags)
        if parent:
            tags["mlflow.parentRunId"] = parent
        tags["mlflow.runName"] = name
        user = tags.get("mlflow.user", "unknown")
        ended = None if run.status == "RUNNING" else run.ended
        rows[RUNS].append((
            run_id, name, uri, experiment, user, run.status, run.started,
            ended, None, "active", "UNKNOWN", "", "", "",
        ))  # fmt: skip
        for table, values in _values(run, tags, run_id).items():
            rows[table] += values
    return rows


def of_open_run(run: RunRecord, run_id: str) -> Rows:
    """Rows that are added to a run that exists.

    Raises:
        TrackingError: MLflow does not accept a key.
    """
    return _values(run, limits.truncate_tags(run.tags), run_id)


def of_inputs(runs: Sequence[NewRun], dataset_ids: Mapping[DatasetInput, str]) -> Rows:
    """Rows that connect runs with their data sets.

    Args:
        runs: The runs; those without a data set are skipped.
        dataset_ids: The row of each data set.
    """
    rows: Rows = {INPUTS: [], INPUT_TAGS: []}
    for run in runs:
        if run.record.dataset is not None:
            data_id = dataset_ids[run.record.dataset]
            rows[INPUTS].append((run.input_id, "DATASET", data_id, "RUN", run.run_id, 0))
            rows[INPUT_TAGS].append((run.input_id, "mlflow.data.context", "training"))
    return rows


def _values(run: RunRecord, tags: Mapping[str, str], run_id: str) -> Rows:
    params = limits.truncate_params(run.params)
    points, latest = _metrics(run, run_id)
    return {
        PARAMS: [(run_id, checked(key), value) for key, value in params.items()],
        TAGS: [(run_id, checked(key), value) for key, value in tags.items()],
        METRICS: points,
        LATEST: latest,
    }


def _metrics(run: RunRecord, run_id: str) -> tuple[list[SqlRow], list[SqlRow]]:
    """The distinct points of all metrics, and the latest point of each metric.

    The latest is the one with the largest step; of equal steps, the one with the largest value.
    NaN is stored as 0 with ``is_nan``.
    """
    points: dict[SqlRow, None] = {}
    latest: dict[str, SqlRow] = {}
    order: dict[str, tuple[int, float]] = {}
    for key, value, step in run.metrics:
        is_nan = math.isnan(value)
        if is_nan:
            value = 0.0
        elif math.isinf(value):
            value = math.copysign(MAX_FLOAT, value)
        row = (run_id, checked(key), value, run.ended, step, is_nan)
        points[row] = None
        if key not in latest or (step, value) > order[key]:
            latest[key], order[key] = row, (step, value)
    return list(points), list(latest.values())


@cache
def checked(key: str) -> str:
    """The key of a parameter, metric or tag, unchanged.

    Raises:
        TrackingError: MLflow does not accept the key.
    """
    if _ACCEPTED_KEY.fullmatch(key):
        return key
    configure_mlflow()
    RetryPolicy().call(mlflow_internals.validate_key, key)
    return key
