"""The bulk tracker writes the rows that MLflow's client writes, and handles store failures."""

import math
import resource
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.store.tracking.dbmodels import models
from servers import postgresql
from sweeping import next_line, start_in_session

from bpexp.tracking.bulk import CACHE_KIB, BulkTracker, open_bulk_tracker
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord
from bpexp.tracking.database import Database
from bpexp.tracking.factory import tracker_for
from bpexp.tracking.retry import RetryPolicy, TrackingError
from bpexp.tracking.sql import Experiment
from bpexp.tracking.store import connect, get_or_create_experiment, locate

XOR = DatasetInput("xor", "0" * 32, '{"uri": "xor"}', "{}", '{"num_rows": 4}')
PARITY = DatasetInput("parité", "1" * 32, '{"uri": "parity"}', "{}", '{"num_rows": 16}')
PLAIN = RunRecord("plain", "FINISHED", 1000, 2000)

RECORDS = [
    PLAIN,
    replace(PLAIN, name="curve", started=1001, dataset=XOR, params={"lr": "0.1", "seed": "3"},
            tags={"bpexp.outcome": "completed", "mlflow.user": "ada"},
            metrics=[MetricPoint("loss", 1 / step, step) for step in range(1, 2501)],
            artifacts={"a.txt": b"one", "b.npz": bytes(range(256))}),
    replace(PLAIN, name="same data", started=1002, dataset=XOR, params={"lr": "0.2"}),
    replace(PLAIN, name="other data", started=1003, dataset=PARITY, artifacts={"empty": b""}),
    replace(PLAIN, name="not finite", started=1004, metrics=[
        MetricPoint("loss", 2.0, 1), MetricPoint("loss", math.inf, 2),
        MetricPoint("loss", math.nan, 3), MetricPoint("down", -math.inf, 1),
        MetricPoint("least", 5e-324, 1), MetricPoint("largest", 1.7e308, 1),
        MetricPoint("zero", -0.0, 1)]),
    replace(PLAIN, name="a step twice", started=1005, metrics=[
        MetricPoint("same", 1.5, 7), MetricPoint("same", 1.5, 7),
        MetricPoint("nan twice", math.nan, 1), MetricPoint("nan twice", math.nan, 1),
        MetricPoint("larger first", 3.0, 7), MetricPoint("larger first", 2.0, 7),
        MetricPoint("larger last", 2.0, 7), MetricPoint("larger last", 3.0, 7),
        MetricPoint("last first", 9.0, 8), MetricPoint("last first", 1.0, 7),
        MetricPoint("nan then negative", math.nan, 7), MetricPoint("nan then negative", -1.0, 7),
        MetricPoint("negative then nan", -1.0, 7), MetricPoint("negative then nan", math.nan, 7),
        MetricPoint("negative step", 1.0, -3)]),
    replace(PLAIN, name="Ähre 穂 🌾 ' \" \\ % ;", started=1006, params={"größe": "穂 '\"\n%s ?"},
            tags={"über": "🌾", "empty": ""}, artifacts={"穂.txt": "🌾".encode()}),
    replace(PLAIN, name="n" * 300, started=1007, params={"p": "p" * 7000, "q": "q" * 6000},
            tags={"t": "t" * 9000}),
    replace(PLAIN, name="failed", started=1008, status="FAILED", tags={"bpexp.reason": "why"}),
    replace(PLAIN, name="killed", started=1009, status="KILLED"),
    replace(PLAIN, name="many", started=1010, params={f"p{i:03}": str(i) for i in range(250)},
            tags={f"t{i:03}": str(i) for i in range(150)}),
]  # fmt: skip

SEARCHES = [
    ("", None),
    ("", ["metrics.loss ASC", "start_time ASC"]),
    ("", ["params.lr DESC", "attributes.run_name ASC"]),
    ("metrics.loss > 0.0001", None),
    ("params.lr = '0.1'", None),
    ("params.`größe` LIKE '%穂%'", None),
    ("tags.`bpexp.outcome` = 'completed'", None),
    ("tags.`über` = '🌾'", None),
    ("tags.`mlflow.user` = 'ada'", None),
    ("attributes.status = 'KILLED'", None),
    ("attributes.run_name ILIKE 'SAME%'", None),
    ("attributes.start_time >= 1005 and attributes.end_time <= 2000", ["start_time DESC"]),
    ("datasets.name = 'xor' and datasets.context = 'training'", None),
    ("datasets.digest = '11111111111111111111111111111111'", None),
]


@pytest.fixture(scope="module")
def sqlite_store(put_store, tmp_path_factory):
    return put_store(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="module")
