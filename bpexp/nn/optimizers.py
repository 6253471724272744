"""Optimizers: how weights change with their gradient.

Each optimizer is an elementwise formula. It maps a parameter w, its gradient g, the optimizer's
state and the learning rate to the new parameter and the new state. The same formula runs on NumPy
arrays and on the compiler's symbols. To add an optimizer, register a record:

>>> import numpy as np
>>> momentum = OPTIMIZERS["momentum"]
>>> state = momentum.state(velocity=np.zeros(2))
>>> hyperparameters = momentum.hyperparameters(momentum=0.9)
>>> w, state = momentum.update(np.ones(2), np.array([1.0, -1.0]), state, 0.1, hyperparameters)
>>> w.tolist(), state.velocity.tolist()
([0.9, 1.1], [-0.1, 0.1])
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bpexp.fields import REQUIRED, Registry, setting, settings_of
from bpexp.fields.checks import Boolean, Integer, Optional, Real, Text
from bpexp.nn.ieee import where
from bpexp.nn.notation import Lines, Show, factor


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of every optimizer."""

    name: str = setting(Text(), REQUIRED, "name of the optimizer")
    weight_decay: float = setting(
        Real(0.0), 0.0, "weight decay: this times the weight is added to the gradient"
    )
    by_fan_in: bool = setting(
        Boolean(),
        False,
        "divide the learning rate of a weight by the number of inputs of its unit, bias included",
    )


@dataclass(frozen=True, kw_only=True)
class MomentumConfig(OptimizerConfig):
    """Settings of ``momentum`` and ``nesterov``."""

    momentum: float = setting(
        Real(0.0, below=1.0), 0.9, "share of the last step that is added to the next"
    )


@dataclass(frozen=True, kw_only=True)
class RMSpropConfig(OptimizerConfig):
    """Settings of ``rmsprop``."""

    decay: float = setting(
        Real(0.0, below=1.0), 0.99, "decay rate of the running mean of squared gradients"
    )
    epsilon: float = setting(Real(above=0.0), 1e-8, "added to the divisor")


@dataclass(frozen=True, kw_only=True)
class AdamConfig(OptimizerConfig):
    """Settings of ``adam``."""

    beta1: float = setting(Real(0.0, below=1.0), 0.9, "decay rate of the running mean of gradients")
    beta2: float = setting(
        Real(0.0, below=1.0), 0.999, "decay rate of the running mean of squared gradients"
    )
    epsilon: float = setting(Real(above=0.0), 1e-8, "added to the divisor")


@dataclass(frozen=True, kw_only=True)
class RpropConfig(OptimizerConfig):
    """Settings of ``rprop``, whose first step size is ``lr`` unless it is drawn."""

    eta_plus: float = setting(
        Real(above=1.0), 1.2, "growth of the step size while the gradient keeps its sign"
    )
    eta_minus: float = setting(
        Real(above=0.0, below=1.0), 0.5, "factor of the step size when the sign changes"
    )
    step_min: float = setting(Real(0.0), 1e-6, "smallest step size")
    step_max: float = setting(Real(above=0.0), 50.0, "largest step size")
    step_init_low: float | None = setting(
        Optional(Real(above=0.0)), None, "lower limit of random first step sizes; null: they are lr"
    )
    step_init_high: float | None = setting(
        Optional(Real(above=0.0)), None, "upper limit of random first step sizes; null: they are lr"
    )
    step_init_seed: int | None = setting(
        Optional(Integer(0, 2**32 - 1)), None, "seed of the first step sizes alone; null: seed"
    )


@dataclass(frozen=True, kw_only=True)
class QuickpropConfig(OptimizerConfig):
    """Settings of ``quickprop``."""

    mu: float = setting(Real(above=0.0), 1.75, "largest growth of a step over the last one")


class UpdateNumbers(NamedTuple):
    """The numbers of one parameter's update, for a worked example.

    Attributes:
        w: The parameter before.
        g: Its gradient, weight decay included.
        before: The optimizer's state before.
        after: The optimizer's state afterwards.
        lr: The parameter's learning rate.
        hyperparameters: The optimizer's hyperparameters.
        new_w: The parameter afterwards.
    """

    w: float
    g: float
    before: Any
    after: Any
    lr: float
    hyperparameters: Any
    new_w: float


