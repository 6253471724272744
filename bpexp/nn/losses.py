"""Losses over the batch, and the error that starts the backward pass.

A loss is a *sum* over samples, the quantity that gradient descent follows; the figure
that is reported is per sample. Z, A, Y: logits, outputs, targets, (n_samples, n_outputs[, L]).
"""

from collections.abc import Callable
from typing import NamedTuple

from bpexp.nn.arithmetic import Arithmetic
from bpexp.nn.elementary import log
from bpexp.nn.ieee import where
from bpexp.typing import Array


class Loss(NamedTuple):
    """``per_row(arithmetic, Z, A, Y)`` is each sample's loss, (n_samples[, L]);
    ``reported(total, n_samples, n_outputs)`` the logged figure for its sum.
    """

    per_row: Callable[[Arithmetic, Array, Array, Array], Array]
    reported: Callable[[Array, int, int], Array]


def _half_squared(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    error = A - Y
    return 0.5 * arithmetic.sum(error * error, 1)


def binary_cross_entropy(z: Array, y: Array, log1p_of_exp: Array) -> Array:
    """max(z, 0) - z y + ln(1 + e^-|z|), finite for every finite logit z."""
    out: Array = where(z > 0.0, z, z * 0.0) - z * y + log1p_of_exp
    return out


def _binary_cross_entropy(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    soft = arithmetic.log1p(arithmetic.exp(-abs(Z)))
    return arithmetic.sum(binary_cross_entropy(Z, Y, soft), 1)


def _categorical_cross_entropy(arithmetic: Arithmetic, Z: Array, A: Array, Y: Array) -> Array:
    """Sum over classes of y (logsumexp(z) - z)."""
    top = Z.max(axis=1, keepdims=True)
    spread = arithmetic.log(arithmetic.sum(arithmetic.exp(Z - top), 1))[:, None]
    return arithmetic.sum(Y * ((top - Z) + spread), 1)


def _mean_square(total: Array, n_samples: int, n_outputs: int) -> Array:
    return 2.0 * total / (n_samples * n_outputs)


def _mean(total: Array, n_samples: int, n_outputs: int) -> Array:
    return total / n_samples


LOSSES: dict[tuple[str, str], Loss] = {
    **{
        ("half_squared", output): Loss(_half_squared, _mean_square)
        for output in (
            "sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity", "softmax"
        )
    },
    ("cross_entropy", "sigmoid"): Loss(_binary_cross_entropy, _mean),
    ("cross_entropy", "softmax"): Loss(_categorical_cross_entropy, _mean),
}  # fmt: skip
"""Keyed by (loss, output activation): cross-entropy exists for sigmoid and softmax only."""


def linear_error(e: Array, dead_zone: float) -> Array:
    """e = output - target, with |e| < dead_zone counted as none."""
    out: Array = where(abs(e) < dead_zone, 0.0, e) if dead_zone > 0.0 else e
    return out


def arctanh_error(e: Array, dead_zone: float) -> Array:
    """ln((1 + e) / (1 - e)), held within +-17 (Fahlman 1988, 3.3)."""
    d = linear_error(e, dead_zone)
    far = where(d > 0.0, 17.0, -17.0)
    inside = log((1.0 + d) / (1.0 - d))
    out: Array = where(abs(d) < 0.9999999, inside, where(d == d, far, d))
    return out


ERRORS = {"linear": linear_error, "arctanh": arctanh_error}
