"""Stopping criteria on the training data: target loss, tolerance, patience, and divergence.

The NumPy engine uses these functions. The compiled kernel decides in the same way after which epoch
a run ends, and its engine finds out by these functions why. Stopping on validation rows is in
``early_stopping``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.training.engine import BatchState, RunStatus
from bpexp.typing import Array

RUNNING, CONVERGED, STALLED, DIVERGED = map(np.int8, RunStatus)


def update_best_loss(state: BatchState, losses: Array) -> None:
    """Update ``state.best_loss`` and ``state.epochs_since_best`` with an epoch's losses, (L,)."""
    better = losses < state.best_loss
    state.best_loss[:] = np.where(better, losses, state.best_loss)
    state.epochs_since_best[:] = np.where(better, 0, state.epochs_since_best + 1)


def statuses_after_forward_pass(
    state: BatchState, Y: Array, losses: Array
) -> "np.ndarray[tuple[int], np.dtype[np.int8]]":
    """Apply the stopping criteria to the forward pass of an epoch.

    Args:
        state: The runs, with the outputs of this forward pass and an updated best loss.
        Y: Targets, (n_samples, n_outputs).
        losses: Training losses of the epoch, (L,).

    Returns:
        The ``RunStatus`` of each run, (L,). A loss that is not finite takes precedence, then
        convergence.
    """
    is_within_tolerance: Any = False
    if (state.stop_tolerance > 0.0).any():
        errors = abs(state.outputs - Y[:, :, None])
        is_within_tolerance = (errors < state.stop_tolerance).all(axis=(0, 1))
    statuses = np.where(state.epochs_since_best >= state.patience, STALLED, RUNNING)
    statuses = np.where((losses <= state.stop_loss) | is_within_tolerance, CONVERGED, statuses)
    return np.where(np.isfinite(losses), statuses, DIVERGED)


def mark_nonfinite_parameters(
    state: BatchState, statuses: NDArray[np.int8], final_parameters: Array
) -> Array:
    """Mark running runs as diverged if an update left a parameter that is not finite.

    Args:
        state: The runs after the update.
        statuses: The ``RunStatus`` of each run, (L,); changed in place.
        final_parameters: Parameters of the runs that have ended, (n_parameters, L).

    Returns:
        ``final_parameters`` with the nonfinite parameters of the runs that were marked.
    """
    finite = np.isfinite(state.parameters)
    if finite.all():
        return final_parameters
    diverged = ~finite.all(axis=0) & (statuses == RunStatus.RUNNING)
    statuses[diverged] = RunStatus.DIVERGED
    return np.where(diverged, state.parameters, final_parameters)