def postgresql_store(tmp_path_factory):
    with postgresql() as server:
        yield locate(server.uri, tmp_path_factory.mktemp("postgresql"), {})


POSTGRESQL = pytest.param("postgresql_store", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["sqlite_store", POSTGRESQL])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def both(store):
    """One sweep, written by both trackers into two experiments of a store."""
    client = connect(store)
    trackers = [
        bulk(client, get_or_create_experiment(client, store, "bulk")),
        ClientTracker(client, get_or_create_experiment(client, store, "client")),
    ]
    for tracker in trackers:
        parent = tracker.open_run("sweep", 999, {"k": "v"})
        tracker.stage(RECORDS, parent).commit()
        tracker.close_run(parent, replace(PLAIN, name="", metrics=[MetricPoint("best", 0.5, 1)]))
    return client, [tracker.experiment_id for tracker in trackers]


def sql(client):
    return client._tracking_client.store


def bulk(client, experiment, retry=None):
    location = client.get_experiment(experiment).artifact_location
    database = Database(sql(client).engine, CACHE_KIB, retry)
    return BulkTracker(database, Experiment(experiment, location))


def read(client, run, names):
    """Everything the client returns of a run, with run ids replaced by names."""
    info = {
        key: value for key, value in dict(run.info).items() if key not in ("run_id", "run_uuid")
    }
    info |= {"artifact_uri": run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")}
    info.pop("experiment_id")
    tags = run.data.tags
    if "mlflow.parentRunId" in tags:
        tags = tags | {"mlflow.parentRunId": names[tags["mlflow.parentRunId"]]}
    history = {
        key: [
            (m.timestamp, m.step, repr(m.value))
            for m in client.get_metric_history(run.info.run_id, key)
        ]
        for key in run.data.metrics
    }
    inputs = [(dict(i.dataset), [dict(tag) for tag in i.tags]) for i in run.inputs.dataset_inputs]
    artifacts = {
        file.path: Path(client.download_artifacts(run.info.run_id, file.path)).read_bytes()
        for file in client.list_artifacts(run.info.run_id)
    }
    latest = {key: repr(value) for key, value in run.data.metrics.items()}
    return info, run.data.params, tags, latest, history, inputs, artifacts


def test_the_client_reads_equal_runs_from_both_trackers(both):
    client, experiments = both
    written = []
    for experiment in experiments:
        runs = client.search_runs([experiment])
        names = {run.info.run_id: run.info.run_name for run in runs}
        written.append([read(client, client.get_run(run.info.run_id), names) for run in runs])
        assert len(runs) == len(RECORDS) + 1
    for in_bulk, by_client in zip(*written, strict=True):
        assert in_bulk == by_client


@pytest.mark.parametrize(("filter_string", "order"), SEARCHES)
def test_searches_return_equal_runs_in_the_same_order(both, filter_string, order):
    client, experiments = both
    found = [
        [r.info.run_name for r in client.search_runs([e], filter_string, order_by=order)]
        for e in experiments
    ]
    assert found[0] == found[1] != []


def test_a_finished_sweep_has_statistics_of_its_tables(store):
    client = connect(store)
    tracker = bulk(client, get_or_create_experiment(client, store, "statistics"))
    tracker.stage(RECORDS, None).commit()
    tracker.finish()
    query = {
        "sqlite": "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'latest_metrics'",
        "postgresql": "SELECT reltuples FROM pg_class WHERE relname = 'latest_metrics'",
    }
    with sql(client).engine.connect() as connection:
        text = query[connection.dialect.name]
        assert connection.exec_driver_sql(text).scalar() > 0


def test_the_statistics_of_a_store_are_written_in_one_transaction(put_store, tmp_path):
    store = put_store(tmp_path)
    database = tmp_path / "outputs" / "mlflow.db"
    tracker = open_bulk_tracker(store, "bpexp")
    tracker.stage(RECORDS, None).commit()

    def changes():
        """SQLite's file change counter, which every transaction increments."""
        return int.from_bytes(database.read_bytes()[24:28], "big")

    before = changes()
    tracker.finish()
    assert changes() == before + 1


def test_both_trackers_write_equal_rows(both):
    client, experiments = both
    with sql(client).engine.connect() as connection:
        bulk, by_client = (tables(connection, int(e)) for e in experiments)
    assert bulk.keys() == by_client.keys()
    for name in bulk:
        assert bulk[name] == by_client[name], name


def tables(connection, experiment):
    """All rows of an experiment by table, sorted, with ids replaced by names."""
    run, data = models.SqlRun.__table__, models.SqlDataset.__table__
    inputs, tags = models.SqlInput.__table__, models.SqlInputTag.__table__
    rows = {}

    def collect(table, where):
        return [dict(r._mapping) for r in connection.execute(table.select().where(where))]

    rows["runs"] = collect(run, run.c.experiment_id == experiment)
    rows["datasets"] = collect(data, data.c.experiment_id == experiment)
    ids = {row["run_uuid"]: row["name"] for row in rows["runs"]}
    ids |= {row["dataset_uuid"]: row["name"] for row in rows["datasets"]}
    for model in (models.SqlParam, models.SqlTag, models.SqlMetric, models.SqlLatestMetric):
        table = model.__table__
        rows[table.name] = collect(table, table.c.run_uuid.in_(ids))
    rows["inputs"] = collect(inputs, inputs.c.destination_id.in_(ids))
    ties = {row["input_uuid"]: ids[row["destination_id"]] for row in rows["inputs"]}
    rows["input_tags"] = collect(tags, tags.c.input_uuid.in_(ties))
    ids |= ties

    def named(key, value):
        if key == "experiment_id":
            return value == experiment
        if key == "artifact_uri":
            return value.split("/")[-1], ids[value.split("/")[-2]]
        return ids.get(value, value)

    return {
        table: sorted(repr([(key, named(key, row[key])) for key in row]) for row in found)
        for table, found in rows.items()
    }


def test_runs_with_equal_start_are_listed_in_the_order_of_writing(sqlite_store):
    client = connect(sqlite_store)
    tracker = tracker_for(client, get_or_create_experiment(client, sqlite_store, "order"))
    runs = [replace(PLAIN, name=f"run {i}") for i in range(50)]
    tracker.stage(runs, None).commit()
    listed = [run.info.run_name for run in client.search_runs([tracker.experiment_id])]
    assert listed == [run.name for run in runs]


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


class Locked:
    """An SQLite store that another process locks until ``release``."""

    def __init__(self, store):
        file = store.uri.removeprefix("sqlite:///")
        self.process = start_in_session(
            [sys.executable, "-c", LOCK, file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert next_line(self.process, self.process.stdout) == "locked\n"

    def release(self):
        self.process.communicate("\n", timeout=30)
        assert self.process.returncode == 0


def test_writing_waits_for_a_locked_store(sqlite_store):
    client = connect(sqlite_store)
    experiment = get_or_create_experiment(client, sqlite_store, "locked")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            lock.release()

    retry = RetryPolicy(busy_timeout_ms=1, sleep=sleep)
    tracker = bulk(client, experiment, retry)
    lock = Locked(sqlite_store)
    (run_id,) = tracker.stage([RECORDS[1]], None).commit()
    assert pauses == [0.1, 0.2, 0.4]
    assert client.get_run(run_id).data.params == RECORDS[1].params
    assert [run.info.run_id for run in client.search_runs([experiment])] == [run_id]


def test_a_store_that_stays_locked_is_an_error_and_no_run_is_written(sqlite_store):
    client = connect(sqlite_store)
    experiment = get_or_create_experiment(client, sqlite_store, "stays locked")
    tracker = bulk(client, experiment, RetryPolicy(seconds=0, busy_timeout_ms=1))
    lock = Locked(sqlite_store)
    message = r"^The store could not be used: database is locked\.$"
    with pytest.raises(TrackingError, match=message):
        tracker.stage([RECORDS[1]], None).commit()
    lock.release()
    assert client.search_runs([experiment]) == []
    assert len(tracker.stage([RECORDS[1]], None).commit()) == 1


def test_no_run_is_visible_if_an_artifact_cannot_be_written(sqlite_store, tmp_path):
    client = connect(sqlite_store)
    (tmp_path / "place").write_text("a file instead of a folder")
    experiment = client.create_experiment("no place", (tmp_path / "place/artifacts").as_uri())
    tracker = bulk(client, experiment)
    with pytest.raises(TrackingError, match=r"^An artifact could not be written: .*Not a dir.*\.$"):
        tracker.stage([PLAIN, RECORDS[1]], None).commit()
    assert client.search_runs([experiment]) == []


def test_a_failed_write_keeps_the_existing_file(sqlite_store):
    client = connect(sqlite_store)
    tracker = bulk(client, get_or_create_experiment(client, sqlite_store, "does not fit"))
    parent = tracker.open_run("sweep", 1, {})
    tracker.add_files(parent, {"plan": b"complete"})
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, most))
    try:
        with pytest.raises(TrackingError, match=r"^The store refused: .*File too large.*\.$"):
            tracker.add_files(parent, {"plan": bytes(2 * 10**6)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, before)
    (file,) = client.list_artifacts(parent)
    assert Path(client.download_artifacts(parent, file.path)).read_bytes() == b"complete"


def test_artifacts_are_removed_if_a_later_one_cannot_be_written(sqlite_store, tmp_path):
    client = connect(sqlite_store)
    experiment = client.create_experiment("half", tmp_path.as_uri())
    tracker = bulk(client, experiment)
    runs = [
        replace(PLAIN, artifacts={"a": b"1"}),
        replace(PLAIN, artifacts={"b": b"1", "b/c": b"1"}),
    ]
    with pytest.raises(TrackingError, match="An artifact could not be written"):
        tracker.stage(runs, None).commit()
    assert list(tmp_path.iterdir()) == []


def test_a_committed_transaction_is_not_repeated_if_the_response_is_lost(sqlite_store, monkeypatch):
    client = connect(sqlite_store)
    experiment = get_or_create_experiment(client, sqlite_store, "unheard")
    tracker = bulk(client, experiment, RetryPolicy(sleep=lambda seconds: None))
    engine, lost = sql(client).engine, []

    def lose_the_response(connection):
        if not lost:
            lost.append(connection.connection.dbapi_connection.commit())
            busy = sqlite3.OperationalError("connection lost")
            busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise sqlalchemy.exc.OperationalError("COMMIT", None, busy)

    sqlalchemy.event.listen(engine, "commit", lose_the_response)
    try:
        ids = tracker.stage([PLAIN], None).commit()
    finally:
        sqlalchemy.event.remove(engine, "commit", lose_the_response)
    assert lost
    assert [run.info.run_id for run in client.search_runs([experiment])] == ids


@pytest.mark.slow
def test_writing_waits_for_a_restart_of_postgresql(tmp_path):
    with postgresql() as server:
        store = locate(server.uri, tmp_path, {})
        client = connect(store)
        experiment = get_or_create_experiment(client, store, "restart")
        tracker = bulk(client, experiment, RetryPolicy(sleep=lambda seconds: server.start()))
        parent = tracker.open_run("sweep", 1, {})
        server.stop()
        ids = tracker.stage(RECORDS, parent).commit()
        server.stop()
        tracker.close_run(parent, PLAIN)
        runs = client.search_runs([experiment])
        assert {run.info.run_id for run in runs} == {parent, *ids}
        assert {run.info.status for run in runs} == {"FINISHED", "FAILED", "KILLED"}


@pytest.mark.slow
def test_a_transaction_is_repeated_after_its_connection_breaks(postgresql_store):
    client = connect(postgresql_store)
    experiment = get_or_create_experiment(client, postgresql_store, "broken")
    pauses = []
    tracker = bulk(client, experiment, RetryPolicy(sleep=pauses.append))
    engine, other = sql(client).engine, sqlalchemy.create_engine(postgresql_store.uri)

    def terminate(connection):
        if not pauses:
            process = connection.connection.dbapi_connection.info.backend_pid
            with other.connect() as elsewhere:
                elsewhere.exec_driver_sql(f"SELECT pg_terminate_backend({process}, 10000)")

    sqlalchemy.event.listen(engine, "begin", terminate)
    try:
        ids = tracker.stage([RECORDS[1]], None).commit()
    finally:
        sqlalchemy.event.remove(engine, "begin", terminate)
        other.dispose()
    assert pauses == [0.1]
    assert [run.info.run_id for run in client.search_runs([experiment])] == ids


def test_an_unknown_schema_is_written_by_the_client_tracker_with_one_message(sqlite_store, capsys):
    client = connect(sqlite_store)
    experiment = get_or_create_experiment(client, sqlite_store, "other schema")
    assert type(tracker_for(client, experiment)) is BulkTracker
    assert capsys.readouterr().err == ""
    with sql(client).engine.connect() as connection:
        (version,) = connection.exec_driver_sql("SELECT version_num FROM alembic_version").one()
        change = "UPDATE alembic_version SET version_num = '{}'"
        connection.exec_driver_sql(change.format("abc"))
        connection.commit()
        tracker = tracker_for(client, experiment)
        connection.exec_driver_sql(change.format(version))
        connection.commit()
    assert type(tracker) is ClientTracker
    # A command that writes no runs has nothing to say.
    tracker.open_run("sweep", 1, {})
    assert capsys.readouterr().err == ""
    for _ in range(2):
        tracker.stage([RECORDS[0]], None).discard()
    assert capsys.readouterr().err == (
        "Runs are written one by one: the schema version abc is not that of MLflow 3.10 to 3.17.\n"
    )
