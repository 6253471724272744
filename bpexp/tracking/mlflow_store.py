"""Opens a store with MLflow's client. Import it after ``store.configure_mlflow``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow import MlflowClient

from bpexp.tracking import durable, mlflow_internals
from bpexp.tracking.retry import RetryPolicy, TrackingError
from bpexp.tracking.store import Store, is_server, limit_logs, sqlite_file, sqlite_uri

_CREATION_LOCK = int.from_bytes(b"bpexp")
"""The key of PostgreSQL's advisory lock of processes that create MLflow's tables."""


def open_client(store: Store) -> MlflowClient:
    """Open a store; a new SQLite store is created.

    Raises:
        TrackingError: The installed MLflow does not work with its tables.
        MlflowException, SQLAlchemyError, OSError: The store cannot be opened.
    """
    # Again, because importing MLflow sets levels.
    limit_logs()
    uri = store.uri
    if store.database is not None and store.is_new:
        _create_sqlite(store.database)
    if is_server(uri):
        return _connected(uri)
    # Fails at once, where MLflow would retry for minutes.
    engine = sqlalchemy.create_engine(
        uri, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        revision = _revision(connection)
        if connection.dialect.name == "postgresql" and not _is_complete(connection, revision):
            _wait_for_creation(connection)
            revision = _revision(connection)
        _check_revision(revision, store)
        return _connected(uri)


def _connected(uri: str) -> MlflowClient:
    """A client that has made a request; MLflow creates the tables of an empty database."""
    with _without_quoted_folder(uri):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _revision(connection: sqlalchemy.Connection) -> str | None:
    """The version of MLflow's tables in a database; None if it has none."""
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _is_complete(connection: sqlalchemy.Connection, revision: str | None) -> bool:
    """Whether a database has all tables of the installed MLflow, and its default experiment."""
    if revision != mlflow_internals.latest_revision():
        return False
    return connection.scalar(sqlalchemy.text("SELECT 1 FROM experiments LIMIT 1")) is not None


def _wait_for_creation(connection: sqlalchemy.Connection) -> None:
    """Wait until no other process creates MLflow's tables: two that create them at once fail.

    Others wait for this process until the connection is closed.

    Raises:
        OperationalError: Another process has the lock for longer than the retry time.
    """
    # Zero would be no limit.
    milliseconds = max(1, round(1000 * RetryPolicy().seconds))
    connection.execute(sqlalchemy.text(f"SET lock_timeout = {milliseconds}"))
    connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_CREATION_LOCK})"))


@contextmanager
def _without_quoted_folder(uri: str) -> Iterator[None]:
    """Remove a folder that MLflow creates: it takes the quoted name of a folder for its name."""
    file = sqlite_file(uri)
    quoted = Path(uri.removeprefix("sqlite:///")).parent
    is_created = file is not None and quoted != file.parent and not quoted.exists()
    yield
    if is_created:
        with suppress(OSError):
            os.removedirs(quoted)


def _check_revision(found: str | None, store: Store) -> None:
    """Check that the installed MLflow works with the tables of a store. Raises TrackingError."""
    expected = mlflow_internals.latest_revision()
    if found in (None, expected):
        return
    advice = (
        f"back it up, then run: mlflow db upgrade {store.quoted}"
        if mlflow_internals.is_older_revision(found)
        else "install the newer MLflow that created it"
    )
    raise TrackingError(
        f"its tables have version {found}, MLflow {mlflow.__version__} needs version {expected}; "
        f"{advice}."
    )


def _create_sqlite(database: Path) -> None:
    """Create a new SQLite store atomically: MLflow cannot repair a partly created one.

    Raises:
        OSError, MlflowException: It cannot be created; nothing of it is left.
    """
    # A name that no file of the user has: what a killed process left is removed.
    temporary = database.with_name(f".{database.name}.bpexp-new")
    _remove_sqlite(temporary)
    try:
        with _without_quoted_folder(sqlite_uri(temporary)):
            client = MlflowClient(tracking_uri=sqlite_uri(temporary))
            client.search_experiments(max_results=1)
        mlflow_internals.close_connections(client)
        temporary.replace(database)
    except BaseException:
        # Ctrl-C, or a full disk, which gets its space back.
        with suppress(OSError):
            _remove_sqlite(temporary)
        raise
    durable.sync_names(database.parent)


def _remove_sqlite(database: Path) -> None:
    """Remove an SQLite file, if it exists, and its journal. Raises OSError."""
    for file in (database, database.with_name(f"{database.name}-journal")):
        file.unlink(missing_ok=True)
