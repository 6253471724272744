"""Parts of English sentences: numbers with their noun, and enumerations."""

from collections.abc import Sequence


def counted(n: int, noun: str) -> str:
    """The number with its noun.

    >>> counted(1, "run"), counted(0, "run")
    ('1 run', '0 runs')
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def listed(words: Sequence[str]) -> str:
    """The words, at least one, as an enumeration.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
