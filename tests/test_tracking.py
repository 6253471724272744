"""Runs the contract tests of both trackers on SQLite and PostgreSQL; opening of stores."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from contract import TrackerContract
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from reader_contract import ReaderContract, opened_by
from servers import postgresql

import bpexp
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.run_record import logged_epochs
from bpexp.tracking import database, lookup, mlflow_internals
from bpexp.tracking.bulk import BulkTracker, open_bulk_tracker
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.client_reader import ClientReader
from bpexp.tracking.database import Database
from bpexp.tracking.factory import open_reader, open_tracker
from bpexp.tracking.sql_reader import SqlReader
from bpexp.tracking.store import connect, get_or_create_experiment, locate


def client_tracker(store):
    client = connect(store)
    experiment = get_or_create_experiment(client, store, "by client")
    return ClientTracker(client, experiment, threads=4), client


def bulk_tracker(store):
    client = connect(store)
    get_or_create_experiment(client, store, "bulk")
    tracker = open_tracker(store, "bulk")
    assert type(tracker) is BulkTracker
    return tracker, client


@pytest.fixture(scope="module")
def sqlite_store(put_store, tmp_path_factory):
    return put_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def postgresql_store(tmp_path_factory):
    with postgresql() as server:
        yield locate(server.uri, tmp_path_factory.mktemp("here"), {})


class TestReadingOfSqliteTables(ReaderContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return opened_by(SqlReader, sqlite_store)


@pytest.mark.slow
class TestReadingOfPostgresqlTables(ReaderContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return opened_by(SqlReader, postgresql_store)


class TestReadingBySqliteClient(ReaderContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return sqlite_store, ClientReader(connect(sqlite_store))


class TestClientOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return client_tracker(sqlite_store)


@pytest.mark.slow
class TestClientOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return client_tracker(postgresql_store)


class TestBulkOnSqlite(TrackerContract):
    @pytest.fixture
    def opened(self, sqlite_store):
        return bulk_tracker(sqlite_store)


@pytest.mark.slow
class TestBulkOnPostgresql(TrackerContract):
    @pytest.fixture
    def opened(self, postgresql_store):
        return bulk_tracker(postgresql_store)

    def test_git_ignores_the_artifact_folder(self, opened, postgresql_store):
        outputs = postgresql_store.artifacts.parent
        assert outputs.name == "outputs"
        assert (outputs / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    "unknown", ["mlflow", "schema", "experiment", "workspaces", "workspace row", "artifacts"]
)
def test_an_untested_store_is_not_opened_without_mlflow(put_store, tmp_path, monkeypatch, unknown):
    put_store(tmp_path)
    store, name = locate(None, tmp_path, {}), "bpexp"
    assert open_bulk_tracker(store, name) is not None
    assert Database.open(store) is not None
    with closing(sqlite3.connect(tmp_path / "outputs" / "mlflow.db")) as db, db:
        if unknown == "schema":
            db.execute("UPDATE alembic_version SET version_num = 'abc'")
        elif unknown == "artifacts":
            db.execute("UPDATE experiments SET artifact_location = 's3://bucket/place'")
        elif unknown == "workspace row":
            db.execute("UPDATE experiments SET workspace = 'team' WHERE name = 'bpexp'")
        elif unknown == "experiment":
            db.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
    if unknown == "workspaces":
        monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    elif unknown == "mlflow":
        monkeypatch.setattr(database, "version", lambda package: "3.170.0")
    assert open_bulk_tracker(store, name) is None
    # Readers need no experiment, and read artifacts from wherever they are.
    is_readable = unknown in ("experiment", "artifacts")
    assert (Database.open(store) is not None) == is_readable


def test_the_setting_precedes_the_environment_variable_and_the_default_store(tmp_path):
    environment = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    assert locate("sqlite:///x.db", tmp_path, environment).uri == f"sqlite:///{tmp_path}/x.db"
    assert locate(None, tmp_path, environment).uri == "http://127.0.0.1:1"
    assert locate(None, tmp_path, {}).uri == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    with pytest.raises(ConfigError, match=r"got 'mlruns'"):
        locate("mlruns", tmp_path, {})


def test_a_deleted_experiment_is_an_error_with_the_command_to_restore_it(put_store, tmp_path):
    store = put_store(tmp_path)
    client = connect(store)
    client.delete_experiment(get_or_create_experiment(client, store, "gone"))
    with pytest.raises(
        ConfigError, match=r"'gone' is deleted; .* mlflow experiments restore --exp"
    ):
        get_or_create_experiment(client, store, "gone")


@given(st.integers(1, 10**6), st.integers(2, 500))
def test_a_schedule_contains_both_ends_and_at_most_the_given_number_of_points(epochs, points):
    steps = logged_epochs(epochs, points)
    assert (steps[0], steps[-1]) == (1, epochs)
    assert len(steps) == len(set(steps)) == min(epochs, points)
    assert list(steps) == sorted(steps)


@pytest.mark.usefixtures("a_store")
def test_internals_work_with_the_installed_mlflow_which_is_a_tested_one(tmp_path):
    tested = mlflow_internals.TESTED_SCHEMAS[mlflow.__version__.rpartition(".")[0]]
    assert mlflow_internals.latest_revision() == tested
    assert mlflow_internals.is_older_revision("451aebb31d03")
    assert not mlflow_internals.is_older_revision("0123456789ab")
    mlflow_internals.validate_key("a key")
    with pytest.raises(MlflowException, match="a/b"):
        mlflow_internals.validate_key("a//b")
    assert mlflow_internals.append_to_uri("s3://b/p?q=1", "run", "a") == "s3://b/p/run/a?q=1"
    assert mlflow_internals.local_path("s3://bucket") is None
    assert mlflow_internals.local_path(tmp_path.as_uri()) == tmp_path
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.txt").write_text("content")
    mlflow_internals.upload((tmp_path / "to").as_uri(), tmp_path / "from")
    assert (tmp_path / "to" / "a.txt").read_text() == "content"
    client = connect(locate(None, tmp_path, {}))
    assert mlflow_internals.store_type(client) == "SqlAlchemyStore"
    assert mlflow_internals.sql_engine(client).dialect.name == "sqlite"
    mlflow_internals.close_connections(client)


@pytest.mark.usefixtures("a_store")
def test_a_run_is_found_in_another_experiment_by_id_and_by_name(tmp_path):
    store = locate(None, tmp_path, {})
    client = connect(store)
    other = ClientTracker(client, get_or_create_experiment(client, store, "the other"))
    run_id = other.open_run("sweep", 5, {})
    for reader in (open_reader(store), ClientReader(client)):
        for wanted in (run_id, run_id[:8], "sweep"):
            experiment, run = lookup.find(reader, "bpexp", wanted)
            assert (experiment, run.run_id) == ("the other", run_id)
        assert lookup.with_id(reader, run_id).run_id == run_id
        with pytest.raises(ConfigError, match=r"got 'absent'; bpexp runs lists them\.$"):
            lookup.find(reader, "bpexp", "absent")


@pytest.mark.parametrize("name", ["width of the hidden layer, again", "0123456789abcdef" * 2])
@pytest.mark.usefixtures("a_store")
def test_a_name_as_long_as_an_id_is_found(name, tmp_path):
    store = locate(None, tmp_path, {})
    tracker, client = bulk_tracker(store)
    assert len(name) == 32
    run_id = tracker.open_run(name, 5, {})
    for reader in (open_reader(store), ClientReader(client)):
        assert lookup.find(reader, "bulk", name).run.run_id == run_id


INTERNALS = re.compile(r"\._tracking_client|^ *(from|import) mlflow\.(store|utils)\b")


def test_internals_of_mlflow_are_used_in_one_module_only():
    package = Path(bpexp.__file__).parent
    using = [
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if INTERNALS.search(line) and "PagedList" not in line  # for type hints only
    ]
    assert set(using) == {"tracking/mlflow_internals.py"}
