"""Operations that exact formulas use besides + - * /: selection, and access to the bits.

They are generic functions. Here they work on arrays; ``bpexp.training.llvm`` registers versions
that generate code when a formula is traced.

>>> where(np.array([True, False]), 1.0, 2.0).tolist()
[1.0, 2.0]
"""

from functools import singledispatch
from typing import Any

import numpy as np


@singledispatch
def where(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition is true, otherwise ``no``; both are evaluated."""
    return np.where(condition, yes, no)


@singledispatch
def to_bits(x: Any) -> Any:
    """The bits of float64 values as int64."""
    return np.asarray(x).view(np.int64)


@singledispatch
def from_bits(bits: Any) -> Any:
    """The float64 values with the bits of these int64."""
    return np.asarray(bits).view(np.float64)
