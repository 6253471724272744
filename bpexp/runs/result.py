"""The result of one training: losses, predictions, weights and metrics, as frozen values.

A training that produced no result is a ``Failure`` instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bpexp.typing import Array


class Outcome(StrEnum):
    """How a training ended."""

    COMPLETED = "completed"
    """The maximum number of epochs was reached."""
    CONVERGED = "converged"
    """``stop.loss`` or ``stop.tolerance`` was met."""
    STALLED = "stalled"
    """``stop.patience`` or a stopping criterion on the validation loss ended it."""
    DIVERGED = "diverged"
    """The loss or a weight was no longer finite."""
    PRUNED = "pruned"
    """It was stopped before its end, because other combinations were better by then."""


class NoResult(StrEnum):
    """How a training ended that has no result."""

    FAILED = "failed"
    """An error ended it."""
    INTERRUPTED = "interrupted"
    """The user interrupted it, or its process ended."""


class Validation(NamedTuple):
    """The validation evaluations of a run.

    Attributes:
        epochs: The number of epochs trained before each evaluation, (n_evaluations,).
        losses: Loss per sample on the validation rows, (n_evaluations,).
    """

    epochs: NDArray[np.int64]
    losses: Array


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The result of one training.

    A stopping criterion is evaluated after the forward pass of an epoch; a run that it ends
    makes no weight update after that pass. With validation rows, weights, biases and
    predictions are those of the epoch with the lowest validation loss.

    Attributes:
        outcome: How the training ended.
        losses: Training loss per sample of the forward pass of each epoch, (epochs_run,).
        predictions: Outputs on the training rows in the last forward pass,
            (n_samples, n_outputs).
        weights: For each layer, (n_in, n_out), after the last update.
        biases: For each layer, (1, n_out), after the last update.
        validation: The validation evaluations; None without validation rows.
        kept_loss: Training loss per sample of the weights that were kept; None if those of the last
            epoch were kept, as without validation rows.
        metrics: Values by the names of ``bpexp.runs.metrics.METRICS``.
        validation_predictions: Outputs of the weights on the validation rows,
            (n_validation, n_outputs); None without validation rows, or if the run diverged.
        test_predictions: The same on the test rows.
    """

    outcome: Outcome
    losses: Array
    predictions: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    validation: Validation | None = None
    kept_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    validation_predictions: Array | None = None
    test_predictions: Array | None = None

    @property
    def lowest_validation_loss(self) -> float | None:
        """The lowest validation loss, that of the returned weights; None without validation."""
        return None if self.validation is None else float(np.fmin.reduce(self.validation.losses))

    @property
    def epochs_run(self) -> int:
        """The number of forward passes over the training rows."""
        return len(self.losses)

    @property
    def final_loss(self) -> float:
        """Training loss per sample: of the kept weights, or of the last forward pass."""
        return self.last_epoch_loss if self.kept_loss is None else self.kept_loss

    @property
    def last_epoch_loss(self) -> float:
        """Training loss per sample of the last forward pass."""
        return float(self.losses[-1])


Extended = TypeVar("Extended", bound=TrainResult)


def as_subclass(result: TrainResult, subclass: type[Extended], **more: Any) -> Extended:
    """Convert a result to a subclass of ``TrainResult``.

    Args:
        result: The result.
        subclass: The class of the new result.
        more: The fields that the subclass adds.
    """
    shared = {f.name: getattr(result, f.name) for f in fields(TrainResult)}
    return subclass(**shared, **more)


@dataclass(frozen=True)
class Failure:
    """A training without a result.

    Attributes:
        reason: One sentence that says why.
        interrupted: True if the user interrupted it, False if an error ended it.
    """

    reason: str
    interrupted: bool = False

    @property
    def outcome(self) -> NoResult:
        """How it ended."""
        return NoResult.INTERRUPTED if self.interrupted else NoResult.FAILED


def about_unfinished(n_runs: int) -> str:
    """That runs, at least one, failed or were interrupted and have no result, as a sentence."""
    if n_runs == 1:
        return "1 run failed or was interrupted; it has no result."
    return f"{n_runs} runs failed or were interrupted; they have no result."
