"""The task that a worker of a Dask cluster executes: training one batch.

It receives and returns plain values: dicts, lists, scalars and arrays. The worker needs none of the
user's files, because data sets are sent as arrays.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from typing import Any, NamedTuple

from distributed import Worker, get_worker

from bpexp.config.schema import parse_train
from bpexp.data import Dataset
from bpexp.data.target_scaling import TargetScaling
from bpexp.nn import arithmetic
from bpexp.runs.result import Failure, Outcome, TrainResult, Validation
from bpexp.sweeps.executors.base import Trained, train_runs
from bpexp.sweeps.job import Span
from bpexp.tracking.clock import now
from bpexp.training.batching import load_engine
from bpexp.training.engine import Cancelled, Engine
from bpexp.training.paused import PausedResult, TrainingSegment
from bpexp.typing import Array

CANCELLATION_CHECK_SECONDS = 0.5
"""How often a worker looks whether the task that it executes was cancelled."""

Plain = Mapping[str, Any]
PARTS = ("X", "Y", "X_validation", "Y_validation", "X_test", "Y_test")
"""The arrays of a data set, in the order in which they are sent."""


class Task(NamedTuple):
    """A batch as it is sent to a worker.

    Attributes:
        key: The key of the Dask task, which identifies it in Dask's state.
        is_classification: Whether the targets of the data set are classes.
        is_one_hot: Whether they are one-hot.
        scaling: Mean and deviation of scaled targets, or None.
        configs: The configuration of each job, as plain values.
        engine: The name of the engine.
        arithmetic: The version of the arithmetic that the worker must have.
        until: The epoch after which runs are paused, or None. They start from the beginning: the
            state of a paused run is not sent.
    """

    key: str
    is_classification: bool
    is_one_hot: bool
    scaling: tuple[Array, Array] | None
    configs: Sequence[Plain]
    engine: str
    arithmetic: int
    until: int | None


class WorkerState(NamedTuple):
    """What is asked of a worker before a sweep.

    Attributes:
        arithmetic: The version of its arithmetic.
        n_free_threads: How many of its threads execute no task. A thread that executes a cancelled
            task is not free, although the scheduler has forgotten that task.
    """

    arithmetic: int
    n_free_threads: int


def worker_state(dask_worker: Worker) -> tuple[int, int]:
    """The fields of the ``WorkerState`` of this worker.

    Args:
        dask_worker: The worker; Dask fills in the argument of this name.
    """
    state = dask_worker.state
    return arithmetic.VERSION, state.nthreads - state.executing_count


def keep_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Return the arrays of a data set: Dask keeps the return value of this task on the workers."""
    return arrays


def train(task: tuple[Any, ...], arrays: Sequence[Array]) -> list[tuple[int, Plain, Span]]:
    """Train a batch.

    Every error is returned as the failure of its job: Dask's client hangs on an exception whose
    traceback cannot be pickled.

    Args:
        task: The fields of a ``Task``.
        arrays: The ``PARTS`` of the data set.

    Returns:
        The index of each job in ``task.configs``, its result, and when it was trained; nothing if
        it was cancelled.
    """
    batch, started = Task(*task), now()
    try:
        results = _train(batch, arrays)
    except Cancelled:
        return []
    except Exception as error:
        if len(batch.configs) == 1:
            failure = Failure(f"{type(error).__name__}: {error}")
            return [(0, to_plain(failure), Span(started, now()))]
        # One of the configurations may be refused. ``train_runs`` treats errors of the training.
        alone = [train(batch._replace(configs=[config]), arrays) for config in batch.configs]
        return [(index, *one[1:]) for index, results in enumerate(alone) for one in results]
    return [(one.position, to_plain(one.result), one.span) for one in results]


def _train(task: Task, arrays: Sequence[Array]) -> list[Trained]:
    configs = [parse_train(config) for config in task.configs]
    if task.arithmetic != arithmetic.VERSION:
        failed = Failure(
            f"its worker's arithmetic has version {arithmetic.VERSION}, not {task.arithmetic}"
        )
        never = Span(started := now(), started)
        return [Trained(position, failed, never) for position in range(len(configs))]
    parts: dict[str, Any] = dict(zip(PARTS, arrays, strict=True))
    dataset = Dataset(
        name="", **parts, inputs=(), targets=(), digest="",
        is_classification=task.is_classification, is_one_hot=task.is_one_hot,
        target_scaling=None if task.scaling is None else TargetScaling(*task.scaling),
    )  # fmt: skip
    engine = load_engine(task.engine)
    with _cancelled_with_task(engine, get_worker(), task.key):
        runs = dict(enumerate(configs))
        ended = train_runs(runs, engine, dataset, TrainingSegment(task.until))
        return list(chain.from_iterable(ended))


@contextmanager
def _cancelled_with_task(engine: Engine, worker: Worker, key: str) -> Iterator[None]:
    """Cancel the engine soon after the Dask task with this key was cancelled.

    Dask does not stop a running task, but changes its state. Another thread looks at the state,
    because a call of the engine can take minutes: that of NumPy makes up to millions of updates.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(CANCELLATION_CHECK_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                engine.cancel()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def to_plain(result: TrainResult | Failure) -> Plain:
    """Convert a result to plain values."""
    if isinstance(result, Failure):
        return {"reason": result.reason}
    return {field.name: getattr(result, field.name) for field in fields(TrainResult)} | {
        "outcome": result.outcome.value,
        "weights": list(result.weights),
        "biases": list(result.biases),
        "validation": result.validation and list(result.validation),
        "metrics": dict(result.metrics),
    }


def from_plain(values: Plain) -> TrainResult | Failure:
    """Convert the plain values that ``to_plain`` returned to the result.

    A paused run has no state here, so that it is trained from the start again.
    """
    if "reason" in values:
        return Failure(values["reason"])
    validation = values["validation"]
    restored = {
        "outcome": Outcome(values["outcome"]),
        "weights": tuple(values["weights"]),
        "biases": tuple(values["biases"]),
        "validation": None if validation is None else Validation(*validation),
    }
    is_paused = restored["outcome"] is Outcome.PRUNED
    return (PausedResult if is_paused else TrainResult)(**{**values, **restored})