@dataclass(frozen=True)
class Optimizer:
    """An optimizer with everything that the package derives from it.

    Attributes:
        name: The value of ``optimizer``.
        config: The dataclass of its settings.
        state: A NamedTuple class of arrays, each shaped like the parameters.
        initial_state: The first value of each field of the state; None stands for the
            learning rate of the run.
        update: (w, g, state, lr, hyperparameters) -> (w, state), elementwise.
        explain: (numbers, show) -> the update as equations, for ``bpexp explain``.
        symbols: State fields that ``bpexp explain`` lists, with their symbols.
        is_branchless: Whether ``update`` uses no ``where``, which allows the compiler's fastest
            code for small networks.
    """

    name: str
    config: type[OptimizerConfig]
    state: Callable[..., Any]
    initial_state: Mapping[str, float | None]
    update: Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]
    explain: Callable[[UpdateNumbers, Show], Lines]
    symbols: Mapping[str, str]
    is_branchless: bool = False

    @cached_property
    def hyperparameter_names(self) -> tuple[str, ...]:
        """The settings that ``update`` receives: numeric, not null, of this optimizer only."""
        shared = {s.name for s in settings_of(OptimizerConfig)}
        return tuple(
            s.name
            for s in settings_of(self.config)
            if s.name not in shared and isinstance(s.rule, Real | Integer)
        )

    @cached_property
    def hyperparameters(self) -> Callable[..., Any]:
        """A namedtuple class with ``hyperparameter_names`` as fields."""
        # The class is created at run time, so that its fields always match the config.
        return namedtuple("Hyperparameters", self.hyperparameter_names)


class NoState(NamedTuple):
    """The state of an optimizer that has none."""


class MomentumState(NamedTuple):
    """State of ``momentum`` and ``nesterov``: the last step."""

    velocity: Any


class RMSpropState(NamedTuple):
    """State of ``rmsprop``: the running mean of squared gradients."""

    square: Any


class AdamState(NamedTuple):
    """State of ``adam``: running means of gradients and their squares, and beta^t."""

    mean: Any
    square: Any
    beta1_power: Any
    beta2_power: Any


class RpropState(NamedTuple):
    """State of ``rprop``: the last gradient (0 after a change of sign) and the step size."""

    gradient: Any
    step: Any


class QuickpropState(NamedTuple):
    """State of ``quickprop``: the last step and the last downhill slope."""

    step: Any
    slope: Any


def gradient_descent(w: Any, g: Any, state: NoState, lr: Any, h: Any) -> tuple[Any, NoState]:
    """w - lr g (Rumelhart, Hinton and Williams 1986, eq. 8)."""
    return w - lr * g, state


def momentum(w: Any, g: Any, state: MomentumState, lr: Any, h: Any) -> tuple[Any, MomentumState]:
    """v = momentum v - lr g; w + v (Rumelhart, Hinton and Williams 1986, eq. 9)."""
    velocity = h.momentum * state.velocity - lr * g
    return w + velocity, MomentumState(velocity)


def nesterov(w: Any, g: Any, state: MomentumState, lr: Any, h: Any) -> tuple[Any, MomentumState]:
    """Nesterov's accelerated gradient (Nesterov 1983; Bengio et al. 2013, eq. 7)."""
    velocity = h.momentum * state.velocity - lr * g
    return w + (h.momentum * velocity - lr * g), MomentumState(velocity)


def rmsprop(w: Any, g: Any, state: RMSpropState, lr: Any, h: Any) -> tuple[Any, RMSpropState]:
    """g over the root of its running mean square (Tieleman and Hinton 2012, lecture 6.5)."""
    square = h.decay * state.square + (1.0 - h.decay) * (g * g)
    return w - lr * (g / (np.sqrt(square) + h.epsilon)), RMSpropState(square)


def adam(w: Any, g: Any, state: AdamState, lr: Any, h: Any) -> tuple[Any, AdamState]:
    """Kingma and Ba 2015, algorithm 1, with the powers of the betas as running products."""
    mean = h.beta1 * state.mean + (1.0 - h.beta1) * g
    square = h.beta2 * state.square + (1.0 - h.beta2) * (g * g)
    beta1_power, beta2_power = state.beta1_power * h.beta1, state.beta2_power * h.beta2
    corrected = mean / (1.0 - beta1_power)
    root = np.sqrt(square / (1.0 - beta2_power))
    new = AdamState(mean, square, beta1_power, beta2_power)
    return w - lr * (corrected / (root + h.epsilon)), new


