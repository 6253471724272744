"""The executor ``backend=local``: threads, and joblib's processes, on this machine.

The compiled engine releases the GIL, so its batches are trained by threads, which share the data
sets. Batches of the NumPy engine are trained by processes, which open the data sets in shared
memory.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import NamedTuple, Self

from bpexp.config.schema import BackendConfig, RuntimeConfig, TrainConfig
from bpexp.interrupts import next_item
from bpexp.runs.result import Failure
from bpexp.sweeps.executors import base, extensions, processes
from bpexp.sweeps.executors.base import (
    Batch,
    CallingThread,
    Executor,
    Trained,
    register,
    train_jobs,
    train_runs,
)
from bpexp.sweeps.executors.shared_data import SharedDataset, SharedDatasets, open_dataset
from bpexp.sweeps.job import JobResult
from bpexp.training.batching import load_engine
from bpexp.training.engine import Cancelled
from bpexp.training.paused import TrainingSegment
from bpexp.typing import Array

SECONDS_BETWEEN_REPORTS = 0.1
"""A worker process reports the epochs that it has trained so far apart."""
BATCHES_AHEAD = 2
"""Maximum number of finished batches per thread whose results have not been consumed. Results of
short runs take longer to write than to train; without a limit they would fill the memory."""


MAX_PER_PROCESSOR = 4
"""More workers than that would train no sooner, each with its memory, files and start-up time, and
smaller batches take longer."""


def count_workers(n_jobs: int) -> int:
    """Return the number of workers for a value of the setting ``n_jobs``.

    As in joblib, -1 stands for all processors, -2 for all but one, and so on, and at least 1.
    """
    n_processors: int = processes.cpu_count()
    if n_jobs < 0:
        return max(1, n_processors + 1 + n_jobs)
    return min(n_jobs, MAX_PER_PROCESSOR * n_processors)


@register("local", BackendConfig)
class LocalExecutor(Executor):
    """Trains with threads and processes of this machine.

    Args:
        n_jobs: The setting ``n_jobs``, see ``count_workers``.
    """

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs = n_jobs
        self._n_workers = count_workers(n_jobs)
        self._thread = CallingThread()
        self._stop_workers: Callable[[], object] | None = None

    @classmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """See ``Executor.from_config``."""
        return cls(runtime.n_jobs)

    @property
    def n_workers(self) -> int:
        """The number of threads or processes."""
        return self._n_workers

    @property
    def description(self) -> str:
        """See ``Executor.description``."""
        if self._n_jobs <= self._n_workers:
            return super().description
        limit = f"n_jobs={self._n_jobs}, but at most {MAX_PER_PROCESSOR} per processor"
        return f"{super().description} ({limit})"

    def cancel(self) -> None:
        """See ``Executor.cancel``."""
        if self._stop_workers is not None:
            self._stop_workers()
        self._thread.cancel()

    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """See ``Executor.map``."""
        self._thread = CallingThread()
        for_threads = [batch for batch in batches if batch.engine == "compiled"]
        others = [batch for batch in batches if batch.engine != "compiled"]
        if for_threads:
            yield from self._map_threads(for_threads)
        if self._thread.is_cancelled:
            return
        if len(others) == 1 or min(self._n_workers, processes.count_that_fit()) == 1:
            yield from self._thread.train(others, self.on_epochs)
        elif others:
            yield from self._map_processes(others)

    def _map_threads(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        engine, own_thread = load_engine("compiled"), self._thread
        free_slots = threading.Semaphore(BATCHES_AHEAD * self._n_workers)
        ended: SimpleQueue[list[JobResult] | BaseException | None] = SimpleQueue()

        def train(batch: Batch) -> None:
            """Put the results of a batch, and at its end None or what ended it."""
            free_slots.acquire()
            try:
                if not own_thread.is_cancelled:
                    for results in train_jobs(batch, engine, self.on_epochs):
                        ended.put(results)
                ended.put(None)
            except Cancelled:
                ended.put(None)
            except BaseException as error:
                ended.put(error)

        n_unfinished = len(batches)
        engine.max_threads = self.threads_per_batch(n_unfinished)
        pool = ThreadPoolExecutor(min(self._n_workers, n_unfinished))
        self._stop_workers = engine.cancel
        try:
            for batch in batches:
                pool.submit(train, batch)
            while n_unfinished:
                results = next_item(ended)
                if isinstance(results, BaseException):
                    raise results
                if results is None:
                    n_unfinished -= 1
                    engine.max_threads = self.threads_per_batch(n_unfinished)
                    free_slots.release()
                else:
                    yield results
        finally:
            self._stop_workers = None
            engine.cancel()
            free_slots.release(len(batches))
            pool.shutdown(cancel_futures=True)

    def threads_per_batch(self, n_batches: int) -> int:
        """See ``Executor.threads_per_batch``."""
        n_processors: int = min(self._n_workers, processes.cpu_count())
        return max(1, n_processors // max(1, n_batches))

    def _map_processes(self, batches: Sequence[Batch]) -> Iterator[list[JobResult]]:
        """Train in processes. If one dies, the batches that were running are trained again.

        Each job is then trained in a separate process, so that only the jobs that kill it fail.
        Where no process can be started, for instance because /dev/shm is full, this one trains.
        """
        waiting = {number: _Waiting(batch) for number, batch in enumerate(batches)}
        with SharedDatasets() as datasets:
            while waiting and not self._thread.is_cancelled:
                try:
                    yield from self._train_in_pool(waiting, datasets)
                except OSError as error:
                    print(
                        f"No worker processes can be started ({error}); the runs are trained in "
                        "this process.",
                        file=sys.stderr,
                    )
                    remaining = [part for one in waiting.values() for part in one.remaining()]
                    yield from self._thread.train(remaining, self.on_epochs)
                    return
                except processes.TerminatedWorkerError:
                    # One of the tasks that the pool had taken killed the process.
                    n_taken = processes.TASKS_PER_PROCESS * self._n_workers
                    for number in list(waiting)[:n_taken]:
                        for job in waiting.pop(number).unfinished():
                            done = self._thread.call(_train_in_separate_process, job, datasets)
                            if done is not None:
                                yield [done]

    def _train_in_pool(
        self, waiting: "dict[int, _Waiting]", datasets: SharedDatasets
    ) -> Iterator[list[JobResult]]:
        """Train batches in a pool of processes; removes those that have ended from ``waiting``.

        Raises:
            OSError: No process can be started.
            TerminatedWorkerError: A process died.
        """
        # A list: joblib takes tasks while batches that have ended are removed.
        tasks = ((number, _task(one.batch, datasets)) for number, one in list(waiting.items()))
        # loky starts all processes at once, also those that have nothing to train. With one process
        # joblib would train in this one, which a run that kills its process would end.
        n_processes = min(self._n_workers, max(2, len(waiting)), processes.count_that_fit())
        pool = processes.Pool(n_processes)
        self._stop_workers = pool.stop
        try:
            with closing(pool.run(tasks)) as messages:
                for number, (trained, epochs) in messages:
                    one = waiting[number]
                    self._report(one.batch, epochs)
                    yield from one.add(trained)
                    if one.is_finished:
                        del waiting[number]
        finally:
            self._stop_workers = None
        for one in waiting.values():
            yield from one.flush()
        if pool.error is not None:
            raise pool.error

    def _report(self, batch: Batch, epochs: Sequence[tuple[Sequence[int], Array]]) -> None:
        """Report the epochs that a worker process has trained."""
        if self.on_epochs is not None:
            for positions, losses in epochs:
                self.on_epochs([batch.jobs[position] for position in positions], losses)


class _Waiting:
    """A batch that processes train, with its results that have not been yielded."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._positions = set(range(len(batch.jobs)))
        self._results: list[JobResult] = []
        self._last = time.monotonic()

    @property
    def is_finished(self) -> bool:
        """Whether every job has a result."""
        return not self._positions

    def add(self, trained: Sequence[Trained]) -> Iterator[list[JobResult]]:
        """Add results; yields those so far at most every ``SECONDS_BETWEEN_RESULTS``."""
        self._positions -= {one.position for one in trained}
        self._results += [JobResult(self.batch.jobs[one.position], *one[1:]) for one in trained]
        is_due = time.monotonic() - self._last >= base.SECONDS_BETWEEN_RESULTS
        if is_due or self.is_finished:
            yield from self.flush()

    def flush(self) -> Iterator[list[JobResult]]:
        """Yield the results that have not been yielded, if there are any."""
        if self._results:
            results, self._results, self._last = self._results, [], time.monotonic()
            yield results

    def unfinished(self) -> list[Batch]:
        """Each job without a result, as a batch."""
        return [self.batch.alone(position) for position in sorted(self._positions)]

    def remaining(self) -> list[Batch]:
        """The jobs without a result: one batch if they are all."""
        is_new = len(self._positions) == len(self.batch.jobs)
        return [self.batch] if is_new else self.unfinished()


