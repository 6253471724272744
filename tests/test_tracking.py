"""The tracker's contract, against real stores; every implementation runs the same suite."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpexp.checks import ConfigError
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import DatasetInput, Metric, RunRecord
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
        run_id = tracker.record(RECORD, parent)
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
        run_id = tracker.record(RECORD, None)
        text = "params.p7 = '7' and metrics.loss < 0.001 and tags.`bpexp.outcome` = 'completed'"
        found = client.search_runs([tracker.experiment_id], text)
        assert run_id in [run.info.run_id for run in found]

    def test_the_experiment_opens_in_the_training_view(self, opened):
        tracker, client = opened
        tags = client.get_experiment(tracker.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


def client_tracker(store):
    client = connect(store)
    return ClientTracker(client, experiment_id(client, store, "contract")), client


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    return client_tracker(locate(None, tmp_path_factory.mktemp("store"), {}))


@pytest.fixture(scope="module")
def over_http(tmp_path_factory):
    with server(tmp_path_factory.mktemp("server")) as uri:
        yield client_tracker(locate(uri, tmp_path_factory.mktemp("here"), {}))


class TestClientOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, on_sqlite):
        return on_sqlite


class TestClientOverHttp(TrackerContract):
    @pytest.fixture
    def opened(self, over_http):
        return over_http


@contextlib.contextmanager
def server(folder):
    """A real MLflow server on a free loopback port; ended with all its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/m.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


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
    assert steps == sorted(steps)


def test_mlflow_is_one_that_was_tested():
    assert mlflow.__version__.startswith("3.")
