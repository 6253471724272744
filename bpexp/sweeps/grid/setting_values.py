"""The values that a setting has in a grid: those of a list, ``range(...)`` or ``choice(...)``.

>>> from bpexp.config.compose import composer
>>> (override,) = composer().parse(["lr=range(0.1,0.4,0.1)"])
>>> expanded(override)
['lr=0.1', 'lr=0.2', 'lr=0.3']
"""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
)

from bpexp.config.grammar import decimals, shuffled
from bpexp.config.options import check_one_option
from bpexp.fields.checks import ConfigError, brief

MAX_RUNS = 1_000_000
"""The largest number of runs of a sweep."""


def check_count(runs: int) -> None:
    """Raise ConfigError if a sweep has more than ``MAX_RUNS`` runs."""
    if runs > MAX_RUNS:
        raise ConfigError(f"A sweep has at most {MAX_RUNS} runs, got {runs} combinations.")


def expanded(override: Override, *, allow_equal_values: bool = False) -> list[str]:
    """The overrides, one for each value, that a sweep override stands for.

    Args:
        override: The override.
        allow_equal_values: Whether a value may be listed twice, as in a zip.

    Raises:
        ConfigError: The override names no finite set of values, as ``interval`` does, or its list
            of values is empty or has a value twice.
    """
    key = override.get_key_element()
    if override.is_sweep_override():
        return [
            f"{key}={value}"
            for value in _values(key, override, allow_equal_values=allow_equal_values)
        ]
    text = key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
    check_one_option([text])
    return [text]


def _values(key: str, override: Override, *, allow_equal_values: bool) -> list[str]:
    """The values of one sweep override, as text."""
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{key} must be a list, range(...) or choice(...), got {override.input_line!r}; to "
            "search an interval add search=tpe."
        )
    sweep = override.value()
    is_shuffled = isinstance(sweep, RangeSweep | ChoiceSweep) and sweep.shuffle
    if isinstance(sweep, RangeSweep):
        values = _range_values(key, override)
    else:
        if isinstance(sweep, ChoiceSweep):
            if any(isinstance(value, Sweep) for value in sweep.list):
                raise ConfigError(
                    f"{key} must be one range or list, or values without ranges, got "
                    f"{override.input_line!r}; several ranges are sub-sweeps: "
                    f"'{key}=range(1,5) | {key}=7'."
                )
            if not allow_equal_values:
                check_different(key, sweep.list)
            # Shuffled below, with a seed.
            sweep.shuffle = False
        values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(
            f"{key} must have at least one value, got {override.input_line!r}"
            f"{_other_direction(sweep)}."
        )
    return shuffled(values, str(override.input_line)) if is_shuffled else values


def _other_direction(sweep: Any) -> str:
    """What to type for a range that ends before it starts; "" for anything else."""
    if not isinstance(sweep, RangeSweep):
        return ""
    start, stop, step = decimals(sweep)
    return "" if start == stop else f"; type range({start},{stop},{-step})"


def check_different(key: str, values: Sequence[Any]) -> None:
    """Check that no value is listed twice, however it is typed.

    >>> check_different("lr", [0.1, 1e-1])
    Traceback (most recent call last):
        ...
    bpexp.fields.checks.ConfigError: lr must have different values, got 0.1 twice.

    Raises:
        ConfigError: Two values are equal.
    """
    seen = set()
    for value in values:
        plain = canonical(value)
        identity = json.dumps(plain)
        if identity in seen:
            raise ConfigError(f"{key} must have different values, got {brief(plain)} twice.")
        seen.add(identity)


def canonical(value: Any) -> Any:
    """A parsed value as JSON can hold it, with whole floats as integers if they are exact."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {str(name): canonical(item) for name, item in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _range_values(key: str, override: Override) -> list[str]:
    """The values of ``range(start, stop, step)``, computed in decimal as they were typed.

    In binary, range(.1,.5,.1) would contain 0.30000000000000004 and range(0,.9,.3) would contain
    0.9.
    """
    typed_range = override.value()
    assert isinstance(typed_range, RangeSweep)
    assert typed_range.start is not None
    assert typed_range.stop is not None
    numbers = (typed_range.start, typed_range.stop, typed_range.step)
    if not all(abs(number) < 1e300 for number in numbers) or not typed_range.step:
        raise ConfigError(
            f"{key} must be a range of finite numbers with a step other than 0, got "
            f"{override.input_line!r}."
        )
    # Checked before the values are listed: there may be billions.
    if (typed_range.stop - typed_range.start) / typed_range.step > MAX_RUNS:
        raise ConfigError(
            f"{key} must have at most {MAX_RUNS} values, got {override.input_line!r}."
        )
    if all(isinstance(number, int) for number in numbers):
        return [str(number) for number in typed_range.range()]
    start, stop, step = decimals(typed_range)
    count = max(0, math.ceil((stop - start) / step))
    if count == 1 and step == 1:
        finer = Decimal(10) ** (stop - start).adjusted()
        finer = finer if finer < stop - start else finer / 10
        raise ConfigError(
            f"{key} has one value in {override.input_line!r}, whose step is 1; type a step, such "
            f"as range({start},{stop},{finer})."
        )
    return [repr(float(start + index * step)) for index in range(count)]
