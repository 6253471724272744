"""Reads runs from MLflow's tables in SQLite and PostgreSQL: in pages, and only what is needed.

MLflow is imported only to read a filter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar
from weakref import finalize

from sqlalchemy import Connection, Engine

from bpexp.tracking import bulk, mlflow_internals, sql_queries
from bpexp.tracking.reading import EVERYTHING, Parts, Point, Query, StoredRun, invalid_filter
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import Store, configure_mlflow

T = TypeVar("T")

_PAGE_SIZE = 1000
"""Runs of one query: the database parses a statement with as many ids in a millisecond."""
_CACHE_KIB = 8192
"""SQLite's page cache: most pages are read once, and those of a large store would fill any."""


def open_sql_reader(store: Store) -> "SqlReader | None":
    """Open an existing store without importing MLflow, which takes more than a second.

    Returns:
        None unless the store is a database that ``bulk`` could write to.
    """
    engine = bulk.open_engine(store)
    if engine is None:
        return None
    reader = SqlReader(engine)
    if reader.has_workspaces():
        engine.dispose()
        return None
    finalize(reader, engine.dispose)
    return reader


class SqlReader:
    """See ``reading.RunReader``; for databases where ``bulk.unsupported_reason`` is None."""

    client = None

    def __init__(self, engine: Engine, retry: RetryPolicy | None = None) -> None:
        self._engine, self._retry = engine, retry or RetryPolicy()

    def has_workspaces(self) -> bool:
        """Whether the database has workspaces, which MLflow must be configured for."""
        return self._read(sql_queries.has_workspaces)

    def experiments(self) -> Mapping[str, str]:
        """See ``RunReader.experiments``."""
        return self._read(sql_queries.experiments)

    def get(self, run_ids: Sequence[str], parts: Parts = EVERYTHING) -> list[StoredRun]:
        """See ``RunReader.get``."""
        return list(self._pages(run_ids, parts))

    def matching(self, wanted: str, experiment: str) -> list[StoredRun]:
        """See ``RunReader.matching``."""
        return self.get(self._read(sql_queries.matching_ids, int(experiment), wanted))

    def search(
        self,
        experiment: str,
        query: Query,
        parts: Parts = EVERYTHING,
        *,
        limit: int | None = None,
    ) -> Iterator[StoredRun]:
        """See ``RunReader.search``."""
        if query.filter_string:
            ids = self._filtered_ids(experiment, query)[:limit]
        else:
            ids = self._read(sql_queries.run_ids, int(experiment), query, limit)
        return self._pages(ids, parts)

    def count(self, experiment: str, query: Query) -> int:
        """See ``RunReader.count``."""
        if query.filter_string:
            return len(self._filtered_ids(experiment, query))
        return self._read(sql_queries.count, int(experiment), query)

    def history(self, run_ids: Sequence[str], metric: str) -> Mapping[str, Sequence[Point]]:
        """See ``RunReader.history``."""
        found: dict[str, list[Point]] = {}
        for start in range(0, len(run_ids), _PAGE_SIZE):
            page = run_ids[start : start + _PAGE_SIZE]
            found |= self._read(sql_queries.history, page, metric)
        return found

    def _pages(self, ids: Sequence[str], parts: Parts) -> Iterator[StoredRun]:
        for start in range(0, len(ids), _PAGE_SIZE):
            yield from self._read(sql_queries.runs, ids[start : start + _PAGE_SIZE], parts)

    def _filtered_ids(self, experiment: str, query: Query) -> list[str]:
        """The ids that a query with a filter selects, in MLflow's order."""
        selected = self._read(sql_queries.run_ids, int(experiment), query)
        filtered = self._read(_filtered_ids, int(experiment), query.filter_string)
        return [run_id for run_id in selected if run_id in filtered]

    def _read(self, action: Callable[..., T], *args: object) -> T:
        """Call an action with a connection; repeat it while the store is unavailable."""
        return self._retry.call(self._read_once, action, *args)

    def _read_once(self, action: Callable[..., T], *args: object) -> T:
        with self._engine.connect() as connection:
            bulk.configure(connection, self._retry, _CACHE_KIB)
            return action(connection, *args)


def _filtered_ids(connection: Connection, experiment: int, filter_string: str) -> set[str]:
    """The ids that a filter selects. Raises ConfigError for an invalid filter."""
    configure_mlflow()
    try:
        return mlflow_internals.filtered_ids(connection, experiment, filter_string)
    except ValueError as error:
        raise invalid_filter(filter_string, error) from error
