"""MLflow's databases as bpexp uses them without MLflow's client: SQLite and PostgreSQL."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar
from weakref import finalize

from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from bpexp.tracking.mlflow_internals import TESTED_SCHEMAS
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import Store

T = TypeVar("T")

DRIVERS = ("pysqlite", "psycopg")
"""SQLAlchemy's drivers for SQLite and PostgreSQL that bpexp is tested with."""
_CACHE_KIB = 8192
"""SQLite's page cache: most pages are read once, and those of a large store would fill any."""


def unsupported_reason(engine: Engine) -> str | None:
    """Why a database with MLflow's tables cannot be used without MLflow; None if it can."""
    driver = engine.dialect.driver
    if driver not in DRIVERS:
        return f"the driver {driver} is not one of {', '.join(DRIVERS)}"
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found not in TESTED_SCHEMAS.values():
        first, *_, last = TESTED_SCHEMAS
        return f"the schema version {found} is not that of MLflow {first} to {last}"
    return None


def select(connection: Connection, query: str, **values: Any) -> Sequence[tuple[Any, ...]]:
    """The rows that ``SELECT query`` finds; a value that is a list stands for the values of IN."""
    lists = [name for name, value in values.items() if isinstance(value, list | tuple)]
    statement = text(f"SELECT {query}").bindparams(*(bindparam(k, expanding=True) for k in lists))
    return connection.execute(statement, values).all()


class Database:
    """Runs actions in a database, and repeats them while it is locked or unavailable.

    An action is a function of a connection and of other arguments.

    Attributes:
        retry: How long an action is repeated.
    """

    def __init__(
        self, engine: Engine, cache_kib: int = _CACHE_KIB, retry: RetryPolicy | None = None
    ) -> None:
        """Keep the connections.

        Args:
            engine: Connects to a database for which ``unsupported_reason`` is None.
            cache_kib: The largest size of SQLite's page cache in KiB.
            retry: How long to wait for the database.
        """
        self._engine, self._cache_kib = engine, cache_kib
        self.retry = retry or RetryPolicy()
        self._busy_timeout_ms = min(self.retry.busy_timeout_ms, round(1000 * self.retry.seconds))

    @classmethod
    def open(cls, store: Store, cache_kib: int = _CACHE_KIB) -> "Database | None":
        """Connect to an existing store without importing MLflow, which takes more than a second.

        Returns:
            The database, whose connections are closed when it is garbage-collected. None unless the
            store is a database, the installed MLflow is of a tested version, and so are the tables,
            without workspaces, which MLflow must be configured for. MLflow must then open the
            store.
        """
        is_database = store.uri.startswith(("sqlite", "postgresql")) and not store.is_new
        is_tested = version("mlflow").rpartition(".")[0] in TESTED_SCHEMAS
        if not is_database or not is_tested or "MLFLOW_ENABLE_WORKSPACES" in os.environ:
            return None
        try:
            engine = create_engine(store.uri, pool_pre_ping=True)
        except (SQLAlchemyError, ImportError, ValueError):
            return None
        with suppress(SQLAlchemyError):
            if unsupported_reason(engine) is None and not _has_workspaces(engine):
                database = cls(engine, cache_kib)
                finalize(database, engine.dispose)
                return database
        engine.dispose()
        return None

    def read(self, action: Callable[..., T], *args: object) -> T:
        """The result of an action that changes nothing. Raises TrackingError."""
        return self.retry.call(self._read_once, action, *args)

    def transaction(self, action: Callable[..., T], *args: object) -> T:
        """The result of an action in a transaction, which is committed. Raises TrackingError."""
        return self.retry.call(self._transaction_once, action, *args)

    def without_retry(self) -> "Database":
        """The same database, for actions that are tried once."""
        once = copy(self)
        once.retry = replace(self.retry, seconds=0)
        return once

    def _read_once(self, action: Callable[..., T], *args: object) -> T:
        with self._engine.connect() as connection:
            self._configure(connection)
            return action(connection, *args)

    def _transaction_once(self, action: Callable[..., T], *args: object) -> T:
        # SQLAlchemy commits nothing that went around it, as COPY does, unless a transaction began.
        with self._engine.begin() as connection:
            self._configure(connection)
            return action(connection, *args)

    def _configure(self, connection: Connection) -> None:
        """Set up an SQLite connection as MLflow does, except for the time to wait for a lock."""
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            # The default leaves the rollback journal in the folder for a while after a commit:
            # after a power loss the last transaction would be undone.
            connection.exec_driver_sql("PRAGMA synchronous = EXTRA")
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")
            connection.exec_driver_sql(f"PRAGMA cache_size = -{self._cache_kib}")


def _has_workspaces(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(select(connection, "1 FROM experiments WHERE workspace <> 'default' LIMIT 1"))
