"""Calls a function for many stored runs, page by page, in worker processes if there are many."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from bpexp.data import DATA_SOURCES
from bpexp.sweeps.executors import extensions, processes
from bpexp.sweeps.executors.local import count_workers
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.store import Store

T = TypeVar("T")

Ids = Sequence[str]
"""Complete ids of runs."""

PAGE_SIZE = 200
"""Runs of one call."""
MIN_RUNS = 20_000
"""Fewer runs are not worth the two seconds of processor time that each process takes to start."""


def count_processes(archive: Archive, n_runs: int, n_jobs: int = -1) -> int:
    """How many processes ``map_pages`` starts; 1 if it calls the function in this one.

    Args:
        archive: Where the runs are stored.
        n_runs: How many runs there are.
        n_jobs: The limit, as for the setting ``n_jobs``.
    """
    if n_runs < MIN_RUNS or not archive.can_be_opened_again or _is_extended():
        return 1
    return min(count_workers(n_jobs), processes.count_that_fit())


def _is_extended() -> bool:
    """Whether other packages have registered anything, which a worker process does not know."""
    modules = [source.config.__module__ for source in DATA_SOURCES.values()]
    return any(extensions.added()) or not all(name.startswith("bpexp.") for name in modules)


def map_pages(
    function: Callable[[Archive, Ids], list[T]], archive: Archive, run_ids: Ids, n_jobs: int = -1
) -> Iterator[T]:
    """The results of a function of pages of runs, in the order of the runs.

    Args:
        function: Takes an archive and the ids of at most ``PAGE_SIZE`` runs. A module must define
            it, because processes import it from there.
        archive: Where the runs are stored; a process opens it again if the reader is not MLflow's
            client, whose import takes seconds.
        run_ids: The ids.
        n_jobs: The largest number of processes, as for the setting ``n_jobs``.

    Raises:
        Exception: What the function raised.
    """
    pages = [run_ids[start : start + PAGE_SIZE] for start in range(0, len(run_ids), PAGE_SIZE)]
    n_processes = count_processes(archive, len(run_ids), n_jobs)
    n_done = 0
    if n_processes > 1:
        calls = (_Call(function, archive.store, archive.experiment_id, page) for page in pages)
        # Without processes, or if one dies, this process goes on.
        with (
            suppress(processes.TerminatedWorkerError, OSError),
            closing(processes.map_in_order(_results, calls, n_processes)) as results,
        ):
            for found in results:
                n_done += 1
                yield from found
    for page in pages[n_done:]:
        yield from function(archive, page)


class _Call(NamedTuple, Generic[T]):
    """The call of a function in a process that opens the archive again."""

    function: Callable[[Archive, Ids], list[T]]
    store: Store
    experiment_id: str
    page: Ids


def _results(call: _Call[T]) -> list[T]:
    return call.function(_opened(call.store, call.experiment_id), call.page)


@lru_cache(maxsize=1)
def _opened(store: Store, experiment_id: str) -> Archive:
    """The archive of a worker process."""
    return Archive(open_reader(store), store, experiment_id)
