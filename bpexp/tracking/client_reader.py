"""Reads runs from every store that MLflow supports, through its public client."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from bpexp.runs import run_tags
from bpexp.tracking import paging
from bpexp.tracking.reading import (
    EVERYTHING,
    NO_PARTS,
    SWEEP_SIGNS,
    Parts,
    Point,
    Query,
    StoredRun,
    invalid_filter,
    matching,
    restored,
    selected,
)
from bpexp.tracking.retry import RetryPolicy

_PAGE_SIZE = 5000
"""Runs of one request."""
_THREADS = 8
"""Simultaneous requests for values of a metric."""
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class ClientReader:
    """See ``reading.RunReader``; works with every store of MLflow, HTTP included.

    MLflow's client always reads all parts of a run, and cannot search for the beginning of an id.
    """

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def experiments(self, *, are_deleted: bool = False) -> Mapping[str, str]:
        """See ``RunReader.experiments``."""
        view = ViewType.DELETED_ONLY if are_deleted else ViewType.ACTIVE_ONLY
        search = partial(self.client.search_experiments, view_type=view)
        experiments = paging.items(search, RetryPolicy())
        return {experiment.name: str(experiment.experiment_id) for experiment in experiments}

    def get(self, run_ids: Sequence[str], parts: Parts = EVERYTHING) -> list[StoredRun]:
        """See ``RunReader.get``."""
        runs = [RetryPolicy().call(_run_if_any, self.client, run_id) for run_id in run_ids]
        return [_with_parts(run, parts) for run in runs if run is not None]

    def matching(self, wanted: str, experiment_id: str) -> list[StoredRun]:
        """See ``RunReader.matching``."""
        return matching(self, wanted, experiment_id)

    def search(
        self,
        experiment_id: str,
        query: Query,
        parts: Parts = EVERYTHING,
        *,
        limit: int | None = None,
    ) -> Iterator[StoredRun]:
        """See ``RunReader.search``."""
        searches = [
            self._selected(experiment_id, query, clauses, parts, limit)
            for clauses in _clauses(query)
        ]
        if len(searches) == 1:
            return searches[0]
        # A run may be selected twice.
        runs = {run.run_id: run for run in chain.from_iterable(searches)}
        newest_first = sorted(runs.values(), key=lambda run: (-run.started, run.run_id))
        return islice(newest_first, limit)

    def count(self, experiment_id: str, query: Query) -> int:
        """See ``RunReader.count``."""
        return sum(1 for _ in self.search(experiment_id, query, NO_PARTS))

    def history(self, run_ids: Sequence[str], metric: str) -> Mapping[str, Sequence[Point]]:
        """See ``RunReader.history``."""

        def read(run_id: str) -> list[Metric]:
            return RetryPolicy().call(self.client.get_metric_history, run_id, metric)

        with ThreadPoolExecutor(_THREADS) as pool:
            curves = pool.map(read, run_ids)
            return {
                run_id: _points(points)
                for run_id, points in zip(run_ids, curves, strict=True)
                if points
            }

    def _selected(
        self,
        experiment_id: str,
        query: Query,
        clauses: Sequence[str],
        parts: Parts,
        limit: int | None,
    ) -> Iterator[StoredRun]:
        """The runs of a query that some of MLflow's conditions select, the newest first."""
        runs = (
            _with_parts(run, parts)
            for run in self._search_pages(experiment_id, query, clauses, limit)
            if not (query.statuses and (run.info.status or "") not in query.statuses)
            if query.are_sweeps in (None, run_tags.are_of_sweep(run.data.tags))
        )
        return islice(runs, limit)

    def _search_pages(
        self, experiment_id: str, query: Query, clauses: Sequence[str], limit: int | None
    ) -> Iterator[Run]:
        filter_string = " and ".join(filter(None, [query.filter_string, *clauses]))
        size = min(limit or _PAGE_SIZE, _PAGE_SIZE)
        stage = ViewType.DELETED_ONLY if query.are_deleted else ViewType.ACTIVE_ONLY
        search = partial(
            self.client.search_runs, [experiment_id], filter_string, stage, max_results=size
        )
        return paging.items(partial(_search_page, search, query.filter_string), RetryPolicy())


def _clauses(query: Query) -> list[list[str]]:
    """MLflow's conditions of a query; several if the runs are those that any of them selects."""
    common = [f"tags.`{key}` = '{value}'" for key, value in query.tags.items()]
    if len(query.statuses) == 1:
        common += [f"attributes.status = '{status}'" for status in query.statuses]
    alternatives = [common]
    if query.sweep is not None:
        alternatives = [
            [*common, f"tags.`mlflow.parentRunId` = '{query.sweep}'"],
            # A reused run belongs to the sweep that trained it.
            [*common, f"tags.`{run_tags.linked_sweep(query.sweep)}` = 'linked'"],
        ]
    if query.are_sweeps:
        alternatives = [[*one, sign] for one in alternatives for sign in SWEEP_SIGNS]
    return alternatives


def _search_page(
    search: Callable[..., PagedList[Run]], given: str, page_token: str | None
) -> PagedList[Run]:
    """A page of a search. Raises ConfigError if the filter that the user gave is invalid."""
    try:
        return search(page_token=page_token)
    except MlflowException as error:
        if not given or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise invalid_filter(given, error) from error


def _run_if_any(client: MlflowClient, run_id: str) -> Run | None:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def _points(points: Sequence[Metric]) -> list[Point]:
    return sorted((Point(p.step, restored(p.value)) for p in points), key=lambda point: point.step)


def _with_parts(run: Run, parts: Parts) -> StoredRun:
    """MLflow's run as a plain value, with some of its parts."""
    inputs = run.inputs.dataset_inputs if run.inputs and parts.data else []
    metrics = selected(run.data.metrics, parts.metrics).items()
    return StoredRun(
        run.info.run_id,
        run.info.run_name or "",
        run.info.status or "",
        str(run.info.experiment_id),
        run.info.start_time or 0,
        run.info.end_time,
        run.info.artifact_uri or "",
        selected(run.data.params, parts.params),
        selected(run.data.tags, parts.all_tags()),
        # A column of SQLite may contain text.
        {key: restored(value) for key, value in metrics if isinstance(value, int | float)},
        inputs[0].dataset.digest if inputs else None,
    )
