"""Tracking on an MLflow server over HTTP, and reproducing runs from it."""

import os
from pathlib import Path

import mlflow
import pytest
from contract import RECORD, TrackerContract
from reader_contract import ReaderContract, opened_by
from servers import mlflow_server

import bpexp
from bpexp.tracking.bulk import BulkTracker
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.client_reader import ClientReader
from bpexp.tracking.factory import open_tracker, tracker_for
from bpexp.tracking.store import connect, locate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield locate(uri, tmp_path_factory.mktemp("here"), {})


class TestClientOverHttp(TrackerContract):
    @pytest.fixture
    def opened(self, store):
        tracker = open_tracker(store, "http")
        assert type(tracker) is ClientTracker
        return tracker, connect(store)


class TestReadingOverHttp(ReaderContract):
    @pytest.fixture
    def opened(self, store):
        return opened_by(ClientReader, store)


def test_the_bulk_tracker_uploads_artifacts_through_mlflow(store, put_store, tmp_path):
    put_store(tmp_path)
    client = connect(locate(None, tmp_path, {}))
    location = f"{store.uri}/api/2.0/mlflow-artifacts/artifacts/elsewhere"
    tracker = tracker_for(client, client.create_experiment("elsewhere", location))
    assert type(tracker) is BulkTracker
    parent = tracker.open_run("sweep", 1, {})
    tracker.add_files(parent, RECORD.artifacts)
    (run_id,) = tracker.stage([RECORD], parent).commit()
    for run in (parent, run_id):
        assert {file.path for file in client.list_artifacts(run)} == set(RECORD.artifacts)
        for name, content in RECORD.artifacts.items():
            assert Path(client.download_artifacts(run, name)).read_bytes() == content


def test_runs_on_a_server_are_reproduced_without_temporary_files(
    store, inside, tmp_path, temporary_folder
):
    done = inside("-m", "seed=range(0,3)", "epochs=30", f"tracking.uri={store.uri}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Review: open {store.uri}"
    assert (tmp_path / "outputs" / ".gitignore").read_text() == "*\n"
    before = os.listdir(temporary_folder)
    done = inside("reproduce", "--all", "--uri", store.uri)
    assert os.listdir(temporary_folder) == before
    assert (done.returncode, done.stdout) == (0, "3 of 3 runs identical to the bit.\n")
    (run_id,) = bpexp.load_runs(uri=store.uri, filter="params.seed = '1'").run_id
    mlflow.MlflowClient(store.uri).set_tag(run_id, "bpexp.result", "0" * 64)
    done = inside("reproduce", run_id, "--uri", store.uri)
    assert done.returncode == 1
    assert "The tag bpexp.result was altered" in done.stdout
