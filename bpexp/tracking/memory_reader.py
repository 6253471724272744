"""Reads runs that are in memory, such as those of a bundle.

>>> from bpexp.tracking.reading import Query, StoredRun
>>> runs = [StoredRun("1a", "seed=0", "FINISHED", "7"), StoredRun("1b", "seed=1", "FAILED", "7")]
>>> reader = MemoryReader("bpexp", "7", runs, lambda run_id, metric: [])
>>> [run.name for run in reader.search("7", Query(statuses=["FINISHED"]))]
['seed=0']
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.reading import (
    EVERYTHING,
    Parts,
    Point,
    Query,
    StoredRun,
    matching,
    selected,
)


class MemoryReader:
    """See ``reading.RunReader``; without MLflow's filters."""

    client = None

    def __init__(
        self,
        experiment: str,
        experiment_id: str,
        runs: Iterable[StoredRun],
        points: Callable[[str, str], Sequence[Point]],
    ) -> None:
        """Keep the runs.

        Args:
            experiment: The name of their experiment.
            experiment_id: The id of their experiment.
            runs: The runs with all their parts.
            points: From the id of a run and a metric to all logged values of the metric.
        """
        self._experiments = {experiment: experiment_id}
        newest_first = sorted(runs, key=lambda run: (-run.started, run.run_id))
        self._runs = {run.run_id: run for run in newest_first}
        self._points = points

    def experiments(self, *, are_deleted: bool = False) -> Mapping[str, str]:
        """See ``RunReader.experiments``."""
        return {} if are_deleted else self._experiments

    def get(self, run_ids: Sequence[str], parts: Parts = EVERYTHING) -> list[StoredRun]:
        """See ``RunReader.get``."""
        return [_with_parts(self._runs[key], parts) for key in run_ids if key in self._runs]

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
        if query.filter_string:
            raise ConfigError("Runs can be filtered in a store of MLflow only.")
        found = (
            _with_parts(run, parts)
            for run in self._runs.values()
            if run.experiment_id == experiment_id and _is_selected(run, query)
        )
        return islice(found, limit)

    def count(self, experiment_id: str, query: Query) -> int:
        """See ``RunReader.count``."""
        return sum(1 for _ in self.search(experiment_id, query))

    def history(self, run_ids: Sequence[str], metric: str) -> Mapping[str, Sequence[Point]]:
        """See ``RunReader.history``."""
        found = {key: self._points(key, metric) for key in run_ids if key in self._runs}
        return {key: points for key, points in found.items() if points}


def _is_selected(run: StoredRun, query: Query) -> bool:
    if query.are_deleted or (query.statuses and run.status not in query.statuses):
        return False
    if query.are_sweeps not in (None, run.is_sweep):
        return False
    if query.sweep is not None:
        link = run_tags.linked_sweep(query.sweep)
        if run.parent != query.sweep and run.tags.get(link) != "linked":
            return False
    return query.tags.items() <= run.tags.items()


def _with_parts(run: StoredRun, parts: Parts) -> StoredRun:
    return replace(
        run,
        params=selected(run.params, parts.params),
        tags=selected(run.tags, parts.all_tags()),
        metrics=selected(run.metrics, parts.metrics),
        data=run.data if parts.data else None,
    )
