"""Update rules: what is done with the gradient.

Each rule is an elementwise formula on a parameter w, its gradient g (uphill), its slots
(what the rule remembers) and the learning rate: it returns the new w and the new slots.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bpexp.nn.ieee import where


def gradient_descent(w: Any, g: Any, lr: Any) -> Any:
    """w - lr g (Rumelhart, Hinton and Williams 1986, eq. 8)."""
    return w - lr * g


def momentum(w: Any, g: Any, step: Any, lr: Any, alpha: Any) -> Any:
    """step = alpha step - lr g (Rumelhart, Hinton and Williams 1986, eq. 9)."""
    step = alpha * step - lr * g
    return w + step, step


def nesterov(w: Any, g: Any, step: Any, lr: Any, alpha: Any) -> Any:
    """Momentum, looked ahead by one step (Nesterov 1983; Bengio et al. 2013, eq. 7)."""
    step = alpha * step - lr * g
    return w + (alpha * step - lr * g), step


def rmsprop(w: Any, g: Any, square: Any, lr: Any, decay: Any, epsilon: Any) -> Any:
    """g over the root of its running mean square (Tieleman and Hinton 2012, lecture 6.5)."""
    square = decay * square + (1.0 - decay) * (g * g)
    return w - lr * (g / (np.sqrt(square) + epsilon)), square


def adam(
    w: Any, g: Any, mean: Any, square: Any, power1: Any, power2: Any,
    lr: Any, beta1: Any, beta2: Any, epsilon: Any,
) -> Any:  # fmt: skip
    """Kingma and Ba 2015, algorithm 1; the powers of beta1 and beta2 are running products."""
    mean = beta1 * mean + (1.0 - beta1) * g
    square = beta2 * square + (1.0 - beta2) * (g * g)
    power1, power2 = power1 * beta1, power2 * beta2
    corrected = mean / (1.0 - power1)
    root = np.sqrt(square / (1.0 - power2))
    return w - lr * (corrected / (root + epsilon)), mean, square, power1, power2


def rprop(
    w: Any, g: Any, before: Any, step: Any,
    lr: Any, eta_plus: Any, eta_minus: Any, step_min: Any, step_max: Any,
) -> Any:  # fmt: skip
    """iRPROP- (Igel and Huesken 2000): only the sign of g counts; ``before`` is the last g."""
    sign = g * before
    longer, shorter = step * eta_plus, step * eta_minus
    longer = where(longer > step_max, step_max, longer)
    shorter = where(shorter < step_min, step_min, shorter)
    step = where(sign > 0.0, longer, where(sign < 0.0, shorter, step))
    g = where(sign < 0.0, 0.0, g)
    return w - where(g > 0.0, step, where(g < 0.0, -step, g)), g, step


def quickprop(w: Any, g: Any, step: Any, before: Any, lr: Any, mu: Any) -> Any:
    """Fahlman 1988, 3.4, as in his program; S is downhill, ``before`` the last S.

    The parabola through the last two slopes, its step held within mu times the last
    one, and gradient descent added while the slope has not turned.
    """
    slope = -g
    shrunk = mu / (1.0 + mu) * before
    descent = lr * slope
    parabola = step * slope / (before - slope)
    ahead = where(slope > 0.0, descent, 0.0) + where(slope > shrunk, mu * step, parabola)
    behind = where(slope < 0.0, descent, 0.0) + where(slope < shrunk, mu * step, parabola)
    step = where(step > 0.0, ahead, where(step < 0.0, behind, descent))
    return w + step, step, slope


class Rule(NamedTuple):
    """``update(w, g, *slots, lr, *settings) -> (w, *slots)``; a slot starts at its number,
    or, for None, at the learning rate.
    """

    update: Callable[..., Any]
    slots: tuple[float | None, ...]
    settings: tuple[str, ...]


RULES: dict[str, Rule] = {
    "gradient_descent": Rule(
        lambda w, g, lr: (gradient_descent(w, g, lr),), (), ()
    ),
    "momentum": Rule(momentum, (0.0,), ("momentum",)),
    "nesterov": Rule(nesterov, (0.0,), ("momentum",)),
    "rmsprop": Rule(rmsprop, (0.0,), ("decay", "epsilon")),
    "adam": Rule(adam, (0.0, 0.0, 1.0, 1.0), ("beta1", "beta2", "epsilon")),
    "rprop": Rule(rprop, (0.0, None), ("eta_plus", "eta_minus", "step_min", "step_max")),
    "quickprop": Rule(quickprop, (0.0, 0.0), ("mu",)),
}  # fmt: skip