def rprop(w: Any, g: Any, state: RpropState, lr: Any, h: Any) -> tuple[Any, RpropState]:
    """iRPROP- (Igel and Huesken 2000), which uses only the sign of the gradient."""
    product = g * state.gradient
    longer, shorter = state.step * h.eta_plus, state.step * h.eta_minus
    longer = where(longer > h.step_max, h.step_max, longer)
    shorter = where(shorter < h.step_min, h.step_min, shorter)
    step = where(product > 0.0, longer, where(product < 0.0, shorter, state.step))
    g = where(product < 0.0, 0.0, g)
    return w - where(g > 0.0, step, where(g < 0.0, -step, g)), RpropState(g, step)


def quickprop(w: Any, g: Any, state: QuickpropState, lr: Any, h: Any) -> tuple[Any, QuickpropState]:
    """Quickprop (Fahlman 1988, 3.4) as in Fahlman's program.

    The step goes to the minimum of the parabola through the last two slopes, at most mu times
    the last step, plus gradient descent while the slope keeps its sign.
    """
    slope = -g
    shrunk = h.mu / (1.0 + h.mu) * state.slope
    descent = lr * slope
    parabola = state.step * slope / (state.slope - slope)
    longest = h.mu * state.step
    if_last_step_up = where(slope > 0.0, descent, 0.0) + where(slope > shrunk, longest, parabola)
    if_last_step_down = where(slope < 0.0, descent, 0.0) + where(slope < shrunk, longest, parabola)
    step = where(
        state.step > 0.0, if_last_step_up, where(state.step < 0.0, if_last_step_down, descent)
    )
    return w + step, QuickpropState(step, slope)


def _explain_gradient_descent(n: UpdateNumbers, show: Show) -> Lines:
    return [
        ("new w", "w − η g"),
        ("", f"{show(n.w)} − {show(n.lr)} · {factor(show(n.g))}"),
        ("", show(n.new_w)),
    ]


def _explain_velocity(n: UpdateNumbers, show: Show) -> Lines:
    last = factor(show(n.before.velocity))
    return [
        ("new v", "α v − η g"),
        (
            "",
            f"{show(n.hyperparameters.momentum)} · {last} − {show(n.lr)} · {factor(show(n.g))}",
        ),
        ("", show(n.after.velocity)),
    ]


def _explain_momentum(n: UpdateNumbers, show: Show) -> Lines:
    return [
        *_explain_velocity(n, show),
        ("new w", "w + v"),
        ("", f"{show(n.w)} + {factor(show(n.after.velocity))}"),
        ("", show(n.new_w)),
    ]


def _explain_nesterov(n: UpdateNumbers, show: Show) -> Lines:
    alpha = show(n.hyperparameters.momentum)
    v, g = factor(show(n.after.velocity)), factor(show(n.g))
    return [
        *_explain_velocity(n, show),
        ("new w", "w + α v − η g"),
        ("", f"{show(n.w)} + {alpha} · {v} − {show(n.lr)} · {g}"),
        ("", show(n.new_w)),
    ]


def _explain_rmsprop(n: UpdateNumbers, show: Show) -> Lines:
    decay, epsilon = n.hyperparameters.decay, n.hyperparameters.epsilon
    g, s = factor(show(n.g)), show(n.after.square)
    return [
        ("new s", "ρ s + (1 − ρ) g²"),
        ("", f"{show(decay)} · {show(n.before.square)} + {show(1.0 - decay)} · {g}²"),
        ("", s),
        ("new w", "w − η g / (√s + ε)"),
        ("", f"{show(n.w)} − {show(n.lr)} · {g} / (√{s} + {show(epsilon)})"),
        ("", show(n.new_w)),
    ]


def _explain_adam(n: UpdateNumbers, show: Show) -> Lines:
    h, after = n.hyperparameters, n.after
    g, m, v = factor(show(n.g)), factor(show(after.mean)), show(after.square)
    m_hat = show(after.mean / (1.0 - after.beta1_power))
    v_hat = show(after.square / (1.0 - after.beta2_power))
    return [
        ("new m", "β₁ m + (1 − β₁) g"),
        ("", f"{show(h.beta1)} · {factor(show(n.before.mean))} + {show(1.0 - h.beta1)} · {g}"),
        ("", show(after.mean)),
        ("new v", "β₂ v + (1 − β₂) g²"),
        ("", f"{show(h.beta2)} · {show(n.before.square)} + {show(1.0 - h.beta2)} · {g}²"),
        ("", v),
        ("m̂", f"m / (1 − β₁ᵗ) = {m} / (1 − {show(after.beta1_power)}) = {m_hat}"),
        ("v̂", f"v / (1 − β₂ᵗ) = {v} / (1 − {show(after.beta2_power)}) = {v_hat}"),
        ("new w", "w − η m̂ / (√v̂ + ε)"),
        ("", f"{show(n.w)} − {show(n.lr)} · {factor(m_hat)} / (√{v_hat} + {show(h.epsilon)})"),
        ("", show(n.new_w)),
    ]


