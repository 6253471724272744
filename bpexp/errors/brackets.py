"""Corrects brackets that do not match, in a ``zip(...)`` also the separators of its settings.

>>> corrected("zip(lr=[0.1,1],hidden=[2,4]")
'zip(lr=[0.1,1],hidden=[2,4])'
>>> corrected("zip(lr: (0.1,1]; hidden: 2,4)"), corrected("zip(lr=[0.1,1,hidden=[2,4]) | seed=3")
('zip(lr=[0.1,1],hidden=[2,4])', 'zip(lr=[0.1,1],hidden=[2,4]) | seed=3')
>>> corrected("lr=choice(1,2 | lr=3")
'lr=choice(1,2) | lr=3'
>>> corrected("zip(lr,hidden)") is None
True
"""

import re
import shlex

from hydra.errors import HydraException

from bpexp.config.grammar import parse_overrides
from bpexp.config.schema import keys, rule_of
from bpexp.errors import sequences
from bpexp.errors.lookalikes import without_lookalikes
from bpexp.fields.checks import ConfigError, Real
from bpexp.sweeps.grid import sub_sweeps
from bpexp.sweeps.grid.sub_sweeps import BRACKETS

_START = re.compile(r"(?:[A-Za-z_]\w*=)?zip\s*[(\[{]*\s*(?=[A-Za-z_])", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s,;(\[{]*(?<![\w.@/])(?=[A-Za-z_][\w.@/]*\s*[=:])")
_FUNCTION = re.compile(r"[A-Za-z_]\w*\(")


def with_correction(message: str) -> str:
    """The message of an error about a zip, with the zip that was meant, if that is known."""
    found = re.fullmatch(r"""zip must .*, got (['"])(.*)\1\.?""", message, re.DOTALL)
    typed = corrected(found[2]) if found else None
    if typed is None:
        return message
    return f"{message.removesuffix('.')}; type {shlex.quote(typed)}."


def corrected(argument: str) -> str | None:
    """The argument with brackets that match; None if it is not known what was meant."""
    plain = without_lookalikes(argument)
    typed = " | ".join(map(_corrected_part, re.split(r"\s*\|\s*", plain)))
    return typed if typed != argument and is_valid(typed) else None


def _corrected_part(part: str) -> str:
    start = _START.match(part)
    if start is None:
        return balanced(part)
    listed = []
    for text in filter(None, _SEPARATOR.split(part[start.end() :])):
        key, *value = re.split(r"\s*[=:]\s*", text, maxsplit=1)
        if key not in keys() or not value:
            return part
        is_real = isinstance(rule_of(key), Real)
        with_points = sequences.decimal_points(value[0]) if is_real else None
        listed.append(f"{key}={_list(with_points or value[0].replace(';', ','))}")
    return f"zip({','.join(listed)})"


def _list(value: str) -> str:
    """The values of a setting as a list or a function, with brackets that match."""
    value = balanced(value).strip(" ,;")
    if _FUNCTION.match(value) or (value.startswith("[") and value.endswith("]")):
        return value
    inside = value[1:-1] if value[:1] in BRACKETS else value
    return f"[{inside}]"


def balanced(value: str) -> str:
    """The value without brackets that are not opened, and with those that are not closed.

    >>> balanced("[0.1,(1,2],3)")
    '[0.1,(1,2),3]'
    """
    letters, opened = [], ""
    for letter in value:
        if letter in BRACKETS:
            opened += letter
        elif letter in BRACKETS.values():
            if not opened:
                continue
            letter, opened = BRACKETS[opened[-1]], opened[:-1]
        letters.append(letter)
    return "".join(letters) + "".join(BRACKETS[one] for one in reversed(opened))


def is_valid(argument: str) -> bool:
    """Whether an argument stands for at least one job."""
    try:
        return bool(sub_sweeps.jobs([argument], parse_overrides))
    except (ConfigError, HydraException):
        return False
