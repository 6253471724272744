"""Mathematical notation in plain Unicode text: indices and minus signs."""

import re

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾⁻ᵀᶻᵗ"
SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉ᵢⱼ"
_LEVEL = str.maketrans(SUPERSCRIPTS + SUBSCRIPTS, "0123456789()-Tzt" + "0123456789ij")
_MINUS = re.compile(r"(?<![\w⁾])-(?=[\d.]|inf)|(?<=\de)-(?=\d)")


def level(text: str) -> str:
    """Superscripts and subscripts as ordinary characters.

    >>> level("⁽²⁾"), level("₁₃")
    ('(2)', '13')
    """
    return text.translate(_LEVEL)


def with_minus_signs(text: str) -> str:
    """The text with a minus sign for the hyphen before a number and in an exponent.

    >>> with_minus_signs("-1.5e-07 is well-known")
    '−1.5e−07 is well-known'
    """
    return _MINUS.sub("−", text)
