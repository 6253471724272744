"""What a run leaves behind: plain frozen values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.typing import Array


class Outcome(StrEnum):
    """How a training ended."""

    COMPLETED = "completed"
    """all epochs were run"""
    CONVERGED = "converged"
    """``stop.loss`` or ``stop.tolerance`` was met"""
    STALLED = "stalled"
    """``stop.patience`` ran out, or the validation rows said so"""
    DIVERGED = "diverged"
    """the loss or a weight was no longer finite"""


class Validation(NamedTuple):
    """Looks at the validation rows: after how many ``epochs``, (looks,), and their loss per
    sample then, (looks,).
    """

    epochs: NDArray[np.int64]
    losses: Array


@dataclass(frozen=True, eq=False)
class TrainResult:
    """One finished training.

    ``losses``: loss per sample of the forward pass of each epoch, (epochs_run,).
    ``predictions``: outputs of the last forward pass, (n_samples, n_outputs).
    ``weights``, ``biases``: after the last update, (n_in, n_out) and (1, n_out) a layer.
    A run that is stopped makes no update after the pass that stopped it.

    With ``validation`` rows, weights, biases and predictions are those of their lowest loss.
    """

    outcome: Outcome
    losses: Array
    predictions: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    validation: Validation | None = None

    @property
    def lowest_validation_loss(self) -> float | None:
        """The lowest loss on the validation rows, that of the weights that were kept."""
        return None if self.validation is None else float(np.fmin.reduce(self.validation.losses))

    @property
    def epochs_run(self) -> int:
        """Forward passes made; the epoch of divergence for a diverged run."""
        return len(self.losses)

    @property
    def final_loss(self) -> float:
        """Loss per sample of the last forward pass."""
        return float(self.losses[-1])


@dataclass(frozen=True)
class Failure:
    """A run without a result, and why: an error (FAILED) or an interruption (KILLED)."""

    reason: str
    interrupted: bool = False
