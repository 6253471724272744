"""Regression targets scaled for training, and results in the units of the targets.

>>> import numpy as np
>>> scaling = fit(np.array([[100.0], [300.0]]))
>>> scaling.scaled(np.array([[100.0], [300.0]])).tolist(), scaling.loss_factor
([[-1.0], [1.0]], 10000.0)
>>> scaling.original(np.array([[-1.0], [1.0]])).tolist()
[[100.0], [300.0]]
"""

from dataclasses import dataclass

import numpy as np

from bpexp.data.splits import moments
from bpexp.fields.checks import ConfigError
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class TargetScaling:
    """Mean and deviation of the targets of the training rows.

    Attributes:
        mean: Subtracted from the targets, (n_outputs,).
        scale: Divides the targets, (n_outputs,).
    """

    mean: Array
    scale: Array

    def scaled(self, Y: Array) -> Array:
        """Targets as the network is trained on them, (n_samples, n_outputs)."""
        return (Y - self.mean) / self.scale

    def original(self, outputs: Array) -> Array:
        """Outputs of the network, (n_samples, n_outputs), in the units of the targets.

        Those of a run that diverges may be too large for a number, and are then infinite.
        """
        with np.errstate(over="ignore"):
            return outputs * self.scale + self.mean

    def original_losses(self, losses: Array) -> Array:
        """Losses of scaled targets, (n_losses,), in the units of the targets.

        Those of a run that diverges may be too large for a number, and are then infinite.
        """
        with np.errstate(over="ignore"):
            return losses * self.loss_factor

    @property
    def loss_factor(self) -> float:
        """What turns a squared error of scaled targets into one in the units of the targets.

        Errors of several targets have different units and cannot be added. Their loss stays the
        one of the scaled targets, in which each error is relative to the deviation of its target.
        """
        return float(self.scale[0] * self.scale[0]) if len(self.scale) == 1 else 1.0


class _NoScaling(TargetScaling):
    """Leaves all values as they are, also negative zeros, which a sum with 0 would change."""

    def scaled(self, Y: Array) -> Array:
        return Y

    def original(self, outputs: Array) -> Array:
        return outputs

    def original_losses(self, losses: Array) -> Array:
        return losses


UNSCALED = _NoScaling(np.zeros(1), np.ones(1))
"""The scaling of targets that the network is trained on as they are."""


def fit(Y: Array) -> TargetScaling:
    """The scaling of targets, (n_samples, n_outputs), to mean 0 and deviation 1.

    Raises:
        ConfigError: A deviation, or its square, is not a finite number.
    """
    mean, scale = moments(Y)
    with np.errstate(over="ignore", under="ignore"):
        squares = scale * scale
    if not (np.isfinite(squares).all() and (squares > 0.0).all()):
        raise ConfigError(
            "data.scale_target=true must have targets whose squares are finite numbers above 0, "
            f"got up to {float(abs(Y).max()):g}; add data.scale_target=false."
        )
    return TargetScaling(mean, scale)
