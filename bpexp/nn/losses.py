"""Loss functions, and the error signals that start the backward pass.

A loss is a *sum* over samples, whose gradient the optimizers use; the logged value is per sample.
Z, A and Y are logits, outputs and targets, each (n_samples, n_outputs[, n_runs]).

>>> import numpy as np
>>> from bpexp.nn.arithmetic import EXACT
>>> formula = LOSSES["half_squared"].on("sigmoid")
>>> A, Y = np.array([[0.5], [1.0]]), np.array([[0.0], [1.0]])
>>> per_row = formula.per_row(EXACT, A, A, Y)
>>> per_row.tolist(), float(formula.reported(per_row.sum(), 2, 1))
([0.125, 0.0], 0.125)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import Arithmetic
from bpexp.nn.elementary import log
from bpexp.nn.ieee import where
from bpexp.typing import Array

PerRow = Callable[[Arithmetic, Array, Array, Array], Array]
"""See ``LossFormula.per_row``."""


class LossFormula(NamedTuple):
    """A loss for one output activation.

    Attributes:
        per_row: (arithmetic, Z, A, Y) -> the loss of each sample, (n_samples[, n_runs]).
        reported: (sum over samples, n_samples, n_outputs) -> the logged value.
    """

    per_row: PerRow
    reported: Callable[[Array, int, int], Array]


@dataclass(frozen=True)
class Loss:
    """A loss function.

    Attributes:
        name: The value of ``model.loss``.
        per_row_by_output: ``LossFormula.per_row`` by the name of the output activation; the key
            ``""`` stands for all activations.
        reported: See ``LossFormula``.
        uses_error_signal: Whether ``model.error`` and ``model.dead_zone`` apply.
    """

    name: str
    per_row_by_output: Mapping[str, PerRow]
    reported: Callable[[Array, int, int], Array]
    uses_error_signal: bool

    def on(self, output: str) -> LossFormula:
        """The formula for the output activation ``output``."""
        formulas = self.per_row_by_output
        return LossFormula(formulas[""] if "" in formulas else formulas[output], self.reported)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The output activations with which the loss can be used."""
        return tuple(ACTIVATIONS if "" in self.per_row_by_output else self.per_row_by_output)


def _half_squared(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    error = A - Y
    return 0.5 * arithmetic.sum(error * error, 1)


def binary_cross_entropy(z: Array, y: Array, log1p_of_exp: Array) -> Array:
    """max(z, 0) - z y + ln(1 + e^-|z|), which is finite for every finite logit z.

    Args:
        z: Logits.
        y: Targets, of the same shape.
        log1p_of_exp: ln(1 + e^-|z|), of the same shape.
    """
    # z * 0 and not 0: the loss of a logit that is NaN must be NaN.
    out: Array = where(z > 0.0, z, z * 0.0) - z * y + log1p_of_exp
    return out


def _binary_cross_entropy(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    log1p_of_exp = arithmetic.log1p(arithmetic.exp(-abs(Z)))
    return arithmetic.sum(binary_cross_entropy(Z, Y, log1p_of_exp), 1)


def _categorical_cross_entropy(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    """Sum over classes of y (logsumexp(z) - z)."""
    top = Z.max(axis=1, keepdims=True)
    log_sum = arithmetic.log(arithmetic.sum(arithmetic.exp(Z - top), 1))[:, None]
    return arithmetic.sum(Y * ((top - Z) + log_sum), 1)


def _mean_square(total: Array, n_samples: int, n_outputs: int) -> Array:
    """The mean squared error of an output, from the sum of half squared errors."""
    return 2.0 * total / (n_samples * n_outputs)


def _mean(total: Array, n_samples: int, n_outputs: int) -> Array:
    return total / n_samples


LOSSES: Mapping[str, Loss] = MappingProxyType({
    loss.name: loss
    for loss in (
        Loss("half_squared", {"": _half_squared}, _mean_square, uses_error_signal=True),
        Loss(
            "cross_entropy",
            {"sigmoid": _binary_cross_entropy, "softmax": _categorical_cross_entropy},
            _mean,
            uses_error_signal=False,
        ),
    )
})  # fmt: skip
"""The losses by name. Others cannot be added: ``mlp.output_delta`` has the gradients of these."""


@dataclass(frozen=True)
class ErrorSignal:
    """The derivative of the loss half_squared with respect to the output, or a replacement for it.

    Attributes:
        name: The value of ``model.error``.
        function: (output - target, dead_zone) -> error signal, elementwise.
    """

    name: str
    function: Callable[[Array, float], Array]

    def __call__(self, error: Array, dead_zone: float) -> Array:
        """The error signal."""
        return self.function(error, dead_zone)


def linear_error(e: Array, dead_zone: float) -> Array:
    """e = output - target; 0 where |e| < dead_zone."""
    out: Array = where(abs(e) < dead_zone, 0.0, e) if dead_zone > 0.0 else e
    return out


def arctanh_error(e: Array, dead_zone: float) -> Array:
    """ln((1 + e) / (1 - e)), limited to +-17 (Fahlman 1988, 3.3)."""
    d = linear_error(e, dead_zone)
    limit = where(d > 0.0, 17.0, -17.0)
    inside = log((1.0 + d) / (1.0 - d))
    out: Array = where(abs(d) < 0.9999999, inside, where(d == d, limit, d))
    return out


ERROR_SIGNALS: Mapping[str, ErrorSignal] = MappingProxyType({
    signal.name: signal
    for signal in (ErrorSignal("linear", linear_error), ErrorSignal("arctanh", arctanh_error))
})  # fmt: skip
