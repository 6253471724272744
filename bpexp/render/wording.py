"""Parts of English sentences: numbers with their noun, and enumerations."""

from collections.abc import Sequence


def counted(n: int, noun: str) -> str:
    """The number with its noun.

    >>> counted(1, "run"), counted(0, "run")
    ('1 run', '0 runs')
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def abbreviated(values: Sequence[str]) -> str:
    """The values; the first three and the last one of more than eight, and how many there are.

    >>> abbreviated(["0.1", "1"]), abbreviated(list("0123456789"))
    ('0.1, 1', '0, 1, 2 ... 9 (10 values)')
    """
    if len(values) <= 8:
        return ", ".join(values)
    return f"{', '.join(values[:3])} ... {values[-1]} ({len(values)} values)"


def listed(words: Sequence[str]) -> str:
    """The words, at least one, as an enumeration.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
