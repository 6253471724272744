"""The notation of the page: symbols, numbers, sums and activation functions.

>>> indexed("w", 2, 1, 3)
'w⁽²⁾₁₃'
>>> digits(3)(0.12345)
'0.123'
"""

from bpexp.nn.notation import Show

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


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


def plus(terms: list[str], n_left_out: int) -> str:
    """A sum of terms, with the number of terms that are left out, if any."""
    return " + ".join(terms + ([f"… ({n_left_out} more)"] if n_left_out > 0 else []))
