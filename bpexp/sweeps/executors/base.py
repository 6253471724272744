"""The contract of an executor: it trains batches of jobs and yields their results.

The executors are registered by the name of their option of the group ``backend``: ``serial`` (this
process), ``local`` (threads and processes of this machine) and ``dask`` (workers of a cluster).
"""

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from bpexp.config.schema import BACKENDS, Backend, BackendConfig, RuntimeConfig, TrainConfig
from bpexp.data import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.runs.result import Failure, TrainResult
from bpexp.sweeps.job import Job, JobResult, Span
from bpexp.tracking.clock import now
from bpexp.training import batching
from bpexp.training.batching import load_engine
from bpexp.training.engine import Cancelled, Engine
from bpexp.training.loop import Chunk, TrainingLoop
from bpexp.training.paused import WHOLE_TRAINING, PausedRun, TrainingSegment
from bpexp.training.run_batch import PreparedBatch, make_network
from bpexp.typing import Array

SECONDS_BETWEEN_RESULTS = 2.0
"""Results of a batch are handed over so far apart, because a store takes many runs in about the
time of one."""

NONE_PAUSED: Mapping[int, PausedRun] = {}
OnEpochs = Callable[[Sequence[Job], Array], None]
"""Called with jobs and their losses in further epochs, (n_epochs, L), in any thread."""


class Batch(NamedTuple):
    """Jobs that are trained together.

    Attributes:
        jobs: The jobs.
        engine: The name of the engine that trains them.
        segment: The part of their training that is to be done; by default all.
    """

    jobs: tuple[Job, ...]
    engine: str
    segment: TrainingSegment = WHOLE_TRAINING

    def alone(self, position: int) -> "Batch":
        """The batch of the job at this position alone."""
        return self.part(position, position + 1)

    def part(self, start: int, stop: int) -> "Batch":
        """The batch of the jobs at these positions."""
        return Batch(self.jobs[start:stop], self.engine, self.segment.part(start, stop))


class Executor(ABC):
    """Trains batches of jobs. Use it as a context manager, in one thread of one process.

    The context owns the workers: leaving it ends them. A result never depends on the executor,
    the number of workers or the order in which batches finish.

    Attributes:
        n_workers: How many batches can be trained at the same time, at least 1.
        description: The workers as the program announces them, such as "2 workers".
        on_epochs: Receives the progress of batches that are trained in this process; may be set.
    """

    on_epochs: OnEpochs | None = None

    @classmethod
    @abstractmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """Make the executor from the settings ``backend`` and ``n_jobs``.

        Raises:
            ConfigError: It cannot be used, for instance because a server does not answer.
        """

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many batches can be trained at the same time."""

    @property
    def description(self) -> str:
        """The workers as the program announces them."""
        return counted(self.n_workers, "worker")

    @abstractmethod
    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """Train batches.

        Args:
            batches: The batches; no job is in two of them.

        Yields:
            Results of jobs as they finish, in any order; one result per job. An error in a job, or
            the death of its worker, is the ``Failure`` of that job and affects no other job.

        Closing the generator cancels what has not finished, without waiting for it.
        """

    def threads_per_batch(self, n_batches: int) -> int:
        """How many processors train each of so many batches; more than one if others are idle."""
        return 1

    def cancel(self) -> None:
        """Let ``map`` end soon, after the results of the jobs that have ended.

        A signal handler calls it in the thread that uses the executor, wherever that is. This
        implementation raises KeyboardInterrupt, which loses results that ``map`` has not yielded.
        """
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        """Start the workers."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers."""
        return None


AfterChunk = Callable[[Sequence[int], Array], None]
"""Called after further epochs with the positions of the configurations that were trained, and their
losses, (n_epochs, L)."""


T = TypeVar("T")


