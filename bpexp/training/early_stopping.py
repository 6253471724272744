"""Early stopping on validation rows, and the selection of the best weights.

After every ``stop.validation_interval`` epochs, and when a run ends without having diverged, the
loss E on the validation rows is evaluated. The weights with the lowest E become the result of the
run; an E that is NaN is higher than any number. A run stops
(L. Prechelt, Proben1, 1994, section 3.3)

- after ``stop.patience`` epochs without a new lowest E;
- when E is more than ``stop.generalization`` per cent above its lowest value (GL);
- when the mean training loss of the last ``stop.validation_interval`` epochs is less than
  ``stop.progress`` per thousand above their lowest training loss (P).

The decisions for a run depend on its own configuration only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpexp.config.schema import StopConfig
from bpexp.data import Dataset
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.network import Network
from bpexp.runs.result import Validation
from bpexp.training.engine import NO_PATIENCE, Engine, Integers
from bpexp.typing import Array


class ValidationMemory(NamedTuple):
    """What a ``ValidationMonitor`` knows of a run.

    Attributes:
        best_loss: The lowest validation loss so far; NaN if none was a number, infinity if there
            was no evaluation yet.
        best_epoch: The epoch of that loss; 0 if there was no evaluation yet.
        best_parameters: The parameters after that epoch, (n_parameters,); any numbers if there was
            no evaluation yet.
        history: Epoch and validation loss of each evaluation.
    """

    best_loss: float
    best_epoch: int
    best_parameters: Array
    history: tuple[tuple[int, float], ...]


class ValidationMonitor:
    """Records the validation losses of the runs of a batch and decides which runs stop.

    Args:
        network: The architecture of the runs.
        dataset: Data with validation rows.
        stops: Stopping criteria of each run. All have the same ``validation_interval``.
        engine: Computes the losses.
    """

    def __init__(
        self, network: Network, dataset: Dataset, stops: Sequence[StopConfig], engine: Engine
    ) -> None:
        self.interval = stops[0].validation_interval
        self._network, self._engine = network, engine
        self._scaling = dataset.scaling_for(network.activation_names[-1])
        self._X = np.ascontiguousarray(dataset.X_validation)
        self._Y = np.ascontiguousarray(self._scaling.scaled(dataset.Y_validation))
        self._patience = np.array([stop.patience or NO_PATIENCE for stop in stops])
        self._max_increase = np.array(
            [np.inf if stop.generalization is None else stop.generalization for stop in stops]
        )
        self._min_progress = np.array([stop.progress or -1.0 for stop in stops])
        self._best_loss = np.full(len(stops), np.inf)
        self._best_epoch = np.zeros(len(stops), np.int64)
        self._best_parameters = np.empty((network.n_parameters, len(stops)))
        self._history: list[list[tuple[int, float]]] = [[] for _ in stops]

    def evaluate(
        self, runs: Integers, parameters: Array, epoch: int, training_losses: Array
    ) -> NDArray[np.bool_]:
        """Evaluate the validation loss of some runs, and apply the stopping criteria.

        Args:
            runs: Indices of the runs, (L,).
            parameters: Their parameters, (n_parameters, L).
            epoch: Number of epochs that they have been trained.
            training_losses: Training losses since the last regular evaluation, (n_epochs, L);
                empty when this is not a regular evaluation.

        Returns:
            Whether each run stops, (L,).
        """
        losses = self._engine.evaluate(
            self._network, np.ascontiguousarray(parameters), self._X, self._Y
        ).losses
        # The first parameters are kept until a loss is a number.
        is_first = np.array([not self._history[run] for run in runs])
        best = self._best_loss[runs]
        better = is_first | (losses < best) | (np.isnan(best) & ~np.isnan(losses))
        self._best_loss[runs] = np.where(better, losses, self._best_loss[runs])
        self._best_epoch[runs] = np.where(better, epoch, self._best_epoch[runs])
        self._best_parameters[:, runs[better]] = parameters[:, better]
        for run, loss in zip(runs, losses.tolist(), strict=True):
            self._history[run].append((epoch, loss))
        generalization_lost = losses > self._best_loss[runs] * (
            1.0 + self._max_increase[runs] / 100.0
        )
        patience_exceeded = epoch - self._best_epoch[runs] >= self._patience[runs]
        return generalization_lost | patience_exceeded | self._stagnates(runs, training_losses)

    def memory(self, run: int) -> ValidationMemory:
        """What is known of a run so far; later evaluations do not change it."""
        return ValidationMemory(
            float(self._best_loss[run]),
            int(self._best_epoch[run]),
            self.best_parameters(run),
            tuple(self._history[run]),
        )

    def restore(self, run: int, memory: ValidationMemory) -> None:
        """Go on with a run from what was known of it."""
        self._best_loss[run], self._best_epoch[run] = memory.best_loss, memory.best_epoch
        self._best_parameters[:, run] = memory.best_parameters
        self._history[run] = list(memory.history)

    def last_epoch(self, run: int) -> int:
        """The epoch of the last evaluation of a run; 0 if there is none."""
        return self._history[run][-1][0] if self._history[run] else 0

    def best_parameters(self, run: int) -> Array:
        """Return the parameters of a run at its lowest validation loss, (n_parameters,)."""
        return self._best_parameters[:, run].copy()

    def history(self, run: int) -> Validation:
        """Return all validation losses of a run, in the units of the targets."""
        epochs, losses = zip(*self._history[run], strict=True)
        original = self._scaling.original_losses(np.array(losses))
        return Validation(np.array(epochs, np.int64), original)

    def _stagnates(self, runs: Integers, training_losses: Array) -> NDArray[np.bool_]:
        """Apply criterion P of Proben1."""
        if not len(training_losses):
            return np.zeros(len(runs), bool)
        lowest = len(training_losses) * training_losses.min(axis=0)
        excess = EXACT.sum(training_losses, 0) - lowest
        stagnates: NDArray[np.bool_] = 1000.0 * excess < self._min_progress[runs] * lowest
        return stagnates
