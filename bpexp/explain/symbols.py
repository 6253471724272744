"""The notation of the page: symbols, numbers, sums and activation functions.

>>> indexed("w", 2, 1, 3)
'w⁽²⁾₁₃'
>>> digits(3)(0.12345)
'0.123'
"""

from collections.abc import Callable
from typing import NamedTuple

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Show = Callable[[float], str]
"""Writes a number."""


def digits(n: int) -> Show:
    """A function that writes numbers with ``n`` significant digits."""
    # Adding 0 turns -0 into 0.
    return lambda value: f"{float(value) + 0.0:.{n}g}"


def indexed(name: str, layer: int, *units: int) -> str:
    """A symbol with its layer and units, which count from 1; the inputs, layer 0, are x."""
    below = [str(unit).translate(_SUBSCRIPTS) for unit in units]
    low = ("," if any(unit > 9 for unit in units) else "").join(below)
    if layer == 0:
        return f"x{low}"
    return f"{name}⁽{str(layer).translate(_SUPERSCRIPTS)}⁾{low}"


def factor(text: str) -> str:
    """A number as a factor: in parentheses if it is negative."""
    return f"({text})" if text.startswith("-") else text


def plus(terms: list[str], n_left_out: int) -> str:
    """A sum of terms, with the number of terms that are left out, if any."""
    return " + ".join(terms + ([f"… ({n_left_out} more)"] if n_left_out > 0 else []))


class Unit(NamedTuple):
    """An activation function: its symbol, formula and derivative.

    ``slope``: the derivative by the activation a; ``put_in(a)``: the same with a number.
    """

    name: str
    formula: str
    slope: str
    put_in: Callable[[str], str]


UNITS = {
    "sigmoid": Unit(
        "σ", "1 / (1 + e⁻ᶻ)", "a (1 − a)", lambda a: f"{a} · (1 − {a})"
    ),
    "symmetric_sigmoid": Unit(
        "s", "1 / (1 + e⁻ᶻ) − ½", "(½ + a) (½ − a)",
        lambda a: f"(½ + {factor(a)}) · (½ − {factor(a)})",
    ),
    "tanh": Unit(
        "tanh", "(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)", "1 − a²", lambda a: f"(1 − {factor(a)}²)"
    ),
    "softsign": Unit(
        "softsign", "z / (1 + |z|)", "(1 − |a|)²", lambda a: f"(1 − |{a}|)²"
    ),
    "relu": Unit(
        "relu", "max(z, 0)", "1 where z > 0, else 0", lambda a: "0" if a == "0" else "1"
    ),
    "identity": Unit("id", "z", "1", lambda a: "1"),
    "softmax": Unit("softmax", "eᶻ / Σ eᶻ over the layer", "a (1 − a)", lambda a: a),
}  # fmt: skip
