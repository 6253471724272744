"""Calls the update formulas in ``bpexp.nn.optimizers``.

Both engines compute updates through this module. The optimizer state and the hyperparameters are
plain sequences here, in the order of the optimizer's record, so that the engines can store them in
arrays.

>>> hyperparameter_names("adam")
('beta1', 'beta2', 'epsilon')
>>> initial_state("momentum")
(0.0,)
>>> apply_update("gradient_descent", 1.0, 0.5, [], 0.1, [])
(0.95, [])
"""

from collections.abc import Sequence
from typing import Any

from bpexp.nn.optimizers import OPTIMIZERS


def hyperparameter_names(optimizer: str) -> tuple[str, ...]:
    """Names of the optimizer's hyperparameters in its configuration, without the learning rate."""
    return OPTIMIZERS[optimizer].hyperparameter_names


def initial_state(optimizer: str) -> tuple[float | None, ...]:
    """Initial values of the optimizer state per parameter; None means the learning rate."""
    record = OPTIMIZERS[optimizer]
    return tuple(record.state(**record.initial_state))


def apply_update(
    optimizer: str, w: Any, g: Any, state: Sequence[Any], lr: Any, hyperparameters: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """Apply one elementwise update to the parameters.

    The operands may be numbers, NumPy arrays that broadcast together, or symbols of
    ``llvm.vector_ir``.

    Args:
        optimizer: Name of the optimizer.
        w: Parameters.
        g: Gradient of the loss with respect to ``w``, with weight decay included.
        state: Values of the optimizer state.
        lr: Learning rate.
        hyperparameters: Values in the order of ``hyperparameter_names``.

    Returns:
        The new parameters and the new optimizer state.
    """
    record = OPTIMIZERS[optimizer]
    named_state, named = record.state(*state), record.hyperparameters(*hyperparameters)
    new_w, new_state = record.update(w, g, named_state, lr, named)
    return new_w, list(new_state)
