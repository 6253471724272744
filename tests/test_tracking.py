"""The tracker's contract, against real stores; every implementation runs the same suite."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import mlflow_server, postgresql

from bpexp.checks import ConfigError
from bpexp.tracking.bulk import BulkTracker
from bpexp.tracking.choice import choose
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import DatasetInput, Metric, RunRecord
from bpexp.tracking.patience import TrackingError
from bpexp.tracking.record import schedule
from bpexp.tracking.store import connect, experiment_id, locate

RECORD = RunRecord(
    name="lr=0.1 seed=3",
    status="FINISHED",
    started=1_700_000_000_000,
    ended=1_700_000_001_000,
    params={f"p{i}": str(i) for i in range(250)},
    tags={"bpexp.outcome": "completed", "long": "x" * 4000},
    metrics=[Metric("loss", 1.0 / step, step) for step in range(1, 2501)],
    artifacts={"a.txt": b"one", "b.npz": bytes(range(256))},
    dataset=DatasetInput("xor", "0" * 32, '{"uri": "xor"}', "{}", '{"num_rows": 4}'),
)


class TrackerContract:
    """Inherit, and give a fixture ``opened``: (tracker, MLflow client on the same store)."""

    def test_a_record_reads_back_whole(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 1_700_000_000_000, {"k": "v"})
        (run_id,) = tracker.record_many([RECORD], parent)
        run = client.get_run(run_id)
        assert run.info.run_name == RECORD.name
        assert run.info.status == "FINISHED"
        assert (run.info.start_time, run.info.end_time) == (RECORD.started, RECORD.ended)
        assert run.data.params == RECORD.params
        assert run.data.tags.items() >= RECORD.tags.items()
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.data.metrics == {"loss": 1.0 / 2500}
        history = client.get_metric_history(run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(m.step, m.value) for m in RECORD.metrics]
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("xor", "0" * 32)
        folder = client.download_artifacts(run_id, "")
        assert {file.name: file.read_bytes() for file in Path(folder).iterdir()} == RECORD.artifacts

    def test_a_parent_runs_until_it_is_closed(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        assert client.get_run(parent).info.status == "RUNNING"
        ending = RunRecord("", "KILLED", 5, 9, tags={"mlflow.note.content": "note"})
        tracker.close_run(parent, ending)
        run = client.get_run(parent)
        assert (run.info.status, run.info.end_time, run.info.run_name) == ("KILLED", 9, "sweep")
        assert run.data.tags["mlflow.note.content"] == "note"

    def test_search_finds_by_param_metric_and_tag(self, opened):
        tracker, client = opened
        (run_id,) = tracker.record_many([RECORD], None)
        text = "params.p7 = '7' and metrics.loss < 0.001 and tags.`bpexp.outcome` = 'completed'"
        found = client.search_runs([tracker.experiment_id], text)
        assert run_id in [run.info.run_id for run in found]

    def test_many_records_are_written_in_order_and_no_records_are_nothing(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        runs = [replace(RECORD, name=f"run {i}", started=i, metrics=()) for i in range(1, 21)]
        ids = tracker.record_many(runs, parent)
        assert [client.get_run(run_id).info.run_name for run_id in ids] == [r.name for r in runs]
        children = client.search_runs(
            [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
        )
        assert [run.info.run_id for run in children] == ids[::-1]
        assert tracker.record_many([], parent) == []

    def test_a_key_that_mlflow_refuses_is_one_sentence_and_no_run(self, opened):
        tracker, client = opened
        bad = replace(RECORD, name="refused", params={"a//b": "1"})
        with pytest.raises(TrackingError, match=r"^The store refused: .*'a/b'.*\.$"):
            tracker.record_many([bad], None)
        assert client.search_runs([tracker.experiment_id], "run_name = 'refused'") == []

    def test_the_experiment_opens_in_the_training_view(self, opened):
        tracker, client = opened
        tags = client.get_experiment(tracker.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


def client_tracker(store):
    client = connect(store)
    return ClientTracker(client, experiment_id(client, store, "by client"), threads=4), client


def chosen_tracker(store):
    client = connect(store)
    return choose(client, experiment_id(client, store, "chosen")), client


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    return locate(None, tmp_path_factory.mktemp("store"), {})


@pytest.fixture(scope="module")
def postgresql_store(tmp_path_factory):
    with postgresql() as server:
        yield locate(server.uri, tmp_path_factory.mktemp("here"), {})


@pytest.fixture(scope="module")
def http_store(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield locate(uri, tmp_path_factory.mktemp("here"), {})


class TestClientOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return client_tracker(sqlite_store)


class TestClientOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return client_tracker(postgresql_store)


class TestChosenOverHttp(TrackerContract):
    @pytest.fixture
    def opened(self, http_store):
        tracker, client = chosen_tracker(http_store)
        assert type(tracker) is ClientTracker
        return tracker, client

    def test_artifacts_in_bulk_go_where_mlflow_can_put_them(self, sqlite_store, http_store):
        client = connect(sqlite_store)
        place = f"{http_store.uri}/api/2.0/mlflow-artifacts/artifacts/elsewhere"
        tracker = choose(client, client.create_experiment("elsewhere", place))
        assert type(tracker) is BulkTracker
        (run_id,) = tracker.record_many([RECORD], None)
        assert {file.path for file in client.list_artifacts(run_id)} == set(RECORD.artifacts)
        for name, content in RECORD.artifacts.items():
            assert Path(client.download_artifacts(run_id, name)).read_bytes() == content


class TestBulkOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        tracker, client = chosen_tracker(sqlite_store)
        assert type(tracker) is BulkTracker
        return tracker, client


class TestBulkOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        tracker, client = chosen_tracker(postgresql_store)
        assert type(tracker) is BulkTracker
        return tracker, client


def test_a_store_is_found_by_setting_then_environment_then_folder(tmp_path):
    environment = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    assert locate("sqlite:///x.db", tmp_path, environment).uri == f"sqlite:///{tmp_path}/x.db"
    assert locate(None, tmp_path, environment).uri == "http://127.0.0.1:1"
    assert locate(None, tmp_path, {}).uri == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    with pytest.raises(ConfigError, match=r"got 'mlruns'"):
        locate("mlruns", tmp_path, {})


def test_a_deleted_experiment_is_refused(tmp_path):
    store = locate(None, tmp_path, {})
    client = connect(store)
    client.delete_experiment(experiment_id(client, store, "gone"))
    with pytest.raises(ConfigError, match=r"must not be a deleted experiment, got 'gone'"):
        experiment_id(client, store, "gone")


@given(st.integers(1, 10**6), st.integers(2, 500))
def test_a_schedule_holds_the_ends_and_at_most_its_points(epochs, points):
    steps = schedule(epochs, points)
    assert (steps[0], steps[-1]) == (1, epochs)
    assert len(steps) == len(set(steps)) == min(epochs, points)
    assert list(steps) == sorted(steps)


def test_mlflow_is_one_that_was_tested():
    assert mlflow.__version__.startswith("3.")
