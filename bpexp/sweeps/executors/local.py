"""The executor ``backend=local``: joblib's threads and processes on this machine.

The compiled engine releases the GIL, so its batches are trained by threads, which share the data
sets. Batches of the NumPy engine are trained by processes, to which the data sets are sent.
"""

import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from joblib import Parallel, cpu_count, delayed, parallel_config

from bpexp.config.schema import BackendConfig, RuntimeConfig
from bpexp.data import Dataset, load
from bpexp.runs.result import Failure
from bpexp.sweeps.executors import extensions, processes
from bpexp.sweeps.executors.base import Batch, Executor, register, train_batch
from bpexp.sweeps.job import Job, JobResult
from bpexp.training.batching import load_engine
from bpexp.training.engine import interruptible

BATCHES_AHEAD = 2
"""Batches that a thread may have finished before the first of them is taken: without a limit,
results of short runs would fill the memory, since they take longer to write than to train."""


def count_workers(n_jobs: int) -> int:
    """The number of workers that the setting ``n_jobs`` means; -1 is all processors."""
    return n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)


@register("local", BackendConfig)
class LocalExecutor(Executor):
    """Trains on this machine; ``n_jobs`` as the setting of that name."""

    def __init__(self, n_jobs: int) -> None:
        self._n_workers = count_workers(n_jobs)

    @classmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """See ``Executor.from_config``."""
        return cls(runtime.n_jobs)

    @property
    def n_workers(self) -> int:
        """The number of threads or processes."""
        return self._n_workers

    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """See ``Executor.map``."""
        for_threads = [batch for batch in batches if batch.engine == "compiled"]
        others = [batch for batch in batches if batch.engine != "compiled"]
        if for_threads:
            yield from self._map_threads(for_threads)
        if len(others) == 1 or self._n_workers == 1:
            yield from (train_batch(b.jobs, load_engine(b.engine)) for b in others)
        elif others:
            yield from self._map_processes(others)

    def _map_threads(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        cancelled = threading.Event()
        engine = interruptible(load_engine("compiled"), cancelled.is_set)
        room = threading.Semaphore(BATCHES_AHEAD * self._n_workers)

        def train(jobs: Sequence[Job]) -> list[JobResult]:
            room.acquire()
            return train_batch(jobs, engine)

        with parallel_config("threading", n_jobs=min(self._n_workers, len(batches))):
            pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
            finished = pool(delayed(train)(batch.jobs) for batch in batches)
            with _cancelled_at_exit(finished):
                try:
                    for results in finished:
                        yield results
                        room.release()
                finally:
                    cancelled.set()
                    room.release(len(batches))

    def _map_processes(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        """If a worker dies, the batches that it may have had are trained again, job by job."""
        waiting = {batch.jobs[0].index: batch for batch in batches}
        while waiting:
            try:
                for results in self._parallel(list(waiting.values())):
                    del waiting[min(job.index for job, _ in results)]
                    yield results
            except processes.TerminatedWorkerError:
                for first in list(waiting)[: 2 * self._n_workers]:
                    batch = waiting.pop(first)
                    yield [_train_in_own_process(job, batch.engine) for job in batch.jobs]

    def _parallel(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        # One BLAS thread per worker: the batches are the parallelism. Data sets are sent as
        # arrays: importing what reads them would take a worker longer than most training.
        with parallel_config(
            "loky", n_jobs=self._n_workers, inner_max_num_threads=1, max_nbytes=None
        ):
            pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
            added = extensions.added()
            with processes.sigint_blocked():
                finished = pool(
                    delayed(extensions.call)(
                        added,
                        train_in_worker,
                        batch.jobs,
                        batch.engine,
                        load(batch.jobs[0].config.data),
                    )
                    for batch in batches
                )
            with _cancelled_at_exit(finished):
                # Not ``yield from``, which would close the generator outside the context.
                for results in finished:  # noqa: UP028
                    yield results


@contextmanager
def _cancelled_at_exit(finished: Any) -> Iterator[None]:
    """Close joblib's generator at the end of the context, without its warning that tasks were
    cancelled: that is what closing it is for.
    """
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\d+ tasks which were", UserWarning)
            finished.close()


def train_in_worker(jobs: Sequence[Job], engine: str, dataset: Dataset) -> list[JobResult]:
    """Train a batch in a worker process."""
    return train_batch(jobs, load_engine(engine), dataset)


def _train_in_own_process(job: Job, engine: str) -> JobResult:
    """Train one job in a process that it shares with no other."""
    try:
        with processes.SingleProcess() as process:
            dataset = load(job.config.data)
            call = (extensions.added(), train_in_worker, [job], engine, dataset)
            (trained,) = process.submit(extensions.call, *call).result()
            return JobResult(job, trained.result)
    except processes.TerminatedWorkerError as error:
        return JobResult(job, Failure(f"its worker process died: {str(error).splitlines()[0]}"))
