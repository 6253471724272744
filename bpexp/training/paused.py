"""Runs that were stopped at an epoch, with the exact state from which their training goes on.

>>> TrainingSegment()
TrainingSegment(until=None, paused_runs=())
"""

from dataclasses import dataclass
from typing import NamedTuple

from bpexp.runs.result import TrainResult
from bpexp.training.early_stopping import ValidationMemory
from bpexp.training.engine import BatchState
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class PausedRun:
    """A run that has not ended, after an epoch.

    Attributes:
        epochs_done: Number of epochs that it has been trained.
        state: Its state, with one run on the last axis of each array.
        losses: Its training losses, (epochs_done,).
        validation: What its validation evaluations found; None without validation rows.
    """

    epochs_done: int
    state: BatchState
    losses: Array
    validation: ValidationMemory | None

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        best = 0 if self.validation is None else self.validation.best_parameters.nbytes
        return self.state.nbytes + self.losses.nbytes + best


@dataclass(frozen=True, eq=False)
class PausedResult(TrainResult):
    """The result of a run that is paused: the one that it has if it does not go on.

    Its outcome is therefore ``pruned``, and the class tells a paused run from one that has ended.

    Attributes:
        run: What its training continues from; None to train it from the start again.
    """

    run: PausedRun | None = None


class TrainingSegment(NamedTuple):
    """The part of the training of a batch that is to be done: from which states on, and how long.

    Attributes:
        until: The epoch after which runs that have not ended are paused; None for no such epoch.
        paused_runs: Each run as it was paused, all after the same epoch; empty to start from the
            beginning.
    """

    until: int | None = None
    paused_runs: tuple[PausedRun, ...] = ()

    def part(self, start: int, stop: int) -> "TrainingSegment":
        """The segment of the runs at these positions of the batch."""
        return TrainingSegment(self.until, self.paused_runs[start:stop])


WHOLE_TRAINING = TrainingSegment()
"""From the start to the end of each run."""
