"""What the exact formulas need beside + - * /: a choice, and a float's bits.

The formulas of this package run on arrays here; ``engines.symbols`` gives these three names their
meaning for symbols, on which the formulas write down what is compiled.
"""

from functools import singledispatch
from typing import Any

import numpy as np


@singledispatch
def where(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition holds, else ``no``; both are evaluated."""
    return np.where(condition, yes, no)


@singledispatch
def to_bits(x: Any) -> Any:
    """The 64 bits of a float64 as an int64."""
    return np.asarray(x).view(np.int64)


@singledispatch
def from_bits(bits: Any) -> Any:
    """The float64 that has these 64 bits."""
    return np.asarray(bits).view(np.float64)