class WorkerMessage(NamedTuple):
    """What a worker process reports of a batch.

    Attributes:
        trained: Runs that have ended.
        epochs: The epochs that were trained since the last message: the positions of the runs, and
            their losses, (n_epochs, L).
    """

    trained: Sequence[Trained]
    epochs: Sequence[tuple[Sequence[int], Array]]


class _Reports:
    """Sends the messages of a worker; those without results from time to time."""

    def __init__(self, send: Callable[[WorkerMessage], object]) -> None:
        self._send = send
        self._epochs: list[tuple[Sequence[int], Array]] = []
        self._last = time.monotonic()

    def after_chunk(self, positions: Sequence[int], losses: Array) -> None:
        """See ``base.AfterChunk``."""
        self._epochs.append((positions, losses))
        if time.monotonic() - self._last >= SECONDS_BETWEEN_REPORTS:
            self.results([])

    def results(self, trained: Sequence[Trained]) -> None:
        """Send results at once."""
        self._send(WorkerMessage(trained, self._epochs))
        self._epochs, self._last = [], time.monotonic()


def train_in_worker(
    parent: int,
    configs: Sequence[TrainConfig],
    engine: str,
    dataset: SharedDataset,
    segment: TrainingSegment,
    send: Callable[[WorkerMessage], object],
) -> None:
    """Train a batch in a worker process, which ends with its parent.

    Importing what reads data files would take a worker longer than most training, so that it
    receives the data.

    Args:
        parent: The process id of the parent.
        configs: The configuration of each job.
        engine: The name of the engine.
        dataset: The data of all jobs.
        segment: The part of their training that is to be done.
        send: Receives the results as jobs end, and the epochs.
    """
    processes.end_with_parent(parent)
    reports, runs = _Reports(send), dict(enumerate(configs))
    for trained in train_runs(
        runs, load_engine(engine), open_dataset(dataset), segment, reports.after_chunk
    ):
        if trained:
            reports.results(trained)


def _task(batch: Batch, datasets: SharedDatasets) -> processes.Task:
    """The task of a worker process that trains a batch."""
    configs, dataset = [job.config for job in batch.jobs], datasets.share(batch.jobs[0].dataset)
    arguments = (os.getpid(), configs, batch.engine, dataset, batch.segment)
    return processes.Task(extensions.call, (extensions.added(), train_in_worker, *arguments))


def _train_in_separate_process(batch: Batch, datasets: SharedDatasets) -> JobResult:
    """Train a batch of one job in a process that no other job uses."""
    (job,) = batch.jobs
    try:
        messages = processes.run_alone(_task(batch, datasets))
    except processes.TerminatedWorkerError as error:
        return JobResult(job, Failure(f"its worker process died: {str(error).splitlines()[0]}"))
    (trained,) = [one for message in messages for one in message.trained]
    return JobResult(job, *trained[1:])