class CallingThread:
    """Trains batches in the thread that uses an executor, and ends when that is cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = self._is_calling = False

    def cancel(self) -> None:
        """See ``Executor.cancel``: raises Cancelled if it interrupts ``call``."""
        self.is_cancelled = True
        if self._is_calling:
            raise Cancelled

    def train(
        self, batches: Iterable[Batch], on_epochs: OnEpochs | None
    ) -> Iterator[list[JobResult]]:
        """Train batches like ``train_jobs``, until ``cancel`` is called."""
        for batch in batches:
            results = train_jobs(batch, load_engine(batch.engine), on_epochs)
            while some := self.call(next, results, None):
                yield some

    def call(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """Call a function, unless it is cancelled; None if it ends by Cancelled."""
        if self.is_cancelled:
            return None
        self._is_calling = True
        try:
            return function(*arguments)
        except Cancelled:
            return None
        finally:
            self._is_calling = False


class Trained(NamedTuple):
    """The position of a configuration in its batch, its result, and when it was trained."""

    position: int
    result: TrainResult | Failure
    span: Span


def train_jobs(
    batch: Batch, engine: Engine, on_epochs: OnEpochs | None = None
) -> Iterator[list[JobResult]]:
    """Train one batch in this thread like ``train_runs``, and yield results from time to time.

    Args:
        batch: The batch.
        engine: The engine.
        on_epochs: Receives the progress.

    Yields:
        The results of jobs that ended, at most every ``SECONDS_BETWEEN_RESULTS``.

    Raises:
        Cancelled: The training was cancelled. What had ended is yielded before.
    """

    jobs = batch.jobs

    def report(positions: Sequence[int], losses: Array) -> None:
        if on_epochs is not None:
            on_epochs([jobs[position] for position in positions], losses)

    configs = {position: job.config for position, job in enumerate(jobs)}
    ended = train_runs(configs, engine, jobs[0].dataset, batch.segment, report)
    for some in _collected(ended):
        yield [JobResult(jobs[one.position], one.result, one.span) for one in some]


def train_runs(
    configs: Mapping[int, TrainConfig],
    engine: Engine,
    dataset: Dataset,
    segment: TrainingSegment = WHOLE_TRAINING,
    after_chunk: AfterChunk | None = None,
) -> Iterator[list[Trained]]:
    """Train the runs of one batch in this thread, with errors as ``Failure`` values.

    If training them together raises an error, those without a result are trained one at a time, so
    that only the runs that cause an error fail.

    Args:
        configs: The configuration of each run, by its position in ``segment.paused_runs``.
        engine: Trains them.
        dataset: Their data.
        segment: The part of their training that is to be done.
        after_chunk: Called after further epochs; None for no calls.

    Yields:
        Time and again the runs that have ended since the last time, of which there may be none.

    Raises:
        Cancelled: The training was cancelled.
    """
    started, left = now(), dict(configs)
    try:
        for ended in _train_together(configs, engine, dataset, segment, after_chunk, started):
            for one in ended:
                del left[one.position]
            yield ended
        return
    except Exception as error:
        failure = Failure(f"{type(error).__name__}: {error}")
    if len(configs) == 1:
        yield [Trained(position, failure, Span(started, now())) for position in left]
        return
    for position, config in left.items():
        yield from train_runs({position: config}, engine, dataset, segment, after_chunk)


def _train_together(
    configs: Mapping[int, TrainConfig],
    engine: Engine,
    dataset: Dataset,
    segment: TrainingSegment,
    after_chunk: AfterChunk | None,
    started: int,
) -> Iterator[list[Trained]]:
    """``train_runs`` without the treatment of errors; the training started at ``started``."""
    positions = list(configs)
    batch = PreparedBatch(list(configs.values()), dataset)
    paused = [segment.paused_runs[position] for position in positions if segment.paused_runs]
    loop = TrainingLoop(batch, engine, paused)
    for event in loop.run_chunks(segment.until):
        if isinstance(event, Chunk):
            span = Span(started, now())
            if after_chunk is not None:
                after_chunk([positions[run] for run in event.runs.tolist()], event.losses)
            yield []
        else:
            yield [Trained(positions[event.run], event.result, span)]
    span = Span(started, now())
    yield [Trained(positions[run], result, span) for run, result in loop.pause()]


def _collected(parts: Iterable[Sequence[Trained]]) -> Iterator[list[Trained]]:
    """Collect results, and yield them at most every ``SECONDS_BETWEEN_RESULTS``, and at the end.

    Raises:
        Cancelled: ``parts`` raised it. What had ended is yielded before.
    """
    ended: list[Trained] = []
    last, cancelled = time.monotonic(), None
    try:
        for part in parts:
            ended += part
            if ended and time.monotonic() - last >= SECONDS_BETWEEN_RESULTS:
                results, ended, last = ended, [], time.monotonic()
                yield results
    except Cancelled as error:
        cancelled = error
    if ended:
        yield ended
    if cancelled is not None:
        raise cancelled


def make_batches(
    jobs: Sequence[Job],
    engine: str,
    n_workers: int,
    until: int | None = None,
    paused: Mapping[int, PausedRun] = NONE_PAUSED,
) -> list[Batch]:
    """Divide jobs into batches, evenly over the workers.

    Args:
        jobs: The jobs to train.
        engine: The setting ``engine``.
        n_workers: How many batches are trained at the same time.
        until: The epoch after which jobs that have not ended are paused; None for no such epoch.
        paused: Jobs that go on from where they were paused, by index; the others start.
    """
    by_start: dict[int, list[Job]] = {}
    for job in jobs:
        start = paused[job.index].epochs_done if job.index in paused else 0
        by_start.setdefault(start, []).append(job)
    batches = []
    for start, some in by_start.items():
        datasets = {job.config.data: job.dataset for job in some}
        configs = [job.config for job in some]
        for runs, name in batching.group_runs(configs, engine, n_workers, datasets):
            chosen = tuple(some[run] for run in runs)
            states = tuple(paused[job.index] for job in chosen) if start else ()
            batches.append(Batch(chosen, name, TrainingSegment(until, states)))
    return batches


def longest_first(batches: Iterable[Batch]) -> list[Batch]:
    """The batches in an order in which the workers end at about the same time."""
    return sorted(batches, key=_n_products_of, reverse=True)


def _n_products_of(batch: Batch) -> int:
    """Multiplications that the training of a batch takes, if no run stops early."""
    job = batch.jobs[0]
    network = make_network(job.config, job.dataset)
    return network.n_products(len(job.dataset.X)) * job.config.epochs * len(batch.jobs)


E = TypeVar("E", bound=Executor)

EXECUTORS: dict[str, type[Executor]] = {}
"""Executors by the name of their option of the ``backend`` group."""


LATE_MODULES = {"dask": "bpexp.sweeps.executors.dask_cluster"}
"""Modules of executors that are imported when they are chosen: their libraries are optional and
take most of a second to import."""


def register(name: str, config: type[BackendConfig]) -> Callable[[type[E]], type[E]]:
    """Return a class decorator that makes an executor available as ``backend=name``.

    Args:
        name: The name of the option; ``conf/backend/NAME.yaml`` lists its settings.
        config: The class of its settings.

    Raises:
        ValueError: There is an executor of that name.
    """

    def add(executor: type[E]) -> type[E]:
        if name in EXECUTORS:
            raise ValueError(f"There is already an executor named {name!r}.")
        BACKENDS.register(Backend(name, config))
        EXECUTORS[name] = executor
        return executor

    return add


def open_executor(runtime: RuntimeConfig) -> Executor:
    """Return the executor of the setting ``backend``; use it as a context manager.

    Raises:
        ConfigError: It cannot be used.
    """
    name = runtime.backend.name
    if name in LATE_MODULES:
        try:
            importlib.import_module(LATE_MODULES[name])
        except ImportError as error:
            raise ConfigError(
                f"backend={name} needs the package {error.name}: pip install -e '.[{name}]'"
            ) from error
    return EXECUTORS[name].from_config(runtime)
