"""Mathematical notation in plain Unicode text: indices and minus signs."""

import re

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾⁻ᵀᶻᵗ"
SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉ᵢⱼ"
_RAISED, _LOWERED = (str.maketrans("0123456789", one[:10]) for one in (SUPERSCRIPTS, SUBSCRIPTS))
_PLAIN = str.maketrans(SUPERSCRIPTS + SUBSCRIPTS, "0123456789()-Tzt" + "0123456789ij")
_MINUS = re.compile(r"(?<![\w⁾])-(?=[\d.]|inf)|(?<=\de)-(?=\d)")


def superscript(number: int) -> str:
    """The digits of a number as superscripts.

    >>> superscript(12)
    '¹²'
    """
    return str(number).translate(_RAISED)


def subscript(number: int) -> str:
    """The digits of a number as subscripts.

    >>> subscript(13)
    '₁₃'
    """
    return str(number).translate(_LOWERED)


def plain_indices(text: str) -> str:
    """Superscripts and subscripts as ordinary characters.

    >>> plain_indices("⁽²⁾"), plain_indices("₁₃")
    ('(2)', '13')
    """
    return text.translate(_PLAIN)


def with_minus_signs(text: str) -> str:
    """The text with a minus sign for the hyphen before a number and in an exponent.

    >>> with_minus_signs("-1.5e-07 is well-known")
    '−1.5e−07 is well-known'
    """
    return _MINUS.sub("−", text)
