"""The executor ``backend=dask``: the workers of a running Dask cluster.

Replaces joblib's Dask backend, which (joblib 1.6) hangs when Dask abandons a task whose workers
died, and which only uses the workers that were connected at its start. Here, workers may join and
leave at any time.
"""

# In older versions of Dask, Future takes no type argument when an annotation is evaluated.
from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from math import isqrt
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar
from uuid import uuid4

import dask
import distributed
from distributed import CancelledError, Client, Future, KilledWorker, Security
from distributed.client import ClosedClientError
from distributed.comm.core import connect

from bpexp.config.schema import DaskConfig, RuntimeConfig, plain
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError, brief
from bpexp.nn import arithmetic
from bpexp.runs.result import Failure
from bpexp.sweeps.executors import dask_worker
from bpexp.sweeps.executors.base import Batch, Executor, register
from bpexp.sweeps.job import JobResult, Span
from bpexp.training.engine import Cancelled

T = TypeVar("T")

BATCHES_PER_THREAD = 2
"""Batches that are sent per thread of the cluster: one that is trained and one in the queue."""
SECONDS_AFTER_CANCELLATION = 1.0
"""How long to wait for the results of a batch that had ended when the executor was cancelled."""
WORKER_DIED = Failure("its worker process died repeatedly")


