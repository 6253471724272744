"""The executor ``backend=local``: threads, and joblib's processes, on this machine.

The compiled engine releases the GIL, so its batches are trained by threads, which share the data
sets. Batches of the NumPy engine are trained by processes, which open the data sets in shared
memory.
"""

import os
import sys
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, Self

from joblib import Parallel, delayed, parallel_config

from bpexp.config.schema import BackendConfig, RuntimeConfig, TrainConfig
from bpexp.runs.result import Failure
from bpexp.sweeps.executors import extensions, processes
from bpexp.sweeps.executors.base import (
    Batch,
    Executor,
    Trained,
    register,
    train_configs,
    train_jobs,
)
from bpexp.sweeps.executors.shared_data import SharedDataset, SharedDatasets, open_dataset
from bpexp.sweeps.job import JobResult
from bpexp.training.batching import load_engine
from bpexp.training.paused import Stretch

BATCHES_AHEAD = 2
"""Maximum number of finished batches per thread whose results have not been consumed. Results of
short runs take longer to write than to train; without a limit they would fill the memory."""


def count_workers(n_jobs: int) -> int:
    """Return the number of workers for a value of the setting ``n_jobs``.

    As in joblib, -1 stands for all processors, -2 for all but one, and so on.
    """
    return n_jobs if n_jobs > 0 else max(1, processes.cpu_count() + 1 + n_jobs)


@register("local", BackendConfig)
class LocalExecutor(Executor):
    """Trains with threads and processes of this machine.

    Args:
        n_jobs: The setting ``n_jobs``, see ``count_workers``.
    """

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
        if len(others) == 1 or min(self._n_workers, processes.count_that_fit()) == 1:
            yield from self._map_serially(others)
        elif others:
            yield from self._map_processes(others)

    def _map_serially(self, batches: Iterable[Batch]) -> Iterator[list[JobResult]]:
        """Train in this thread."""
        for batch in batches:
            yield from train_jobs(batch, load_engine(batch.engine), self.on_epochs)

    def _map_threads(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        engine = load_engine("compiled")
        free_slots = threading.Semaphore(BATCHES_AHEAD * self._n_workers)
        ended: SimpleQueue[list[JobResult] | BaseException | None] = SimpleQueue()

        def train(batch: Batch) -> None:
            """Put the results of a batch, and at its end None or what ended it."""
            free_slots.acquire()
            try:
                for results in train_jobs(batch, engine, self.on_epochs):
                    ended.put(results)
                ended.put(None)
            except BaseException as error:
                ended.put(error)

        n_unfinished = len(batches)
        pool = ThreadPoolExecutor(min(self._n_workers, n_unfinished))
        try:
            for batch in batches:
                pool.submit(train, batch)
            while n_unfinished:
                results = ended.get()
                if isinstance(results, BaseException):
                    raise results
                if results is None:
                    n_unfinished -= 1
                    free_slots.release()
                else:
                    yield results
        finally:
            engine.cancel()
            free_slots.release(len(batches))
            pool.shutdown(cancel_futures=True)

    def _map_processes(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        """Train in processes. If one dies, the batches that were running are trained again.

        Each job is then trained in a separate process, so that only the jobs that kill it fail.
        Where no process can be started, for instance because /dev/shm is full, this one trains.
        """
        waiting = dict(enumerate(batches))
        with SharedDatasets() as datasets:
            while waiting:
                try:
                    for number, trained in self._parallel(waiting, datasets):
                        jobs = waiting.pop(number).jobs
                        yield [JobResult(jobs[one.position], *one[1:]) for one in trained]
                except OSError as error:
                    print(
                        f"No worker processes can be started ({error}); the runs are trained in "
                        "this process.",
                        file=sys.stderr,
                    )
                    yield from self._map_serially(waiting.values())
                    return
                except processes.TerminatedWorkerError:
                    for number in list(waiting)[: 2 * self._n_workers]:
                        batch = waiting.pop(number)
                        yield [_train_in_separate_process(batch.alone(position), datasets)
                               for position in range(len(batch.jobs))]  # fmt: skip

    def _parallel(
        self, batches: Mapping[int, Batch], datasets: SharedDatasets
    ) -> Iterator[tuple[int, list[Trained]]]:
        """Train batches, and yield the number and the results of each."""
        processes.check_available()
        # loky starts all processes at once, also those that have nothing to train. With one process
        # joblib would train in this one, which a run that kills its process would end.
        n_processes = min(self._n_workers, max(2, len(batches)), processes.count_that_fit())
        config = parallel_config("loky", n_jobs=n_processes, max_nbytes=None)
        with config, ExitStack() as at_exit:
            pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
            added = extensions.added()
            with processes.interrupts_blocked():
                finished = pool(
                    delayed(extensions.call)(
                        added,
                        train_in_worker,
                        os.getpid(),
                        number,
                        [job.config for job in batch.jobs],
                        batch.engine,
                        datasets.share(batch.jobs[0].dataset),
                        batch.stretch,
                    )
                    # A copy: joblib takes batches from it while those that ended are removed.
                    for number, batch in list(batches.items())
                )
                # Before interrupts are delivered again.
                at_exit.enter_context(_cancelled_at_exit(finished))
            # Not ``yield from``, which would close the generator outside the context.
            for results in finished:  # noqa: UP028
                yield results


@contextmanager
def _cancelled_at_exit(finished: Any) -> Iterator[None]:
    """Close joblib's generator at the end of the context, to cancel the remaining tasks.

    joblib's warning about cancelled tasks is suppressed.
    """
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\d+ tasks which were", UserWarning)
            finished.close()


def train_in_worker(
    parent: int,
    number: int,
    configs: Sequence[TrainConfig],
    engine: str,
    dataset: SharedDataset,
    stretch: Stretch,
) -> tuple[int, list[Trained]]:
    """Train the batch with this number in a worker process, which ends with its parent.

    Importing what reads data files would take a worker longer than most training, so that it
    receives the data.
    """
    processes.end_with_parent(parent)
    return number, train_configs(configs, load_engine(engine), open_dataset(dataset), stretch)


def _train_in_separate_process(batch: Batch, datasets: SharedDatasets) -> JobResult:
    """Train a batch of one job in a process that no other job uses."""
    (job,) = batch.jobs
    try:
        with processes.SingleProcess() as process:
            _, trained = process.submit(
                extensions.call, extensions.added(), train_in_worker,
                os.getpid(), 0, [job.config], batch.engine, datasets.share(job.dataset),
                batch.stretch,
            ).result()  # fmt: skip
            return JobResult(job, *trained[0][1:])
    except processes.TerminatedWorkerError as error:
        return JobResult(job, Failure(f"its worker process died: {str(error).splitlines()[0]}"))
