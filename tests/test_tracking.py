"""The tracker's contract, against real databases; every implementation runs the same suite."""

import sqlite3
from contextlib import closing

import mlflow
import pytest
from contract import TrackerContract
from hypothesis import given
from hypothesis import strategies as st
from servers import postgresql

from bpexp.fields.checks import ConfigError
from bpexp.tracking import bulk
from bpexp.tracking.bulk import BulkTracker
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.record import schedule
from bpexp.tracking.store import connect, experiment_id, locate


def client_tracker(store):
    client = connect(store)
    return ClientTracker(client, experiment_id(client, store, "by client"), threads=4), client


def known_tracker(store):
    client = connect(store)
    experiment_id(client, store, "known")
    tracker = open_tracker(store, "known")
    assert type(tracker) is BulkTracker
    return tracker, client


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    return locate(None, tmp_path_factory.mktemp("store"), {})


@pytest.fixture(scope="module")
def postgresql_store(tmp_path_factory):
    with postgresql() as server:
        yield locate(server.uri, tmp_path_factory.mktemp("here"), {})


class TestClientOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return client_tracker(sqlite_store)


class TestClientOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return client_tracker(postgresql_store)


class TestBulkOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return known_tracker(sqlite_store)


class TestBulkOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return known_tracker(postgresql_store)

    def test_git_ignores_the_folder_of_artifacts(self, opened, postgresql_store):
        outputs = postgresql_store.artifacts.parent
        assert outputs.name == "outputs"
        assert (outputs / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    "unknown", ["mlflow", "schema", "experiment", "workspaces", "another's", "artifacts"]
)
def test_mlflow_itself_looks_at_a_store_that_is_not_known(
    put_store, tmp_path, monkeypatch, unknown
):
    put_store(tmp_path)
    store, name = locate(None, tmp_path, {}), "bpexp"
    assert bulk.known(store, name) is not None
    with closing(sqlite3.connect(tmp_path / "outputs" / "mlflow.db")) as db, db:
        if unknown == "schema":
            db.execute("UPDATE alembic_version SET version_num = 'abc'")
        elif unknown == "artifacts":
            db.execute("UPDATE experiments SET artifact_location = 's3://bucket/place'")
        elif unknown == "another's":
            db.execute("UPDATE experiments SET workspace = 'team' WHERE name = 'bpexp'")
        elif unknown == "experiment":
            db.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
    if unknown == "workspaces":
        monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    elif unknown == "mlflow":
        monkeypatch.setattr(bulk, "version", lambda package: "3.170.0")
    assert bulk.known(store, name) is None


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
