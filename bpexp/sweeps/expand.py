"""The product of a sweep's overrides."""

import itertools
import math
from collections.abc import Sequence

from hydra.core.override_parser.types import Override, RangeSweep

from bpexp.checks import ConfigError

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
            _check_length(key, override)
            values = list(override.sweep_string_iterator())
            if isinstance(override.value(), RangeSweep):
                values = [_short(value) for value in values]
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


def _check_length(key: str, override: Override) -> None:
    """A range is counted before it is written out: it may have no end."""
    swept = override.value()
    if not isinstance(swept, RangeSweep):
        return
    start, stop, step = swept.start or 0, swept.stop or 0, swept.step
    if not all(abs(number) < 1e300 for number in (start, stop, step)) or step == 0:
        raise ConfigError(
            f"{key} must be a range of finite numbers with a step other than 0, got "
            f"{override.input_line!r}."
        )
    if (stop - start) / step > LARGEST:
        raise ConfigError(f"{key} must have at most {LARGEST} values, got {override.input_line!r}.")


def _short(value: str) -> str:
    """0.30000000000000004, which range(.1,.5,.1) counts up to, as the 0.3 that was meant."""
    try:
        return (
            value if "." not in value and "e" not in value else repr(float(f"{float(value):.12g}"))
        )
    except ValueError:
        return value
