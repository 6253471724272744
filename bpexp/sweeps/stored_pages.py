"""Calls a function for many stored runs, page by page, in worker processes if there are many."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import TypeVar

from bpexp.sweeps.executors import processes
from bpexp.sweeps.executors.local import count_workers
from bpexp.sweeps.executors.processes import Task
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.store import Store

T = TypeVar("T")

Ids = Sequence[str]
"""Complete ids of runs."""

PAGE_SIZE = 500
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
        for found in _in_processes(function, archive, pages, n_processes):
            n_done += 1
            yield from found
    for page in pages[n_done:]:
        yield from function(archive, page)


def _in_processes(
    function: Callable[[Archive, Ids], list[T]],
    archive: Archive,
    pages: Sequence[Ids],
    n_processes: int,
) -> Iterator[list[T]]:
    """The results for each page, in their order; ends early if processes cannot run or die."""
    pool = processes.Pool(n_processes)
    tasks = enumerate(
        Task(_send_results, (function, archive.store, archive.experiment_id, page))
        for page in pages
    )
    waiting: dict[int, list[T]] = {}
    n_yielded = 0
    with closing(pool.run(tasks)) as messages:
        for number, found in messages:
            waiting[number] = found
            while n_yielded in waiting:
                yield waiting.pop(n_yielded)
                n_yielded += 1
    if pool.error is not None and not isinstance(
        pool.error, processes.TerminatedWorkerError | OSError
    ):
        raise pool.error


def _send_results(
    function: Callable[[Archive, Ids], list[T]],
    store: Store,
    experiment_id: str,
    page: Ids,
    send: Callable[[list[T]], None],
) -> None:
    send(function(_opened(store, experiment_id), page))


@lru_cache(maxsize=1)
def _opened(store: Store, experiment_id: str) -> Archive:
    """The archive of a worker process."""
    return Archive(open_reader(store), store, experiment_id)
