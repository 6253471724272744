"""The jobs of a sweep from Python: arguments of the command line, and lists of values.

>>> [job["lr"] for job in compose_jobs(["seed=1"], {"lr": [0.1, 1], "epochs": 5})]
[0.1, 1]
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bpexp.config.compose import (
    Plain,
    check_order,
    compose_settings,
    composer,
    plain_value,
)
from bpexp.config.options import group_of
from bpexp.config.schema import rule_of, takes_numbers
from bpexp.fields.checks import ConfigError, Integer, Widths, brief
from bpexp.sweeps.grid import setting_values, sub_sweeps, sweep_files
from bpexp.sweeps.job import format_setting

Value = tuple[str, Any]
"""A key and its value; the key "" stands for an override of the command line."""

_ZIP_EXAMPLE = "{'lr': [0.1, 1], 'hidden': [2, 8]}"
_CALL = re.compile(r"[a-z_]+\(.*\)", re.DOTALL)
_ANY_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[].*[)\]]", re.DOTALL)
_NUMBERS = re.compile(r"[-+.\deE]+(?:,\s*[-+.\deE]+)+")


def compose_jobs(arguments: Sequence[str], settings: Mapping[str, Any]) -> list[Plain]:
    """Compose the configuration of each job, the last setting varying fastest.

    Args:
        arguments: Settings in the syntax of the command line; they apply first.
        settings: Values or lists of values by key, as ``bpexp.sweep`` takes them.

    Raises:
        ConfigError: A setting breaks a rule, or an argument is not text.
        HydraException, OmegaConfBaseException: What Hydra's parser and loader raise.
    """
    for argument in arguments:
        if not isinstance(argument, str):
            got = " ".join(brief(argument).split())
            raise ConfigError(
                f"Arguments must be texts such as 'lr=0.1,1', got {got}; data are passed as "
                "data=(X, y)."
            )
    axes = [_axis(key, _plain(key, value)) for key, value in settings.items()]
    typed = sweep_files.jobs(arguments, composer())
    _check_zips(arguments, settings)
    setting_values.check_count(len(typed) * math.prod(map(len, axes)))
    composed = []
    for overrides in typed:
        for values in itertools.product(*axes):
            own = [text for key, text in values if not key]
            named = {key: value for key, value in values if key}
            composed.append(compose_settings(named, [*overrides, *own]))
    return composed


def _check_zips(arguments: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if a setting is in a zip, too: it would replace that part of the zip."""
    zips = [text for text in arguments if sub_sweeps.is_zip(text)]
    zipped = {key for keys in sub_sweeps.axes(zips, composer().parse) for key in keys}
    for key in settings:
        if key.replace("__", ".") in zipped:
            raise ConfigError(f"{key.replace('__', '.')} must be set once, got it in a zip, too.")


def has_search(arguments: Sequence[str], settings: Mapping[str, Any]) -> bool:
    """Whether arguments or settings ask for a search."""
    keys = [key.replace("__", ".") for key in settings]
    return any(group_of(str(text)) == "search" for text in (*keys, *arguments))


