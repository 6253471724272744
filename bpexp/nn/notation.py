"""How formulas and numbers are written in worked examples."""

from collections.abc import Callable
from typing import NamedTuple

Show = Callable[[float], str]
"""Formats a number."""
Lines = list[tuple[str, str]]
"""Equations as pairs of left and right sides; an empty left side continues the line before."""


class ActivationNotation(NamedTuple):
    """An activation function as it is written in formulas.

    Attributes:
        symbol: Its name in formulas.
        formula: Its value as a formula of z.
        derivative: Its derivative as a formula of a = f(z); "" if it is not elementwise.
        evaluated: From the text of a number a to the derivative with that number.
    """

    symbol: str
    formula: str
    derivative: str = ""
    evaluated: Callable[[str], str] = str


def factor(text: str) -> str:
    """A number as a factor of a product: in parentheses if it is negative.

    >>> factor("-2"), factor("2")
    ('(-2)', '2')
    """
    return f"({text})" if text.startswith("-") else text
