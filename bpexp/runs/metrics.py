"""The table of metrics: every number that is computed, stored and shown for a finished run.

Everything that names metrics iterates over ``METRICS``: training computes them, MLflow stores
them, and tables, rankings and reports show them. A new metric is one more record, which
``METRICS.register`` adds.

>>> [metric.name for metric in METRICS.values() if metric.split is Split.TEST][:3]
['test_loss', 'test_squared_error', 'test_accuracy']
>>> METRICS["test_accuracy"].direction
<Direction.MAXIMIZE: 'maximize'>
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from bpexp.data.dataset import Dataset
from bpexp.fields import Registry
from bpexp.runs import output_metrics
from bpexp.runs.result import Outcome, TrainResult, Validation
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


class MetricUnit(StrEnum):
    """What the values of a metric are measured in."""

    NONE = "none"
    LOSS = "loss"
    TARGETS = "targets"


@dataclass(frozen=True)
class Evaluation:
    """What metrics are computed from: a finished run and its outputs.

    Attributes:
        result: The run; its ``metrics`` are not filled in yet.
        dataset: The data set it was trained on.
        test_outputs: Outputs on the test rows, (n_test, n_outputs); None without test rows.
        test_loss: Loss per sample on the test rows; None without test rows.
        validation_outputs: Outputs on the validation rows, (n_validation, n_outputs); None
            without validation rows.
    """

    result: TrainResult
    dataset: Dataset
    test_outputs: Array | None = None
    test_loss: float | None = None
    validation_outputs: Array | None = None

    @cached_property
    def output_metrics(self) -> Mapping[Split, Mapping[str, float]]:
        """The metrics of the outputs on each kind of rows by name, see ``runs.output_metrics``.

        Empty for rows that the data set does not have, and for a diverged run.
        """
        outputs = {
            Split.TRAINING: self.result.predictions,
            Split.VALIDATION: self.validation_outputs,
            Split.TEST: self.test_outputs,
        }
        if self.result.outcome is Outcome.DIVERGED:
            return {split: {} for split in outputs}
        return {
            split: {} if values is None else of_outputs(self.dataset, split, values)
            for split, values in outputs.items()
        }


def of_outputs(dataset: Dataset, split: Split, outputs: Array) -> Mapping[str, float]:
    """The metrics of outputs by name, see ``runs.output_metrics``.

    Args:
        dataset: The data set.
        split: The rows, at least one.
        outputs: The outputs on these rows, (n_rows, n_outputs).
    """
    if not dataset.is_classification:
        return output_metrics.of_numbers(_targets(dataset, split), outputs)
    targets, predicted = class_codes(dataset, split), dataset.class_codes(outputs)
    if predicted.ndim == 2:
        return output_metrics.of_labels(targets > 0, predicted > 0)
    return output_metrics.of_classes(targets, predicted, dataset.n_classes)


def _targets(dataset: Dataset, split: Split) -> Array:
    return {
        Split.TRAINING: dataset.Y, Split.VALIDATION: dataset.Y_validation,
        Split.TEST: dataset.Y_test,
    }[split]  # fmt: skip


# Cached, because all runs of a sweep have the same targets.
@lru_cache(maxsize=48)
def class_codes(dataset: Dataset, split: Split) -> output_metrics.Codes:
    """The classes of the targets of a kind of rows, see ``Dataset.class_codes``."""
    return dataset.class_codes(_targets(dataset, split))


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
        unit: What its values are measured in: only values with the same unit are compared.
        in_tables: Whether the terminal shows it next to other metrics. MLflow, results.csv and
            reports have all metrics.
    """

    name: str
    label: str
    direction: Direction
    split: Split
    compute: Callable[[Evaluation], float | None]
    if_diverged: float | None = None
    in_tables: bool = True
    unit: MetricUnit = MetricUnit.NONE


def _final_loss(run: Evaluation) -> float | None:
    return run.result.final_loss


def _last_epoch_loss(run: Evaluation) -> float | None:
    """The loss of the last epoch, where the weights of another epoch may have been kept."""
    return None if run.result.kept_loss is None else run.result.last_epoch_loss


def _epochs_run(run: Evaluation) -> float | None:
    return run.result.epochs_run


def _test_loss(run: Evaluation) -> float | None:
    return run.test_loss


