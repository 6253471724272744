"""Losses over the batch, their gradient at the output, and the figure that is reported.

Every loss is a *sum* over samples, the quantity that gradient descent follows;
``per_sample`` turns it into the figure that is logged.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bpexp.nn.activations import ACTIVATIONS
from bpexp.typing import Array


class Loss(NamedTuple):
    """``total(Z, A, Y)`` is the summed loss of logits Z, outputs A and targets Y, all
    (n_samples, n_outputs); ``delta(name, A, Y)`` its gradient by Z for the output
    activation of that name; ``per_sample(total, n_samples, n_outputs)`` the logged figure.
    """

    total: Callable[[Array, Array, Array], float]
    delta: Callable[[str, Array, Array], Array]
    per_sample: Callable[[float, int, int], float]


def _half_squared(Z: Array, A: Array, Y: Array) -> float:
    error = A - Y
    return 0.5 * float((error * error).sum())


def _half_squared_delta(output: str, A: Array, Y: Array) -> Array:
    return ACTIVATIONS[output].pullback(A, A - Y)


def _binary_cross_entropy(Z: Array, A: Array, Y: Array) -> float:
    """Sum of max(z,0) - z y + log(1 + exp(-|z|)), finite for every finite logit."""
    return float((np.maximum(Z, 0.0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))).sum())


def _categorical_cross_entropy(Z: Array, A: Array, Y: Array) -> float:
    """Sum over samples of logsumexp(z) * sum(y) - z . y."""
    top = Z.max(axis=-1, keepdims=True)
    logsumexp = top + np.log(np.exp(Z - top).sum(axis=-1, keepdims=True))
    return float((Y * (logsumexp - Z)).sum())


def _residual(output: str, A: Array, Y: Array) -> Array:
    """Cross-entropy behind its own activation: the delta is A - Y (Bishop 1995, 6.9).

    The formula supposes targets of one class in all, sum(y) = 1, for softmax.
    """
    return A - Y


def _mean_square(total: float, n_samples: int, n_outputs: int) -> float:
    return 2.0 * total / (n_samples * n_outputs)


def _mean(total: float, n_samples: int, n_outputs: int) -> float:
    return total / n_samples


LOSSES: dict[tuple[str, str], Loss] = {
    **{
        ("half_squared", output): Loss(_half_squared, _half_squared_delta, _mean_square)
        for output in ACTIVATIONS
    },
    ("cross_entropy", "sigmoid"): Loss(_binary_cross_entropy, _residual, _mean),
    ("cross_entropy", "softmax"): Loss(_categorical_cross_entropy, _residual, _mean),
}
"""Keyed by (loss, output activation): cross-entropy exists for sigmoid and softmax only."""
