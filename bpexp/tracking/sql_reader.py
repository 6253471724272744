"""Reads runs from MLflow's tables in SQLite and PostgreSQL: in pages, and only what is needed.

MLflow is imported only to read a filter.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from bpexp.tracking import mlflow_internals, sql_queries
from bpexp.tracking.database import Database
from bpexp.tracking.reading import EVERYTHING, Parts, Point, Query, StoredRun, invalid_filter
from bpexp.tracking.store import configure_mlflow

_PAGE_SIZE = 1000
"""Runs of one query: the database parses a statement with as many ids in a millisecond."""


class SqlReader:
    """See ``reading.RunReader``."""

    client = None

    def __init__(self, database: Database) -> None:
        self._database = database

    def experiments(self, *, are_deleted: bool = False) -> Mapping[str, str]:
        """See ``RunReader.experiments``."""
        return self._database.read(sql_queries.experiments, "deleted" if are_deleted else "active")

    def get(self, run_ids: Sequence[str], parts: Parts = EVERYTHING) -> list[StoredRun]:
        """See ``RunReader.get``."""
        return list(self._pages(run_ids, parts))

    def matching(self, wanted: str, experiment_id: str) -> list[StoredRun]:
        """See ``RunReader.matching``."""
        return self.get(self._database.read(sql_queries.matching_ids, int(experiment_id), wanted))

    def search(
        self,
        experiment_id: str,
        query: Query,
        parts: Parts = EVERYTHING,
        *,
        limit: int | None = None,
    ) -> Iterator[StoredRun]:
        """See ``RunReader.search``."""
        if query.filter_string:
            ids = self._filtered_ids(experiment_id, query)[:limit]
        else:
            ids = self._database.read(sql_queries.run_ids, int(experiment_id), query, limit)
        return self._pages(ids, parts)

    def count(self, experiment_id: str, query: Query) -> int:
        """See ``RunReader.count``."""
        if query.filter_string:
            return len(self._filtered_ids(experiment_id, query))
        return self._database.read(sql_queries.count, int(experiment_id), query)

    def history(self, run_ids: Sequence[str], metric: str) -> Mapping[str, Sequence[Point]]:
        """See ``RunReader.history``."""
        found: dict[str, list[Point]] = {}
        for start in range(0, len(run_ids), _PAGE_SIZE):
            page = run_ids[start : start + _PAGE_SIZE]
            found |= self._database.read(sql_queries.history, page, metric)
        return found

    def _pages(self, ids: Sequence[str], parts: Parts) -> Iterator[StoredRun]:
        for start in range(0, len(ids), _PAGE_SIZE):
            yield from self._database.read(sql_queries.runs, ids[start : start + _PAGE_SIZE], parts)

    def _filtered_ids(self, experiment_id: str, query: Query) -> list[str]:
        """The ids that a query with a filter selects, in MLflow's order."""
        selected = self._database.read(sql_queries.run_ids, int(experiment_id), query)
        filtered = self._database.read(_filtered_ids, int(experiment_id), query.filter_string)
        return [run_id for run_id in selected if run_id in filtered]


def _filtered_ids(connection: Connection, experiment_id: int, filter_string: str) -> set[str]:
    """The ids that a filter selects. Raises ConfigError for an invalid filter."""
    configure_mlflow()
    try:
        return mlflow_internals.filtered_ids(connection, experiment_id, filter_string)
    except ValueError as error:
        raise invalid_filter(filter_string, error) from error