def _test_squared_error(run: Evaluation) -> float | None:
    """The squared error of the outputs, which is the test loss only of the loss half_squared."""
    if run.test_outputs is None or run.result.outcome is Outcome.DIVERGED:
        return None
    error = output_metrics.mean_squared_error(run.dataset.Y_test, run.test_outputs)
    return None if math.isnan(error) else error


def _lowest_validation_loss(run: Evaluation) -> float | None:
    return run.result.lowest_validation_loss


def _output_metric(name: str, split: Split, run: Evaluation) -> float | None:
    return run.output_metrics[split].get(name)


def _of_rows(split: Split) -> list[Metric]:
    """The metrics of the outputs on one kind of rows."""
    prefix = "" if split is Split.TRAINING else f"{split}_"
    words = prefix.replace("_", " ")

    def metric(name: str, label: str, direction: Direction, **others: Any) -> Metric:
        compute = partial(_output_metric, name, split)
        return Metric(prefix + name, words + label, direction, split, compute, **others)

    least, greatest = Direction.MINIMIZE, Direction.MAXIMIZE
    return [
        metric("accuracy", "accuracy", greatest, if_diverged=0.0),
        metric("balanced_accuracy", "balanced accuracy", greatest, if_diverged=0.0,
               in_tables=False),
        metric("macro_f1", "macro F1", greatest, if_diverged=0.0, in_tables=False),
        metric("rmse", "RMSE", least, unit=MetricUnit.TARGETS),
        metric("mae", "MAE", least, in_tables=False, unit=MetricUnit.TARGETS),
        metric("r2", "R²", greatest),
    ]  # fmt: skip


METRICS: Registry[Metric] = Registry("metric", [
    Metric("final_loss", "final loss", Direction.MINIMIZE, Split.TRAINING, _final_loss,
           unit=MetricUnit.LOSS),
    Metric("epochs_run", "epochs", Direction.MINIMIZE, Split.TRAINING, _epochs_run),
    *_of_rows(Split.TRAINING),
    Metric("test_loss", "test loss", Direction.MINIMIZE, Split.TEST, _test_loss,
           unit=MetricUnit.LOSS),
    Metric(
        "test_squared_error", "test squared error", Direction.MINIMIZE, Split.TEST,
        _test_squared_error, in_tables=False, unit=MetricUnit.TARGETS,
    ),
    *_of_rows(Split.TEST),
    Metric(
        "lowest_validation_loss", "validation loss", Direction.MINIMIZE, Split.VALIDATION,
        _lowest_validation_loss, unit=MetricUnit.LOSS,
    ),
    *_of_rows(Split.VALIDATION),
    Metric(
        "last_epoch_loss", "loss of the last epoch", Direction.MINIMIZE, Split.TRAINING,
        _last_epoch_loss, unit=MetricUnit.LOSS,
    ),
])  # fmt: skip
"""All metrics, in the order in which tables show them."""


def compute(evaluation: Evaluation) -> dict[str, float]:
    """Compute every metric that applies to a run.

    Returns:
        Values by metric name, in the order of the table. Zeros are positive: a store may lose the
        sign, and tables would differ after ``resume``.
    """
    values = ((metric.name, metric.compute(evaluation)) for metric in METRICS.values())
    return {name: value or 0.0 for name, value in values if value is not None}


ALWAYS_LISTED = ("final_loss", "epochs_run")
"""Metrics that tables of runs have even if no run has them."""


def listed(runs: Iterable[Iterable[str]]) -> list[str]:
    """The metrics that a table of runs has as columns, in the order of ``METRICS``.

    Args:
        runs: The names of the metrics of each run.

    >>> listed([["final_loss", "test_r2"], []])
    ['final_loss', 'epochs_run', 'test_r2']
    """
    found = set(ALWAYS_LISTED).union(*runs)
    return [name for name in METRICS if name in found]


def of_dataset(dataset: Dataset) -> list[str]:
    """The names of the metrics that runs on a data set have, unless they diverge."""
    n_validation = len(dataset.X_validation)
    result = TrainResult(
        Outcome.COMPLETED, np.zeros(1), dataset.Y, (), (),
        Validation(np.ones(1, np.int64), np.zeros(1)) if n_validation else None,
        kept_loss=0.0 if n_validation else None,
    )  # fmt: skip
    has_test = len(dataset.X_test) > 0
    evaluation = Evaluation(
        result,
        dataset,
        test_outputs=dataset.Y_test if has_test else None,
        test_loss=0.0 if has_test else None,
        validation_outputs=dataset.Y_validation if n_validation else None,
    )
    return list(compute(evaluation))
