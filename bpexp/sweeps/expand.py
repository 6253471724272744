"""The product of a sweep's overrides."""

import itertools
import math
import random
from collections.abc import Sequence
from decimal import Decimal

from hydra.core.override_parser.types import Override, RangeSweep

from bpexp.checks import ConfigError


def expand(overrides: Sequence[Override]) -> list[list[str]]:
    """Every combination, the last override varying fastest; one list of overrides a job.

    A later override of the same key replaces an earlier one. Raises ConfigError for
    ``interval``, which names no finite set of values.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            value = override.get_value_element_as_str()
            choices[key] = [key if override.is_delete() else f"{key}={value}"]
        elif override.is_discrete_sweep():
            asked = override.value()
            if isinstance(asked, RangeSweep):
                values = _counted(key, asked)
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
    return [list(job) for job in itertools.product(*choices.values())]


def _counted(key: str, asked: RangeSweep) -> list[str]:
    """The values of a range, counted in decimals as they were typed.

    In binary range(.1,.5,.1) would hold 0.30000000000000004, and range(0,.9,.3) end with 0.9.
    """
    assert asked.start is not None
    assert asked.stop is not None
    typed = (asked.start, asked.stop, asked.step)
    if not all(math.isfinite(number) for number in typed) or not asked.step:
        raise ConfigError(
            f"{key} must be a range of finite numbers with a step other than 0, got {typed}."
        )
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