def _explain_rprop(n: UpdateNumbers, show: Show) -> Lines:
    h = n.hyperparameters
    product = n.g * n.before.gradient
    change = (
        f"same sign: {show(h.eta_plus)} times, at most {show(h.step_max)}" if product > 0.0
        else f"other sign: {show(h.eta_minus)} times, at least {show(h.step_min)}"
        if product < 0.0
        else "one of them is 0: unchanged"
    )  # fmt: skip
    skipped = " (no step after a change of sign)" if product < 0.0 else ""
    last = factor(show(n.before.gradient))
    return [
        ("g · last g", f"{factor(show(n.g))} · {last} ({change})"),
        ("Δ", f"{show(n.before.step)} → {show(n.after.step)}"),
        ("new w", f"w − sign(g) Δ{skipped}"),
        ("", f"{show(n.w)} − {factor(show(np.sign(n.after.gradient)))} · {show(n.after.step)}"),
        ("", show(n.new_w)),
    ]


def _explain_quickprop(n: UpdateNumbers, show: Show) -> Lines:
    mu, slope, last, step = n.hyperparameters.mu, n.after.slope, n.before.slope, n.before.step
    s = factor(show(slope))
    lines = [("S", f"−g = {show(slope)}"), ("last S", show(last)), ("last Δ", show(step))]
    if step == 0.0:
        lines.append(("new Δ", f"η S = {show(n.lr)} · {s}"))
    else:
        sign = 1.0 if step > 0.0 else -1.0
        is_limited = sign * slope > sign * (mu / (1.0 + mu) * last)
        formula = "μ last Δ" if is_limited else "last Δ · S / (last S − S)"
        numbers = (
            f"{show(mu)} · {factor(show(step))}" if is_limited
            else f"{show(step)} · {s} / ({show(last)} − {s})"
        )  # fmt: skip
        if sign * slope > 0.0:
            formula, numbers = f"{formula} + η S", f"{numbers} + {show(n.lr)} · {s}"
        lines += [("new Δ", formula), ("", numbers)]
    return [
        *lines,
        ("", show(n.after.step)),
        ("new w", f"w + Δ = {show(n.w)} + {factor(show(n.after.step))}"),
        ("", show(n.new_w)),
    ]


OPTIMIZERS = Registry("optimizer", [
    Optimizer(
        "gradient_descent", OptimizerConfig, NoState, {}, gradient_descent,
        _explain_gradient_descent, {}, is_branchless=True,
    ),
    Optimizer(
        "momentum", MomentumConfig, MomentumState, {"velocity": 0.0}, momentum,
        _explain_momentum, {"velocity": "v"}, is_branchless=True,
    ),
    Optimizer(
        "nesterov", MomentumConfig, MomentumState, {"velocity": 0.0}, nesterov,
        _explain_nesterov, {"velocity": "v"}, is_branchless=True,
    ),
    Optimizer(
        "rmsprop", RMSpropConfig, RMSpropState, {"square": 0.0}, rmsprop,
        _explain_rmsprop, {"square": "s"}, is_branchless=True,
    ),
    Optimizer(
        "adam", AdamConfig, AdamState,
        {"mean": 0.0, "square": 0.0, "beta1_power": 1.0, "beta2_power": 1.0}, adam,
        _explain_adam, {"mean": "m", "square": "v"}, is_branchless=True,
    ),
    Optimizer(
        "rprop", RpropConfig, RpropState, {"gradient": 0.0, "step": None}, rprop,
        _explain_rprop, {"gradient": "last g", "step": "Δ"},
    ),
    Optimizer(
        "quickprop", QuickpropConfig, QuickpropState, {"step": 0.0, "slope": 0.0}, quickprop,
        _explain_quickprop, {"step": "Δ", "slope": "S"},
    ),
])  # fmt: skip
