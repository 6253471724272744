"""The notation of the document: symbols with indices, numbers and sums.

>>> indexed("w", 2, 1, 3)
'w⁽²⁾₁₃'
>>> digits(3)(0.12345)
'0.123'
"""

from bpexp.nn.notation import Show
from bpexp.render.notation import subscript, superscript


def digits(n: int) -> Show:
    """Make a function that formats numbers with ``n`` significant digits."""
    # Adding 0 turns -0 into 0.
    return lambda value: f"{float(value) + 0.0:.{n}g}"


def indexed(name: str, layer: int, *units: int) -> str:
    """A symbol with a superscript for its layer and subscripts for its units.

    Args:
        name: The symbol; x replaces it in layer 0, which are the inputs.
        layer: The layer, from 0.
        units: The units, from 1.
    """
    # Without a comma, w₁₁₁ could be w₁,₁₁ or w₁₁,₁.
    of_units = ("," if any(unit > 9 for unit in units) else "").join(map(subscript, units))
    return f"x{of_units}" if layer == 0 else f"{name}⁽{superscript(layer)}⁾{of_units}"


def plus(terms: list[str], n_left_out: int) -> str:
    """A sum of terms; if terms are left out, their number stands at the end.

    >>> plus(["a", "b"], 3)
    'a + b + … (3 more)'
    """
    return " + ".join(terms + ([f"… ({n_left_out} more)"] if n_left_out > 0 else []))
