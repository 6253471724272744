"""Rules for single settings. Each check takes (key, value) and returns the clean value."""

import difflib
import math
import unicodedata
from collections.abc import Callable, Iterable
from reprlib import Repr
from typing import Any

Check = Callable[[str, Any], Any]


class ConfigError(ValueError):
    """A setting breaks its rule; the message names the key, the rule and the value."""


LARGEST = 10**15
"""Of whole numbers without a bound of their own: all of them have a float64 and an int64."""
_brief = Repr()
_brief.maxstring = _brief.maxother = _brief.maxlong = 200
_brief.maxlist = _brief.maxtuple = _brief.maxdict = 20


def brief(value: object) -> str:
    """A value as Python writes it, its middle left out where it is long."""
    return _brief.repr(value)


def _fail(key: str, rule: str, value: object) -> ConfigError:
    return ConfigError(f"{key} must be {rule}, got {brief(value)}.")


def integer(low: int, high: int | None = None) -> Check:
    """A whole number from ``low`` to ``high``; no booleans, no fractions."""
    rule = (
        f"a whole number of at least {low}" if high is None else f"a whole number in {low}..{high}"
    )

    def check(key: str, value: Any) -> int:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise _fail(key, rule, value)
        if value > LARGEST:
            raise _fail(key, f"a whole number of at most {LARGEST}", value)
        return value

    return check


def real(low: float = -math.inf, *, above: float = -math.inf, below: float = math.inf) -> Check:
    """A finite number with low <= value, above < value and value < below."""
    bounds = [
        text
        for text, given in (
            (f"at least {low:g}", low > -math.inf),
            (f"above {above:g}", above > -math.inf),
            (f"below {below:g}", below < math.inf),
        )
        if given
    ]
    rule = " ".join(["a finite number", " and ".join(bounds)]).strip()

    def check(key: str, value: Any) -> float:
        if type(value) not in (int, float) or abs(value) > 1e308 or not math.isfinite(value):
            raise _fail(key, rule, value)
        if not (low <= value and above < value < below):
            raise _fail(key, rule, value)
        # -0.0 is written as 0.0: equal settings have equal bits.
        return float(value) + 0.0

    return check


def boolean(key: str, value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise _fail(key, "true or false", value)
    return value


def text(key: str, value: Any) -> str:
    """A text that is not empty, and that a store and a terminal can hold."""
    if not isinstance(value, str) or not value:
        raise _fail(key, "a text", value)
    if not is_printable(value):
        raise _fail(key, "a text without control characters, in UTF-8", value)
    return value


def is_printable(value: str) -> bool:
    """Whether a text is free of control characters and of what is no character at all."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)


def escaped(value: str) -> str:
    """A text with its control characters, but for line ends and tabs, as Python writes them."""
    if is_printable(value):
        return value
    return "".join(c if c in "\n\t" or is_printable(c) else repr(c)[1:-1] for c in value)


def short(longest: int) -> Check:
    """A text of at most so many characters."""

    def check(key: str, value: Any) -> str:
        if len(text(key, value)) > longest:
            raise _fail(key, f"a text of at most {longest} characters", value)
        return str(value)

    return check


def one_of(*choices: str) -> Check:
    """One of the given words."""

    def check(key: str, value: Any) -> str:
        if value not in choices:
            raise _fail(key, f"one of {', '.join(choices)}", value)
        return str(value)

    return check


def optional(inner: Check) -> Check:
    """null, or what ``inner`` accepts."""
    return lambda key, value: None if value is None else inner(key, value)


WIDEST = 10**6
"""Units of a layer."""


def widths(key: str, value: Any) -> tuple[int, ...]:
    """A width or a list of widths, each at least 1; [] for no hidden layer."""
    listed = value if isinstance(value, list | tuple) else [value]
    if any(type(width) is not int or width < 1 for width in listed):
        raise _fail(key, "a width of at least 1 or a list of such widths", value)
    if max(listed, default=0) > WIDEST:
        raise _fail(key, f"a width of at most {WIDEST} or a list of such widths", value)
    return tuple(listed)


def names(key: str, value: Any) -> tuple[str, ...]:
    """A name or a list of different names."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not listed or any(not isinstance(n, str | int) or isinstance(n, bool) for n in listed):
        raise _fail(key, "a column name or a list of column names", value)
    if not all(is_printable(str(n)) for n in listed):
        raise _fail(key, "a column name without control characters, in UTF-8", value)
    if len({str(n) for n in listed}) < len(listed):
        raise _fail(key, "a list of different column names", value)
    return tuple(str(name) for name in listed)


def unknown(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that does not exist, with the nearest one that does."""
    near = nearest(key, known)
    hint = f"; did you mean {near}?" if near else f"; the keys are {', '.join(sorted(known))}."
    return ConfigError(f"{key} is not a key of the configuration{hint}")


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The key that is most like this one, if one is."""
    return next(iter(difflib.get_close_matches(key, list(known), n=1)), None)
