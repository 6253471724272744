"""Calls a function for many stored runs, page by page, in worker processes if there are many."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from bpexp.sweeps.executors import processes
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


def map_pages(
    function: Callable[[Archive, Ids], list[T]], archive: Archive, run_ids: Ids
) -> Iterator[T]:
    """The results of a function of pages of runs, in the order of the runs.

    Args:
        function: Takes an archive and the ids of at most ``PAGE_SIZE`` runs. A module must define
            it, because processes import it from there.
        archive: Where the runs are stored; a process opens it again if the reader is not MLflow's
            client, whose import takes seconds.
        run_ids: The ids.

    Raises:
        Exception: What the function raised.
    """
    pages = [run_ids[start : start + PAGE_SIZE] for start in range(0, len(run_ids), PAGE_SIZE)]
    n_processes = min(count_workers(-1), processes.count_that_fit())
    n_done = 0
    if len(run_ids) >= MIN_RUNS and n_processes > 1 and archive.can_be_opened_again:
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
