"""The grid sampler: every combination of the values that the overrides list.

>>> GridSampler([["lr=0.1", "seed=1"], ["lr=0.1", "seed=2"]]).ask()
[['lr=0.1', 'seed=1'], ['lr=0.1', 'seed=2']]
"""

import itertools
import math
import random
from collections.abc import Sequence
from decimal import Decimal

from hydra.core.override_parser.types import Override, RangeSweep

from bpexp.fields.checks import ConfigError
from bpexp.sweeps.samplers.base import Proposal

MAX_RUNS = 1_000_000
"""The largest number of runs of a sweep."""


class GridSampler:
    """Proposes a fixed list of jobs as one generation. See ``Sampler``."""

    def __init__(self, jobs: Sequence[Proposal]) -> None:
        """Propose ``jobs``."""
        self._jobs = jobs

    def ask(self) -> Sequence[Proposal]:
        """All jobs at the first call, none after it."""
        jobs, self._jobs = self._jobs, []
        return jobs

    def tell(self, objectives: Sequence[float | None]) -> None:
        """Ignore the results: a grid does not depend on them."""


def expand(overrides: Sequence[Override]) -> list[list[str]]:
    """List every combination of the values of the overrides, the last one varying fastest.

    A later override of the same key replaces an earlier one.

    Returns:
        The overrides of each job.

    Raises:
        ConfigError: An override names no finite set of values, as ``interval`` does; a list of
            values is empty; or there are more than ``MAX_RUNS`` combinations.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            value = override.get_value_element_as_str()
            choices[key] = [key if override.is_delete() else f"{key}={value}"]
        else:
            choices[key] = [f"{key}={value}" for value in _values(key, override)]
    runs = math.prod(len(values) for values in choices.values())
    if runs > MAX_RUNS:
        raise ConfigError(f"A sweep has at most {MAX_RUNS} runs, got {runs} combinations.")
    return [list(job) for job in itertools.product(*choices.values())]


def _values(key: str, override: Override) -> list[str]:
    """The values of one sweep override, as text."""
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{key} must be a list, range(...) or choice(...), got {override.input_line!r}."
        )
    if isinstance(override.value(), RangeSweep):
        values = _range_values(key, override)
    else:
        values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{key} must have at least one value, got {override.input_line!r}.")
    return values


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
        values = [str(number) for number in typed_range.range()]
    else:
        # 15 significant digits: what a double represents of every decimal.
        start, stop, step = (Decimal(f"{number:.15g}") for number in numbers)
        count = max(0, math.ceil((stop - start) / step))
        values = [repr(float(start + index * step)) for index in range(count)]
    if typed_range.shuffle:
        random.shuffle(values)
    return values