@register("dask", DaskConfig)
class DaskExecutor(Executor):
    """Trains on a Dask cluster.

    Attributes:
        address: The address of the scheduler.
        seconds: How long to wait for the scheduler to answer, and for a worker while there is
            none.
    """

    def __init__(self, address: str, seconds: float) -> None:
        self.address, self.seconds = address, seconds
        self._is_cancelled = self._is_waiting = False
        self._datasets: dict[Dataset, Future[Any]] = {}
        self._client: Client
        self._stack = ExitStack()

    @classmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """See ``Executor.from_config``.

        The address is ``backend.address`` or, if that is null, the one in Dask's configuration,
        which includes ``DASK_SCHEDULER_ADDRESS``.
        """
        configured = runtime.backend.address if isinstance(runtime.backend, DaskConfig) else None
        address = configured or dask.config.get("scheduler-address", None)
        if not address:
            raise ConfigError(
                "backend.address must be given with backend=dask: the address of a running dask "
                "scheduler, such as backend.address=tcp://127.0.0.1:8786 (or set "
                "DASK_SCHEDULER_ADDRESS)."
            )
        timeout = dask.config.get("distributed.comm.timeouts.connect")
        return cls(address, dask.utils.parse_timedelta(timeout))

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError: The scheduler does not answer, has no workers, or has workers whose
                results would differ.
        """
        _silence_logs()
        with ExitStack() as stack:
            # Dask warns of large objects in tasks, but each data set is sent only once.
            stack.enter_context(
                dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
            )
            _check_scheduler_answers(self.address, self.seconds)
            client = distributed.Client(self.address, timeout=self.seconds, set_as_default=False)
            self._client = stack.enter_context(client)
            self._check_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect."""
        self._stack.close()

    @property
    def n_workers(self) -> int:
        """The present number of threads of all workers, at least 1."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    @property
    def description(self) -> str:
        """The number of workers and the scheduler's address."""
        return f"{super().description} of {self.address}"

    def _check_workers(self) -> None:
        """Raise ConfigError if there are no workers, or workers of another version."""
        try:
            self._client.wait_for_workers(1, timeout=self.seconds)
        except TimeoutError as error:
            raise ConfigError(
                f"backend.address must be a dask scheduler with workers, got {self.address!r}, "
                f"which had none for {self.seconds:g} s."
            ) from error
        n_free = 0
        for worker, answer in self._ask_workers().items():
            if isinstance(answer, OSError):
                continue  # It left meanwhile.
            if isinstance(answer, Exception):
                raise ConfigError(
                    f"backend.address must be a dask scheduler whose workers have bpexp "
                    f"installed, got {worker}: {type(answer).__name__}: {answer}."
                )
            state = dask_worker.WorkerState(*answer)
            if state.arithmetic != arithmetic.VERSION:
                raise ConfigError(
                    "backend.address must be a dask scheduler whose workers have this version "
                    f"of bpexp, got {worker} with version {state.arithmetic} of the arithmetic "
                    f"instead of {arithmetic.VERSION}."
                )
            n_free += state.n_free_threads
        if n_free <= 0:
            self._say("The workers of {} execute other tasks; the runs wait.")

    def _ask_workers(self) -> dict[str, Any]:
        """The ``WorkerState`` of each worker as a tuple, or an error, by the worker's address."""
        ask = partial(self._client.run, dask_worker.worker_state, on_error="return")
        try:
            return dict(ask(callback_timeout=self.seconds))
        except TimeoutError:
            # Such as one whose machine is suspended. The scheduler removes it after minutes.
            self._say("Waiting for workers of {} that do not answer ...")
            return dict(ask())

    def _say(self, sentence: str) -> None:
        """Print a sentence with the address of the scheduler."""
        print(sentence.format(self.address), file=sys.stderr)

    def cancel(self) -> None:
        """See ``Executor.cancel``: raises Cancelled if it interrupts a wait for the cluster."""
        self._is_cancelled = True
        if self._is_waiting:
            raise Cancelled

    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """See ``Executor.map``.

        If a worker dies, Dask retries its batches on others. After several deaths it abandons
        a batch, although another batch on the same workers may have been the cause. Abandoned
        batches are divided and trained one at a time, so that in the end only the jobs that kill
        their workers fail.
        """
        self._is_cancelled = False
        unfinished = {job.index: job for batch in batches for job in batch.jobs}
        abandoned: deque[Batch] = deque()
        try:
            for batch, results in self._results(iter(batches), BATCHES_PER_THREAD):
                if results is None:
                    abandoned.extend(_divided(batch))
                else:
                    _remove(unfinished, batch)
                    yield results
            for batch, results in self._results(_popped(abandoned), 0):
                if results is None and len(batch.jobs) > 1:
                    abandoned.extend(_divided(batch))
                else:
                    _remove(unfinished, batch)
                    yield [JobResult(batch.jobs[0], WORKER_DIED)] if results is None else results
        except (OSError, CancelledError, ClosedClientError):
            lost = Failure(f"the dask scheduler at {self.address} is gone, or has no workers")
            yield [JobResult(unfinished[index], lost) for index in sorted(unfinished)]

    def _results(
        self, waiting: Iterator[Batch], per_thread: int
    ) -> Iterator[tuple[Batch, list[JobResult] | None]]:
        """Send batches to the cluster and yield their results.

        When the executor is cancelled, those of the batches that have ended.

        Args:
            waiting: The batches.
            per_thread: Maximum number of batches in the cluster per thread, which limits the
                results that wait here to be written; 0 for a single batch in the cluster.

        Yields:
            A batch and its results, or None if Dask abandoned it.
        """
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        sent: dict[Future[Any], Batch] = {}
        try:
            with suppress(Cancelled):
                while not self._is_cancelled:
                    room = max(1, per_thread * self.n_workers) - len(sent)
                    for batch in islice(waiting, max(0, room)):
                        future = self._send(batch)
                        sent[future] = batch
                        future.add_done_callback(done.put)
                    if not sent:
                        return
                    future = self._wait(lambda seconds: done.get(timeout=seconds))
                    results = self._received(future, sent[future])
                    yield sent.pop(future), results
            with suppress(Cancelled):
                for future in [future for future in sent if future.done()]:
                    results = self._received(future, sent[future])
                    yield sent.pop(future), results
        finally:
            with suppress(OSError, ClosedClientError):
                self._client.cancel(list(sent))

    def _send(self, batch: Batch) -> Future[Any]:
        first, key = batch.jobs[0], f"bpexp-batch-{uuid4().hex}"
        scaling = first.dataset.target_scaling
        task = dask_worker.Task(
            key=key,
            is_classification=first.dataset.is_classification,
            is_one_hot=first.dataset.is_one_hot,
            scaling=(scaling.mean, scaling.scale) if scaling else None,
            configs=[plain(job.config) for job in batch.jobs],
            engine=batch.engine,
            arithmetic=arithmetic.VERSION,
            until=batch.segment.until,
        )
        arrays = self._sent_dataset(first.dataset)
        return self._client.submit(dask_worker.train, tuple(task), arrays, key=key, pure=False)

    def _sent_dataset(self, dataset: Dataset) -> Future[Any]:
        """Return the future of the arrays of a data set, which are sent to the workers once.

        The scheduler keeps the arguments of the task, so they outlive every worker.
        """
        if dataset not in self._datasets:
            arrays = [getattr(dataset, part) for part in dask_worker.PARTS]
            self._datasets[dataset] = self._client.submit(
                dask_worker.keep_arrays, *arrays, key=f"bpexp-data-{uuid4().hex}", pure=False
            )
        return self._datasets[dataset]

    def _received(self, future: Future[Any], batch: Batch) -> list[JobResult] | None:
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                # Dask may have abandoned the data set together with the batch: send it again.
                self._datasets.clear()
                return None
            # Errors in training are returned as values. This is another error, for instance of a
            # worker without bpexp.
            failed = Failure(f"{type(error).__name__}: {error}")
            return [JobResult(job, failed) for job in batch.jobs]
        values: Any = self._wait(lambda seconds: future.result(timeout=seconds))
        return [
            JobResult(batch.jobs[index], dask_worker.from_plain(value), Span(*span))
            for index, value, span in values
        ]

    def _wait(self, wait: Callable[[float], T]) -> T:
        """Call ``wait(seconds)`` until it returns, without Empty or TimeoutError.

        Raises:
            TimeoutError: No worker is left.
            Cancelled: The executor was cancelled; what has ended is waited for, but not for long.
        """
        if self._is_cancelled:
            try:
                return wait(SECONDS_AFTER_CANCELLATION)
            except (Empty, TimeoutError) as error:
                raise Cancelled from error
        self._is_waiting = True
        try:
            while True:
                try:
                    return wait(self.seconds)
                except (Empty, TimeoutError):
                    self._client.wait_for_workers(1, timeout=self.seconds)
        finally:
            self._is_waiting = False


