"""Runs that were stopped at an epoch, with the exact state from which their training goes on.

>>> EpochRange()
EpochRange(until=None, paused=())
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
    """The result so far of a run that has not ended, whose outcome is ``pruned``.

    Attributes:
        run: What its training continues from; None to train it from the start again.
    """

    run: PausedRun | None = None


class EpochRange(NamedTuple):
    """The epochs that the runs of a batch are trained: from which state on, and how long.

    Attributes:
        until: The epoch after which runs that have not ended are paused; None for no such epoch.
        paused: Each run as it was paused, all after the same epoch; empty to start from the
            beginning.
    """

    until: int | None = None
    paused: tuple[PausedRun, ...] = ()

    def part(self, start: int, stop: int) -> "EpochRange":
        """The range of the runs at these positions of the batch."""
        return EpochRange(self.until, self.paused[start:stop])


ALL_EPOCHS = EpochRange()
"""From the start to the end of each run."""
