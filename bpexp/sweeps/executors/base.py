"""The contract of an executor: it trains batches of jobs and yields their results.

The executors are registered by the name of their ``backend`` group: ``serial`` (this process),
``local`` (threads and processes of this machine) and ``dask`` (workers of a cluster).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Self, TypeVar

from bpexp.config.schema import BACKENDS, Backend, BackendConfig, RuntimeConfig
from bpexp.data import Dataset
from bpexp.runs.result import Failure, TrainResult
from bpexp.sweeps.job import Job, JobResult
from bpexp.training import batching
from bpexp.training.engine import Engine
from bpexp.training.loop import train_batch as train_configs


class Batch(NamedTuple):
    """Jobs that are trained side by side, and the name of the engine that trains them."""

    jobs: tuple[Job, ...]
    engine: str


class Executor(ABC):
    """Trains batches of jobs. Use it as a context manager, in one thread of one process.

    The context owns the workers: leaving it ends them. A result never depends on the executor,
    the number of workers or the order in which batches finish.

    Attributes:
        n_workers: How many batches can be trained at the same time, at least 1.
        description: The workers as the program announces them, such as "2 workers".
    """

    @classmethod
    @abstractmethod
    def from_config(cls, runtime: RuntimeConfig) -> Self:
        """Make the executor that the settings ``backend`` and ``n_jobs`` ask for.

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
        return f"{self.n_workers} worker{'s' * (self.n_workers > 1)}"

    @abstractmethod
    def map(self, batches: Sequence[Batch]) -> Generator[list[JobResult], None, None]:
        """Train batches.

        Args:
            batches: What to train. No job stands in two batches.

        Yields:
            The results of some jobs, as they finish, in any order; each job's exactly once. An
            error in a job, or the death of its worker, is a ``Failure`` of that job alone.

        Closing the generator cancels what has not finished, without waiting for it.
        """

    def __enter__(self) -> Self:
        """Start the workers."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers."""
        return None


def train_batch(
    jobs: Sequence[Job], engine: Engine, dataset: Dataset | None = None
) -> list[JobResult]:
    """Train one batch in this thread and return errors as ``Failure`` values.

    If the batch as a whole raises, the jobs without a result are trained one at a time, so that
    only those fail that raise by themselves.

    Args:
        jobs: The jobs of one batch.
        engine: The engine.
        dataset: Their data set; it is loaded if it is not given.
    """
    done: dict[int, TrainResult | Failure] = {}
    try:
        for place, result in train_configs([job.config for job in jobs], engine, dataset):
            done[place] = result
    except Exception as error:
        if len(jobs) == 1:
            return [JobResult(jobs[0], Failure(f"{type(error).__name__}: {error}"))]
        for place, job in enumerate(jobs):
            if place not in done:
                done[place] = train_batch([job], engine, dataset)[0].result
    return [JobResult(jobs[place], result) for place, result in done.items()]


def make_batches(jobs: Sequence[Job], engine: str, n_workers: int) -> list[Batch]:
    """Divide jobs into batches, evenly over the workers.

    Args:
        jobs: The jobs to train.
        engine: The setting ``engine``.
        n_workers: How many batches are trained at the same time.
    """
    made = batching.make_batches([job.config for job in jobs], engine, n_workers)
    return [Batch(tuple(jobs[place] for place in one.runs), one.engine) for one in made]


E = TypeVar("E", bound=Executor)

EXECUTORS: dict[str, type[Executor]] = {}
"""Executors by the name of their option of the ``backend`` group."""


def register(name: str, config: type[BackendConfig]) -> Callable[[type[E]], type[E]]:
    """Class decorator: makes an executor available as ``backend=name``.

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
    """The executor that ``backend`` names; use it as a context manager.

    Raises:
        ConfigError: It cannot be used.
    """
    return EXECUTORS[runtime.backend.name].from_config(runtime)