def _silence_logs() -> None:
    """Hide Dask's messages about lost workers, which bpexp reports, unless logging is verbose."""
    if not logging.getLogger().isEnabledFor(logging.INFO):
        for name in list(logging.root.manager.loggerDict):
            if name.split(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)


def _check_scheduler_answers(address: str, seconds: float) -> None:
    """Raise ConfigError if the scheduler does not answer.

    Checked before a ``Client`` is created, which would log errors.
    """

    async def open_connection() -> None:
        comm = await connect(address, seconds, **Security().get_connection_args("client"))
        comm.abort()

    try:
        asyncio.run(open_connection())
    except OSError as error:
        raise ConfigError(
            f"backend.address must be a dask scheduler that answers within {seconds:g} s, "
            f"got {brief(address)}."
        ) from error
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(
            "backend.address must be that of a dask scheduler, such as tcp://127.0.0.1:8786, "
            f"got {brief(address)}: {reason}."
        ) from error


def _remove(unfinished: dict[int, Any], batch: Batch) -> None:
    for job in batch.jobs:
        unfinished.pop(job.index, None)


def _divided(batch: Batch) -> Iterator[Batch]:
    """Divide n jobs into about sqrt(n) batches: two divisions lead to single jobs."""
    size = isqrt(len(batch.jobs))
    for start in range(0, len(batch.jobs), size):
        yield batch.part(start, start + size)


def _popped(batches: deque[Batch]) -> Iterator[Batch]:
    while batches:
        yield batches.popleft()
