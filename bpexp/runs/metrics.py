"""The table of metrics: every number that is computed, stored and shown for a finished run.

Everything that names metrics iterates over ``METRICS``: training computes them, MLflow stores
them, and tables, rankings and reports show them. A new metric is one more record, which
``METRICS.register`` adds.

>>> [metric.name for metric in METRICS.values() if metric.split is Split.TEST]
['test_loss', 'test_accuracy']
>>> METRICS["test_accuracy"].direction
<Direction.MAXIMIZE: 'maximize'>
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bpexp.data.dataset import Dataset
from bpexp.fields import Registry
from bpexp.runs.result import Outcome, TrainResult
from bpexp.typing import Array


class Direction(StrEnum):
    """Whether lower or higher values are better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Split(StrEnum):
    """The rows that a metric is computed on."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Evaluation:
    """What metrics are computed from: a finished run and its outputs.

    Attributes:
        result: The run; its ``metrics`` are not filled in yet.
        dataset: The data set it was trained on.
        test_outputs: Outputs on the test rows, (n_test, n_outputs); None without test rows.
        test_loss: Loss per sample on the test rows; None without test rows.
    """

    result: TrainResult
    dataset: Dataset
    test_outputs: Array | None = None
    test_loss: float | None = None


@dataclass(frozen=True)
class Metric:
    """A number that describes a finished run.

    Attributes:
        name: Its name in MLflow, in tables and in filters.
        label: Its name in sentences and on axes.
        direction: Whether lower or higher values are better.
        split: The rows that it is computed on.
        compute: Returns the value, or None where the metric does not apply to the run.
        if_diverged: What a diverged run counts in rankings; None is worse than any value.
    """

    name: str
    label: str
    direction: Direction
    split: Split
    compute: Callable[[Evaluation], float | None]
    if_diverged: float | None = None


def _final_loss(run: Evaluation) -> float | None:
    return run.result.final_loss


def _epochs_run(run: Evaluation) -> float | None:
    return run.result.epochs_run


def _accuracy(run: Evaluation) -> float | None:
    if not run.dataset.classes or run.result.outcome is Outcome.DIVERGED:
        return None
    return run.dataset.accuracy(run.result.predictions, run.dataset.Y)


def _test_loss(run: Evaluation) -> float | None:
    return run.test_loss


def _test_accuracy(run: Evaluation) -> float | None:
    if not run.dataset.classes or run.test_outputs is None:
        return None
    return run.dataset.accuracy(run.test_outputs, run.dataset.Y_test)


def _lowest_validation_loss(run: Evaluation) -> float | None:
    return run.result.lowest_validation_loss


METRICS: Registry[Metric] = Registry("metric", [
    Metric("final_loss", "final loss", Direction.MINIMIZE, Split.TRAINING, _final_loss),
    Metric("epochs_run", "epochs", Direction.MINIMIZE, Split.TRAINING, _epochs_run),
    Metric("accuracy", "accuracy", Direction.MAXIMIZE, Split.TRAINING, _accuracy, 0.0),
    Metric("test_loss", "test loss", Direction.MINIMIZE, Split.TEST, _test_loss),
    Metric(
        "test_accuracy", "test accuracy", Direction.MAXIMIZE, Split.TEST, _test_accuracy, 0.0,
    ),
    Metric(
        "lowest_validation_loss", "validation loss", Direction.MINIMIZE, Split.VALIDATION,
        _lowest_validation_loss,
    ),
])  # fmt: skip
"""All metrics, in the order in which tables show them."""


def compute(evaluation: Evaluation) -> dict[str, float]:
    """Compute every metric that applies to a run.

    Returns:
        Values by metric name, in the order of the table.
    """
    values = ((metric.name, metric.compute(evaluation)) for metric in METRICS.values())
    return {name: value for name, value in values if value is not None}
