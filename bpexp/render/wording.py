"""Parts of English sentences: numbers with their noun, and enumerations."""

from collections.abc import Iterable, Sequence


def counted(n: int, noun: str) -> str:
    """The number with its noun.

    >>> counted(1, "run"), counted(0, "run")
    ('1 run', '0 runs')
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def abbreviated(values: Sequence[str], noun: str = "values") -> str:
    """The values; the first three and the last one of more than eight, and how many there are.

    >>> abbreviated(["0.1", "1"]), abbreviated(list("0123456789"))
    ('0.1, 1', '0, 1, 2 ... 9, 10 values')
    """
    if len(values) <= 8:
        return ", ".join(values)
    return f"{', '.join(values[:3])} ... {values[-1]}, {len(values)} {noun}"


def listed(words: Sequence[str]) -> str:
    """The words, at least one, as an enumeration.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def listed_briefly(words: Iterable[str]) -> str:
    """The words as an enumeration; of more than four the first three, and the number of others.

    >>> listed_briefly(["a", "b"]), listed_briefly(list("abcdef"))
    ('a and b', 'a, b, c and 3 others')
    """
    texts = list(words)
    return listed([*texts[:3], f"{len(texts) - 3} others"] if len(texts) > 4 else texts)
