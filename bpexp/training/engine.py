"""The contract of a training engine, and the data that engines work on.

An engine computes; it does not decide when to validate, restart or report. ``advance`` trains a
batch of runs for some epochs, and ``evaluate`` computes outputs and losses without changing
anything. All engines return bit-identical results. The implementations are
``numpy_engine.NumpyEngine`` (the reference) and ``llvm.engine.LlvmEngine``.

>>> import numpy as np
>>> from bpexp.nn.network import Network
>>> from bpexp.training.numpy_engine import NumpyEngine
>>> problem = Problem(
...     network=Network(sizes=(1, 1), activation_names=("identity",)),
...     X=np.array([[1.0], [2.0]]), Y=np.array([[2.0], [4.0]]), optimizer="gradient_descent",
...     lr_divisor=np.ones(2), has_weight_decay=False, batch_size=2,
... )
>>> parameters = np.array([[1.0, 2.0], [0.0, 0.0]])  # two runs: y = x and y = 2 x
>>> NumpyEngine().evaluate(problem.network, parameters, problem.X, problem.Y).losses
array([2.5, 0. ])
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bpexp.nn.network import Network
from bpexp.typing import Array

Integers = NDArray[np.int64]

NO_PATIENCE = 2**62
"""Patience of a run without this stopping criterion: more epochs than any run has."""
NO_THRESHOLD = -1.0
"""Target loss or tolerance of a run without this stopping criterion."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What all runs of a batch share.

    Attributes:
        network: Architecture of the networks.
        X: Inputs of the training rows, (n_samples, n_features).
        Y: Targets of the training rows, (n_samples, n_outputs).
        optimizer: Name of the optimizer.
        lr_divisor: Divides the learning rate of each parameter, (n_parameters,).
        has_weight_decay: Whether the runs use weight decay. Adding ``0 * w`` to a gradient could
            change the sign of a zero, so runs with and without it are never mixed.
        batch_size: Number of samples per update.
    """

    network: Network
    X: Array
    Y: Array
    optimizer: str
    lr_divisor: Array
    has_weight_decay: bool
    batch_size: int

    def n_products(self, n_runs: int) -> int:
        """Multiplications in an epoch of ``n_runs`` runs."""
        return self.network.n_products(len(self.X)) * n_runs


@dataclass(eq=False)
class BatchState:
    """The state of L runs that are trained together. The last axis of each array is the run.

    Engines change the arrays in place.

    Attributes:
        run_indices: Index of each run in its batch, (L,). Runs that end are removed, so this is
            not always 0, 1, ..., L - 1.
        parameters: Weights and biases, (n_parameters, L).
        optimizer_state: (n_state_values, n_parameters, L), in the order of the fields of the
            optimizer's ``state``; ``update.apply_update`` gives them their names.
        hyperparameters: Of the optimizer, (n_hyperparameters, L), in the order of
            ``update.hyperparameter_names``.
        lr: Learning rate before the schedule, (L,).
        weight_decay: (L,).
        stop_loss: A run converges at a loss up to this, (L,), or ``NO_THRESHOLD``.
        stop_tolerance: A run converges when each output is closer than this to its target, (L,),
            or ``NO_THRESHOLD``.
        patience: A run stalls after as many epochs without a new lowest loss, (L,), or
            ``NO_PATIENCE``.
        best_loss: Lowest training loss so far, (L,). Engines may leave it and ``epochs_since_best``
            unchanged in a batch without stopping criteria.
        epochs_since_best: Epochs since then, (L,).
        outputs: Network outputs in the most recent forward pass of each sample,
            (n_samples, n_outputs, L).
    """

    run_indices: Integers
    parameters: Array
    optimizer_state: Array
    hyperparameters: Array
    lr: Array
    weight_decay: Array
    stop_loss: Array
    stop_tolerance: Array
    patience: Integers
    best_loss: Array
    epochs_since_best: Integers
    outputs: Array

    @property
    def n_runs(self) -> int:
        """Number of runs, L."""
        return len(self.run_indices)

    @property
    def has_stopping_criterion(self) -> bool:
        """Whether any run may stop by its training losses or outputs before its last epoch.

        No output is closer than 0 to its target, so a tolerance of 0 is none.
        """
        by_threshold = (self.stop_loss >= 0.0) | (self.stop_tolerance > 0.0)
        return bool((by_threshold | (self.patience < NO_PATIENCE)).any())

    def select(self, runs: Any) -> "BatchState":
        """Copy the state of the runs at these positions of the last axis."""
        return BatchState(
            *(np.ascontiguousarray(getattr(self, f.name)[..., runs]) for f in fields(self))
        )

    @classmethod
    def joined(cls, states: "Sequence[BatchState]") -> "BatchState":
        """The runs of several states as one; their indices are 0, 1, ..., L - 1."""
        arrays = {
            f.name: np.concatenate([getattr(state, f.name) for state in states], axis=-1)
            for f in fields(cls)
        }
        return cls(**{**arrays, "run_indices": np.arange(len(arrays["run_indices"]))})

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(getattr(self, f.name).nbytes for f in fields(self))


class RunStatus(IntEnum):
    """Whether a run goes on after an epoch, or how it ended."""

    RUNNING = 0
    CONVERGED = 1
    STALLED = 2
    DIVERGED = 3


class Progress(NamedTuple):
    """The result of ``Engine.advance``.

    Attributes:
        losses: Training loss of each epoch that was run, (n_epochs, L).
        statuses: The ``RunStatus`` of each run after the last of these epochs, (L,).
        final_parameters: Parameters that a run which has ended is left with, (n_parameters, L).
            A run that is stopped makes no update after the forward pass that stopped it. The
            columns of runs that go on have no meaning.
    """

    losses: Array
    statuses: NDArray[np.int8]
    final_parameters: Array


class EngineOutputs(NamedTuple):
    """The result of ``Engine.evaluate``.

    Attributes:
        losses: The loss of each run that is reported for the rows, (L,).
        outputs: The outputs of the networks, (n_samples, n_outputs, L).
    """

    losses: Array
    outputs: Array


class Engine(Protocol):
    """Computes epochs and losses for a batch of runs.

    Implementations keep no state between calls that changes a result, and may be called by several
    threads at once. Their methods raise ``Cancelled`` soon after ``cancel`` was called
    in another thread.

    Attributes:
        max_threads: How many processors a call may use, 1 at first; may be set at any time. The
            NumPy engine uses one.
    """

    max_threads: int

    def cancel(self) -> None:
        """End the present calls in all threads, and refuse further calls."""
        ...

    def advance(
        self,
        problem: Problem,
        state: BatchState,
        lr_factors: Array,
        sample_orders: Integers | None,
    ) -> Progress:
        """Train until ``lr_factors`` is used up, or until the first epoch that ends a run.

        Args:
            problem: What the runs share.
            state: The runs; changed in place.
            lr_factors: Factor of the learning rate in each epoch, (n_epochs,).
            sample_orders: Order of the samples of each run in each epoch,
                (n_epochs, n_samples, L), or None for index order.

        Returns:
            The losses and the status of each run.
        """
        ...

    def epochs_per_second(self, problem: Problem, n_runs: int) -> float:
        """Estimate, to within a factor of a few, how many epochs ``advance`` trains in a second.

        The training loop chooses calls of about a second: only between two calls can it show the
        progress of a run, or be stopped.
        """
        ...

    def evaluate(self, network: Network, parameters: Array, X: Array, Y: Array) -> EngineOutputs:
        """Compute the outputs and the reported loss of each run on given rows.

        Args:
            network: The architecture of the runs.
            parameters: (n_parameters, L).
            X: Inputs, (n_samples, n_features).
            Y: Targets, (n_samples, n_outputs).
        """
        ...


class Cancelled(BaseException):
    """Raised in a thread that trains runs whose results are no longer wanted."""
