"""The product of a sweep's overrides."""

import itertools
import math
import random
from collections.abc import Sequence
from decimal import Decimal

from hydra.core.override_parser.types import Override, RangeSweep

from bpexp.fields.checks import ConfigError

LARGEST = 1_000_000
"""Runs of a sweep."""


def expand(overrides: Sequence[Override]) -> list[list[str]]:
    """Every combination, the last override varying fastest; one list of overrides a job.

    A later override of the same key replaces an earlier one. Raises ConfigError for
    ``interval``, which names no finite set of values, and for more than ``LARGEST`` runs.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            value = override.get_value_element_as_str()
            choices[key] = [key if override.is_delete() else f"{key}={value}"]
        elif override.is_discrete_sweep():
            if isinstance(override.value(), RangeSweep):
                values = _counted(key, override)
            else:
                values = list(override.sweep_string_iterator())
            if not values:
                raise ConfigError(
                    f"{key} must have at least one value, got {override.input_line!r}."
                )
            choices[key] = [f"{key}={value}" for value in values]
        else:
            raise ConfigError(
                f"{key} must be a list, range(...) or choice(...), got {override.input_line!r}."
            )
    runs = math.prod(len(values) for values in choices.values())
    if runs > LARGEST:
        raise ConfigError(f"a sweep must have at most {LARGEST} runs, got {runs}.")
    return [list(job) for job in itertools.product(*choices.values())]


def _counted(key: str, override: Override) -> list[str]:
    """The values of a range, counted in decimals as they were typed.

    In binary range(.1,.5,.1) would hold 0.30000000000000004, and range(0,.9,.3) end with 0.9.
    """
    asked = override.value()
    assert isinstance(asked, RangeSweep)
    assert asked.start is not None
    assert asked.stop is not None
    typed = (asked.start, asked.stop, asked.step)
    if not all(abs(number) < 1e300 for number in typed) or not asked.step:
        raise ConfigError(
            f"{key} must be a range of finite numbers with a step other than 0, got "
            f"{override.input_line!r}."
        )
    # Counted before it is written out: it may have no end to speak of.
    if (asked.stop - asked.start) / asked.step > LARGEST:
        raise ConfigError(f"{key} must have at most {LARGEST} values, got {override.input_line!r}.")
    if all(isinstance(number, int) for number in typed):
        values = [str(number) for number in asked.range()]
    else:
        # 15 digits: all that a double holds of any decimal, without what arithmetic left behind.
        start, stop, step = (Decimal(f"{number:.15g}") for number in typed)
        count = max(0, math.ceil((stop - start) / step))
        values = [repr(float(start + place * step)) for place in range(count)]
    if asked.shuffle:
        random.shuffle(values)
    return values
