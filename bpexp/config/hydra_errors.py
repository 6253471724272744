"""Describe Hydra's composition errors in one sentence that says what to type.

Only the common errors are described; callers print the first line of Hydra's own message for
the others.

>>> describe(ValueError("Could not override 'data.bits'"))
'data.bits is a setting of data=parity or symmetry; add data=parity.'
"""

import re
from collections.abc import Callable, Sequence

from bpexp.config import schema
from bpexp.config.options import unknown_option
from bpexp.fields.checks import Integer, Real


def describe(error: BaseException) -> str | None:
    """Return a sentence for an error that Hydra raised, or None if it is not a common one."""
    text = str(error)
    for pattern, sentence in _PATTERNS:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return sentence(*found.groups())
    return None


def _option_not_found(value: str, group: str, options: str) -> str:
    return str(unknown_option(group, value.removeprefix(f"{group}/"), options.split()))


def _unknown_key(key: str) -> str:
    return str(schema.unknown_key(key))


def _several_values(key: str, value: str) -> str:
    known = schema.keys()
    if re.fullmatch(r"(?!hydra|study|sweep)[\w.]+", key) and key not in known:
        return _unknown_key(key)
    number = number_with_comma(key, value)
    as_number = f", for the number {key}={number}" if number else ""
    as_list = f", for a list {key}=[{value}]" if _accepts_lists(key) else ""
    return (
        f"{key} must be one value for a single run, got {value!r}; to sweep over it type "
        f"bpexp -m {key}={value}{as_list}{as_number}."
    )


def _accepts_lists(key: str) -> bool:
    return getattr(schema.rule_of(key), "accepts_lists", False)


def number_with_comma(key: str, value: str) -> str | None:
    """The number that was meant by one with a decimal comma, or with commas between thousands.

    >>> number_with_comma("lr", "0,01"), number_with_comma("epochs", "10,000")
    ('0.01', '10000')
    >>> number_with_comma("epochs", "10,20") is number_with_comma("lr", "0.1,1") is None
    True
    """
    rule = schema.rule_of(key)
    if isinstance(rule, Real) and re.fullmatch(r"-?\d+,\d+", value):
        return value.replace(",", ".")
    if isinstance(rule, Integer) and re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", value):
        return value.replace(",", "")
    return None


def _exists(key: str, override: str) -> str:
    return f"{key} exists already; type {override} without the +."


_PATTERNS: Sequence[tuple[str, Callable[..., str]]] = (
    (r"Ambiguous value for argument '([^=]+)=(.*?)'\n", _several_values),
    (
        r"Error merging override ([\w.]+)=([^\n]*)",
        "{0} must be a group of settings, such as {0}.KEY=VALUE, got {1}.".format,
    ),
    (
        r"Sweep parameters '(.*?)' requires --multirun",
        "{0!r} has several values; to sweep over them add -m.".format,
    ),
    (r"Could not override '([^']+)'", _unknown_key),
    (
        r"Could not (?:find|load) '([^']*)'.?\s+Available options in '([^']+)':(.*?)Config",
        _option_not_found,
    ),
    (r"Could not append to config\. An item is already at '([^']+)'.*?'([^']+)'", _exists),
    (
        r"Invalid loaded object type: (\w+)",
        "A YAML file of settings has lines such as lr: 0.1, got one value ({0}).".format,
    ),
    (r"Missing mandatory value: ([\w.]+)", "{0} must be given ({0}=...).".format),
    (
        r"range\(\) arg 3 must not be zero",
        "The step of range(first, end, step) must not be 0.".format,
    ),
)
