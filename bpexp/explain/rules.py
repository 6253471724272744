"""Update rules with their numbers put in: what ``nn.optimizers`` computes, line by line."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bpexp.explain.symbols import Show, factor

Lines = list[tuple[str, str]]


class Numbers(NamedTuple):
    """One parameter's: ``g`` with weight decay; ``old`` and ``new`` slots; ``rate`` its
    learning rate; ``settings`` of the rule; ``w`` before, ``after``.
    """

    w: float
    g: float
    old: Sequence[float]
    new: Sequence[float]
    rate: float
    settings: Sequence[float]
    after: float


def _gradient_descent(n: Numbers, show: Show) -> Lines:
    return [
        ("new w", "w − η g"),
        ("", f"{show(n.w)} − {show(n.rate)} · {factor(show(n.g))}"),
        ("", show(n.after)),
    ]


def _velocity(n: Numbers, show: Show) -> Lines:
    (alpha,) = n.settings
    return [
        ("new v", "α v − η g"),
        ("", f"{show(alpha)} · {factor(show(n.old[0]))} − {show(n.rate)} · {factor(show(n.g))}"),
        ("", show(n.new[0])),
    ]


def _momentum(n: Numbers, show: Show) -> Lines:
    return [
        *_velocity(n, show),
        ("new w", "w + v"),
        ("", f"{show(n.w)} + {factor(show(n.new[0]))}"),
        ("", show(n.after)),
    ]


def _nesterov(n: Numbers, show: Show) -> Lines:
    (alpha,) = n.settings
    v, g = factor(show(n.new[0])), factor(show(n.g))
    return [
        *_velocity(n, show),
        ("new w", "w + α v − η g"),
        ("", f"{show(n.w)} + {show(alpha)} · {v} − {show(n.rate)} · {g}"),
        ("", show(n.after)),
    ]


def _rmsprop(n: Numbers, show: Show) -> Lines:
    decay, epsilon = n.settings
    g, s = factor(show(n.g)), show(n.new[0])
    return [
        ("new s", "ρ s + (1 − ρ) g²"),
        ("", f"{show(decay)} · {show(n.old[0])} + {show(1.0 - decay)} · {g}²"),
        ("", s),
        ("new w", "w − η g / (√s + ε)"),
        ("", f"{show(n.w)} − {show(n.rate)} · {g} / (√{s} + {show(epsilon)})"),
        ("", show(n.after)),
    ]


def _adam(n: Numbers, show: Show) -> Lines:
    beta1, beta2, epsilon = n.settings
    mean, square, power1, power2 = n.new
    g, m, v = factor(show(n.g)), factor(show(mean)), show(square)
    corrected, spread = mean / (1.0 - power1), square / (1.0 - power2)
    m_hat, v_hat = show(corrected), show(spread)
    return [
        ("new m", "β₁ m + (1 − β₁) g"),
        ("", f"{show(beta1)} · {factor(show(n.old[0]))} + {show(1.0 - beta1)} · {g}"),
        ("", show(mean)),
        ("new v", "β₂ v + (1 − β₂) g²"),
        ("", f"{show(beta2)} · {show(n.old[1])} + {show(1.0 - beta2)} · {g}²"),
        ("", v),
        ("m̂", f"m / (1 − β₁ᵗ) = {m} / (1 − {show(power1)}) = {m_hat}"),
        ("v̂", f"v / (1 − β₂ᵗ) = {v} / (1 − {show(power2)}) = {v_hat}"),
        ("new w", "w − η m̂ / (√v̂ + ε)"),
        ("", f"{show(n.w)} − {show(n.rate)} · {factor(m_hat)} / (√{v_hat} + {show(epsilon)})"),
        ("", show(n.after)),
    ]


def _rprop(n: Numbers, show: Show) -> Lines:
    eta_plus, eta_minus, step_min, step_max = n.settings
    before, length = n.old
    turned = n.g * before
    how = (
        f"kept sign: {show(eta_plus)} times, at most {show(step_max)}" if turned > 0.0
        else f"turned: {show(eta_minus)} times, at least {show(step_min)}" if turned < 0.0
        else "no sign before or now: as it was"
    )  # fmt: skip
    g = n.new[0]
    skipped = " (after a turn, no step)" if turned < 0.0 else ""
    return [
        ("g · g before", f"{factor(show(n.g))} · {factor(show(before))} ({how})"),
        ("Δ", f"{show(length)} → {show(n.new[1])}"),
        ("new w", f"w − sign(g) Δ{skipped}"),
        ("", f"{show(n.w)} − {factor(show(np.sign(g)))} · {show(n.new[1])}"),
        ("", show(n.after)),
    ]


def _quickprop(n: Numbers, show: Show) -> Lines:
    (mu,) = n.settings
    step, before = n.old
    slope = n.new[1]
    lines = [("S", f"−g = {show(slope)}"), ("S before", show(before)), ("Δ before", show(step))]
    if step == 0.0:
        lines.append(("new Δ", f"η S = {show(n.rate)} · {factor(show(slope))}"))
    else:
        uphill = slope > 0.0 if step > 0.0 else slope < 0.0
        shrunk = mu / (1.0 + mu) * before
        held = slope > shrunk if step > 0.0 else slope < shrunk
        jump = "μ Δ before" if held else "Δ before · S / (S before − S)"
        put_in = (
            f"{show(mu)} · {factor(show(step))}" if held
            else f"{show(step)} · {factor(show(slope))} / "
            f"({show(before)} − {factor(show(slope))})"
        )  # fmt: skip
        gradient = f" + {show(n.rate)} · {factor(show(slope))}" if uphill else ""
        lines += [("new Δ", jump + (" + η S" if uphill else "")), ("", put_in + gradient)]
    return [
        *lines,
        ("", show(n.new[0])),
        ("new w", f"w + Δ = {show(n.w)} + {factor(show(n.new[0]))}"),
        ("", show(n.after)),
    ]


WORKED: dict[str, Callable[[Numbers, Show], Lines]] = {
    "gradient_descent": _gradient_descent,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "rprop": _rprop,
    "quickprop": _quickprop,
}
SLOTS: dict[str, tuple[str, ...]] = {
    "gradient_descent": (),
    "momentum": ("v",),
    "nesterov": ("v",),
    "rmsprop": ("s",),
    "adam": ("new m", "v"),
    "rprop": ("g kept", "Δ"),
    "quickprop": ("Δ", "S"),
}
"""What a rule remembers of each parameter, as the table shows it."""
