"""How quantities and numbers are written."""

from bpexp.nn.notation import Show, factor

__all__ = ["Show", "digits", "factor", "indexed", "plus"]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits(n: int) -> Show:
    """Numbers in ``n`` significant digits, correctly rounded; whole ones without a point."""
    # Adding 0 makes a negative zero the plain one.
    return lambda value: f"{float(value) + 0.0:.{n}g}"


def indexed(name: str, layer: int, *units: int) -> str:
    """w⁽²⁾₁₃; layers and units count from 1; the inputs, layer 0, are x."""
    below = [str(unit).translate(_SUBSCRIPTS) for unit in units]
    low = ("," if any(unit > 9 for unit in units) else "").join(below)
    if layer == 0:
        return f"x{low}"
    return f"{name}⁽{str(layer).translate(_SUPERSCRIPTS)}⁾{low}"


def plus(terms: list[str], left_out: int) -> str:
    """A sum, saying how many of its terms are not written."""
    return " + ".join(terms + ([f"… ({left_out} more)"] if left_out > 0 else []))
