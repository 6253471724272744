"""What a worker of a cluster does: one pack, from plain values to plain values.

Plain are dicts, lists, scalars and arrays. The worker needs no file of the user's: data sets
come as arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from bpexp.config.schema import parse_train
from bpexp.data import Dataset
from bpexp.runs import fingerprint
from bpexp.runs.result import Failure, Outcome, TrainResult, Validation
from bpexp.sweeps.executors.local import Indexed, attempt
from bpexp.training.batching import load_engine
from bpexp.training.engine import Cancelled, interruptible
from bpexp.typing import Array

Plain = Mapping[str, Any]
PARTS = ("X", "Y", "X_validation", "Y_validation", "X_test", "Y_test")


def arithmetics() -> dict[str, str]:
    """What the bits hang on here, by ``numerics``."""
    # One BLAS thread for good: the worker is there for packs, which are the parallelism.
    threadpool_limits(1, user_api="blas")
    return {numerics: fingerprint.arithmetic(numerics) for numerics in ("exact", "native")}


def given(*arrays: Array) -> tuple[Array, ...]:
    """A data set's arrays, kept at the workers; sent again where those who had them are gone."""
    return arrays


def train(
    key: str,
    arrays: Sequence[Array],
    classes: bool,
    configs: Sequence[Plain],
    engine: str,
    arithmetic: str,
) -> list[tuple[int, Plain]]:
    """Each run's place in ``configs`` and its result; none where the task ``key`` is cancelled.

    ``arrays`` are the data set's ``PARTS``. All fail where this worker's bits are not those of
    ``arithmetic``, and with whatever else goes wrong: Dask's client waits for ever for an
    exception whose traceback cannot be pickled.
    """
    try:
        results = _train(key, arrays, classes, configs, engine, arithmetic)
    except Cancelled:
        return []
    except Exception as error:
        failed = Failure(f"{type(error).__name__}: {error}")
        results = [(place, failed) for place in range(len(configs))]
    return [(place, written(result)) for place, result in results]


def _train(
    key: str,
    arrays: Sequence[Array],
    classes: bool,
    configs: Sequence[Plain],
    engine: str,
    arithmetic: str,
) -> list[Indexed]:
    parsed = [parse_train(config) for config in configs]
    found = arithmetics()[parsed[0].numerics]
    if found != arithmetic:
        failed = Failure(f"its worker's arithmetic is {found!r}, not {arithmetic!r}")
        return [(place, failed) for place in range(len(configs))]
    parts = dict(zip(PARTS, arrays, strict=True))
    dataset = Dataset(name="", **parts, inputs=(), targets=(), classes=classes)
    advance = interruptible(load_engine(engine), lambda: _is_cancelled(key))
    return attempt(range(len(parsed)), parsed, advance, dataset)


def _is_cancelled(key: str) -> bool:
    """Dask lets a task that runs go on when it is cancelled; its state says so."""
    from distributed import get_worker

    task = get_worker().state.tasks.get(key)
    return task is None or task.state == "cancelled"


def written(result: TrainResult | Failure) -> Plain:
    """A result as plain values."""
    if isinstance(result, Failure):
        return {"reason": result.reason}
    return {
        "outcome": result.outcome.value,
        "losses": result.losses,
        "predictions": result.predictions,
        "weights": list(result.weights),
        "biases": list(result.biases),
        "accuracy": result.accuracy,
        "test_loss": result.test_loss,
        "test_accuracy": result.test_accuracy,
        "validation": result.validation and list(result.validation),
    }


def read(values: Plain) -> TrainResult | Failure:
    """The result that was written."""
    if "reason" in values:
        return Failure(values["reason"])
    validation = values["validation"]
    return TrainResult(
        **{
            **values,
            "outcome": Outcome(values["outcome"]),
            "weights": tuple(values["weights"]),
            "biases": tuple(values["biases"]),
            "validation": None if validation is None else Validation(*validation),
        }
    )
