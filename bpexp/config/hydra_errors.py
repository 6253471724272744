"""Describe Hydra's composition errors in one sentence that says what to type.

Only the common errors are described; callers print the first line of Hydra's own message for
the others.

>>> unknown_key("data.bits")
'data.bits is a setting of data=parity or symmetry; add data=parity.'
>>> choice("optimizer", "Adam", ["adam", "rprop"])
"optimizer must be one of adam, rprop, got 'Adam'; did you mean optimizer=adam?"
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from bpexp.config.schema import GROUPS, keys
from bpexp.fields import checks

OTHER_NAMES = {"sgd": "gradient_descent", "gd": "gradient_descent", "backprop": "gradient_descent"}
TABLES = (".csv", ".parquet", ".npz", ".tsv", ".xlsx", ".txt", ".json")
"""Endings of file names that people pass as ``data``; not all of them can be read."""


def describe(error: BaseException) -> str | None:
    """Return a sentence for an error that Hydra raised, or None if it is not a common one."""
    text = str(error)
    for pattern, sentence in _PATTERNS:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return sentence(*found.groups())
    return None


def unknown_key(key: str) -> str:
    """Return the sentence for a key that the composed configuration does not have."""
    known = keys()
    if key not in known:
        return str(checks.unknown(key, known))
    group, _, setting = key.partition(".")
    kinds = [
        name for name, cls in GROUPS.get(group, {}).items() if setting in cls.__dataclass_fields__
    ]
    if not kinds:
        return f"{key} cannot be set here."
    return f"{key} is a setting of {group}={' or '.join(kinds)}; add {group}={kinds[0]}."


def choice(group: str, value: str, options: Sequence[str]) -> str:
    """Return the sentence for a configuration group that has no option of that name."""
    sentence = f"{group} must be one of {', '.join(options)}, got {value!r}"
    near = OTHER_NAMES.get(value.lower()) or checks.nearest(value.lower(), options)
    if group == "data" and (PurePath(value).suffix in TABLES or "/" in value):
        path = str(PurePath(value))
        return f"{sentence}; for your own table type data=file data.path={path} data.target=COLUMN."
    if near in options:
        return f"{sentence}; did you mean {group}={near}?"
    if group == "data":
        return f"{sentence}; for your own table type data=file data.path=FILE data.target=COLUMN."
    return f"{sentence}."


def _option_not_found(value: str, group: str, options: str) -> str:
    return choice(group, value.removeprefix(f"{group}/"), options.split())


def _several_values(key: str, value: str) -> str:
    return (
        f"{key} must be one value for a single run, got {value!r}; to sweep over it type "
        f"bpexp -m {key}={value}, for a list {key}=[{value}]."
    )


def _sweep_without_m(override: str) -> str:
    key = override.partition("=")[0]
    return f"{key} has several values; to sweep over them type bpexp -m '{override}'."


def _exists(key: str, override: str) -> str:
    return f"{key} exists already; type {override} without the +."


_PATTERNS: Sequence[tuple[str, Callable[..., str]]] = (
    (r"Ambiguous value for argument '([^=]+)=(.*?)'\n", _several_values),
    (r"Sweep parameters '(.*?)' requires --multirun", _sweep_without_m),
    (r"Could not override '([^']+)'", unknown_key),
    (
        r"Could not (?:find|load) '([^']*)'.?\s+Available options in '([^']+)':(.*?)Config",
        _option_not_found,
    ),
    (r"Could not append to config\. An item is already at '([^']+)'.*?'([^']+)'", _exists),
    (r"Missing mandatory value: ([\w.]+)", "{0} must be given ({0}=...).".format),
    (
        r"range\(\) arg 3 must not be zero",
        "The step of range(first, end, step) must not be 0.".format,
    ),
)