def as_arguments(arguments: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The arguments and settings as arguments of the command line.

    >>> as_arguments(["lr=1"], {"data__bits": [3, 4], "seed": range(2)})
    ['lr=1', 'data.bits=3,4', 'seed=0,1']

    Raises:
        ConfigError: A setting is a dictionary, or a list without values.
    """
    typed = [_argument(key.replace("__", "."), _plain(key, v)) for key, v in settings.items()]
    return [*arguments, *typed]


def zip_argument(lists: Any) -> str:
    """The argument of the command line for settings that change together.

    >>> zip_argument({"lr": [0.1, 1], "data__bits": range(3, 5)})
    'zip(lr=[0.1,1],data.bits=[3,4])'

    Raises:
        ConfigError: The settings are no dictionary of lists.
    """
    if not isinstance(lists, Mapping):
        got = brief(lists)
        raise ConfigError(f"zip must be a dictionary, such as {_ZIP_EXAMPLE}, got {got}.")
    parts = []
    for key, value in lists.items():
        plain, dotted = plain_value(value), str(key).replace("__", ".")
        if _is_call(dotted, plain):
            parts.append(f"{dotted}={plain}")
        elif isinstance(plain, list | range):
            parts.append(f"{dotted}=[{','.join(map(_text, plain))}]")
        else:
            got = f"{brief(plain)} of {dotted}"
            raise ConfigError(f"zip must have lists, such as {_ZIP_EXAMPLE}, got {got}.")
    return f"zip({','.join(parts)})"


def typed_arguments(arguments: Sequence[Any], settings: Mapping[str, Any]) -> list[str]:
    """The arguments and settings as they would be typed, as far as they can; for messages."""
    typed = [text for text in arguments if isinstance(text, str)]
    for key, value in settings.items():
        if isinstance(value, range) and len(value) > setting_values.MAX_RUNS:
            continue
        plain = list(value) if isinstance(value, range | tuple | set) else value
        items = plain if isinstance(plain, list) else [plain]
        if all(isinstance(one, str | int | float | None) for one in items):
            shown = ",".join(map(format_setting, items))
            typed.append(f"{key.replace('__', '.')}={shown}")
    return typed


def _plain(key: str, value: Any) -> Any:
    """A value or values without NumPy's types; an array of whole numbers gives integers.

    >>> import numpy as np
    >>> _plain("hidden", np.linspace(2, 8, 4)), _plain("lr", np.array([1.0, 2.0]))
    ([2, 4, 6, 8], [1.0, 2.0])
    """
    plain = plain_value(value)
    is_array = getattr(getattr(value, "dtype", None), "kind", "") == "f" and isinstance(plain, list)
    takes_integers = isinstance(rule_of(key.replace("__", ".")), Integer | Widths)
    if is_array and takes_integers and all(map(_is_whole, plain)):
        return list(map(int, plain))
    return plain


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _argument(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a value, a list or a text here, got a dictionary.")
    if isinstance(value, list | range) and not len(value):
        raise ConfigError(f"{key} must have at least one value, got {brief(value)}.")
    if isinstance(value, list | range) and len(value) > 1:
        return f"{key}={','.join(map(_text, value))}"
    if isinstance(value, list | range):
        # The only value is not searched.
        (value,) = value
    return f"{key}={value if _is_call(key, value) else _text(value)}"


def _is_call(key: str, value: Any) -> bool:
    """Whether a value is a sweep of the command line, such as ``range(0,3)``.

    For a number, that is every text with parentheses: what is no function is refused as such.
    """
    calls = _ANY_CALL if takes_numbers(key) else _CALL
    return isinstance(value, str) and calls.fullmatch(value) is not None


def _text(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        inner = (f"{name}:{_text(one)}" for name, one in value.items())
        return f"{{{','.join(inner)}}}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_]\w*", value) else json.dumps(value)
    return format_setting(value) if not isinstance(value, float) else repr(value)


def _axis(key: str, value: Any) -> list[Value]:
    """The values that a setting takes."""
    dotted = key.replace("__", ".")
    if _is_call(dotted, value):
        (override,) = composer().parse([f"{dotted}={value}"])
        return [("", text) for text in setting_values.expanded(override)]
    check_order(dotted, value)
    if isinstance(value, str) and _NUMBERS.fullmatch(value) and takes_numbers(dotted):
        raise ConfigError(
            f"{dotted} must be a list of values, got {value!r}; type {dotted}=[{value}]."
        )
    if isinstance(value, Iterator):
        value = [plain_value(one) for one in value]
    if not isinstance(value, list | range):
        return [(key, value)]
    if not len(value):
        raise ConfigError(f"{dotted} must have at least one value, got {brief(value)}.")
    # A range may have billions.
    setting_values.check_count(len(value))
    setting_values.check_different(dotted, value)
    return [(key, one) for one in value]
