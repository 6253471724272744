"""The space of a search: what the sweep arguments say about each searched setting.

>>> from bpexp.config.compose import composer
>>> arguments = ["lr=tag(log,interval(1e-3,1))", "hidden=int(interval(2,64))", "seed=range(0,2)"]
>>> space = parse(arguments, composer().parse)
>>> {dimension.key: dimension.values for dimension in space.dimensions}
{'lr': '0.001 to 1, log', 'hidden': '2 to 64'}
>>> space.jobs([0.0123456, 7])
[['lr=0.01235', 'hidden=7', 'seed=0'], ['lr=0.01235', 'hidden=7', 'seed=1']]
>>> space.point([1.0, 64])
('lr=1', 'hidden=64')
"""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from bpexp.config.options import key_of
from bpexp.config.schema import rule_of
from bpexp.fields.checks import ConfigError, Integer, Widths
from bpexp.sweeps.grid import setting_values, sub_sweeps
from bpexp.sweeps.job import format_setting

DIGITS = 4
"""Significant digits of suggested numbers."""
MAX_LISTED = 5
"""Maximum number of alternatives that a description lists."""


@dataclass(frozen=True)
class Reals:
    """All numbers of an interval, both limits included.

    Attributes:
        key: The setting.
        low: The lower limit.
        high: The upper limit.
        is_log: Whether the logarithm is searched.
    """

    key: str
    low: float
    high: float
    is_log: bool

    def overrides(self, value: Any) -> list[str]:
        """The override for a suggested value, rounded to four digits within the limits."""
        return [f"{self.key}={format_setting(rounded(float(value), self.low, self.high))}"]

    @property
    def values(self) -> str:
        """What is searched, as text."""
        return f"{self.low:g} to {self.high:g}{', log' * self.is_log}"


@dataclass(frozen=True)
class Integers:
    """All whole numbers of an interval, both limits included; see ``Reals``."""

    key: str
    low: int
    high: int
    is_log: bool

    def overrides(self, value: Any) -> list[str]:
        """The override for a suggested value, rounded to four digits within the limits."""
        return [f"{self.key}={int(rounded(int(value), self.low, self.high))}"]

    @property
    def values(self) -> str:
        """What is searched, as text."""
        return f"{self.low} to {self.high}{', log' * self.is_log}"


@dataclass(frozen=True)
class Steps:
    """The values of ``range(first,end,step)``, in order; a suggested value is a position.

    Attributes:
        key: The setting.
        alternatives: The override of each value.
    """

    key: str
    alternatives: tuple[str, ...]

    def overrides(self, value: Any) -> list[str]:
        """The override at a position."""
        return [self.alternatives[int(value)]]

    @property
    def values(self) -> str:
        """What is searched, as text: the ends and the number of values."""
        first, last = (self.alternatives[end].partition("=")[2] for end in (0, -1))
        return f"{first} to {last} in {len(self.alternatives)} steps"


@dataclass(frozen=True)
class Choices:
    """Alternatives without an order; a suggested value is a position.

    Attributes:
        key: The setting, or the settings of a zip.
        alternatives: The overrides of each alternative.
    """

    key: str
    alternatives: tuple[tuple[str, ...], ...]

    def overrides(self, value: Any) -> list[str]:
        """The overrides at a position."""
        return list(self.alternatives[int(value)])

    @property
    def values(self) -> str:
        """What is searched, as text: the alternatives or their number."""
        if len(self.alternatives) > MAX_LISTED:
            return f"{len(self.alternatives)} alternatives"
        return ", ".join(" ".join(t.partition("=")[2] for t in one) for one in self.alternatives)


Dimension = Reals | Integers | Steps | Choices


@dataclass(frozen=True)
class Space:
    """What a search varies, and what it does not.

    Attributes:
        dimensions: The searched settings.
        fixed: Overrides that all jobs share.
        replicates: The overrides of each replicate of a trial.
    """

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]
    replicates: tuple[tuple[str, ...], ...]

    def jobs(self, values: Sequence[Any]) -> list[list[str]]:
        """The overrides of the jobs of a trial, one for each replicate.

        Args:
            values: The suggested value of each dimension.
        """
        own = self.point(values)
        return [[*self.fixed, *own, *replicate] for replicate in self.replicates]

    def alternatives(self, groups: Sequence[str] | None = None) -> list[list[str]]:
        """The first jobs of trials that have each alternative of the settings of some groups once.

        Every other setting has its first value; of an interval or a range, both ends are taken.

        Args:
            groups: First parts of dotted keys, such as ``data``; None for all settings.
        """
        first = [_ends_or_positions(dimension)[0] for dimension in self.dimensions]
        points = [first]
        for place, dimension in enumerate(self.dimensions):
            keys = [text.partition("=")[0] for text in dimension.overrides(first[place])]
            if groups is None or any(key.partition(".")[0] in groups for key in keys):
                others = _ends_or_positions(dimension)[1:]
                points += [[*first[:place], value, *first[place + 1 :]] for value in others]
        return [self.jobs(values)[0] for values in points]

    def point(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The overrides of a trial, with rounded values."""
        pairs = zip(self.dimensions, values, strict=True)
        return tuple(text for dimension, value in pairs for text in dimension.overrides(value))


def _ends_or_positions(dimension: Dimension) -> Sequence[float]:
    """The limits of an interval, or the positions of the alternatives; of a range, of its ends."""
    if isinstance(dimension, Reals | Integers):
        return dimension.low, dimension.high
    if isinstance(dimension, Steps):
        return 0, len(dimension.alternatives) - 1
    return range(len(dimension.alternatives))


def parse(
    arguments: Sequence[str],
    parser: Callable[[Sequence[str]], list[Override]],
    is_replicate: Callable[[str], bool] = lambda key: key == "seed",
) -> Space:
    """Read the space of a search from sweep arguments.

    Args:
        arguments: Overrides and zips, without those of the search itself. A later override
            replaces an earlier one with the same key.
        parser: Parses overrides.
        is_replicate: Whether a key only numbers replicates, which are not searched.

    Raises:
        ConfigError: No setting is searched, an interval is empty, a key is set in a zip and
            outside of it, or the arguments have sub-sweeps.
        HydraException: What the parser raises.
    """
    if sub_sweeps.has_union(arguments):
        raise ConfigError(
            "A search takes no sub-sweeps separated by |; search each of them on its own."
        )
    parts: dict[tuple[str, ...], _Part] = {}
    for argument in arguments:
        keys, part = _part(argument, parser, is_replicate)
        sub_sweeps.check_set_once(keys, parts, argument)
        # A later one takes its own place, not that of the earlier one.
        parts.pop(keys, None)
        parts[keys] = part
    dimensions = tuple(part for part in parts.values() if isinstance(part, Dimension))
    if not dimensions:
        raise ConfigError(
            "A search needs a setting to search, such as 'lr=tag(log,interval(1e-3,1))'."
        )
    fixed = [part.overrides for part in parts.values() if isinstance(part, _Fixed)]
    replicates = [part.alternatives for part in parts.values() if isinstance(part, _Replicates)]
    return Space(
        dimensions,
        tuple(itertools.chain.from_iterable(fixed)),
        tuple(tuple(itertools.chain.from_iterable(one)) for one in itertools.product(*replicates)),
    )


class _Fixed(NamedTuple):
    """The overrides of an argument that all jobs share."""

    overrides: Sequence[str]


class _Replicates(NamedTuple):
    """The overrides of an argument for each replicate."""

    alternatives: Sequence[tuple[str, ...]]


_Part = Dimension | _Fixed | _Replicates


def _part(
    argument: str,
    parser: Callable[[Sequence[str]], list[Override]],
    is_replicate: Callable[[str], bool],
) -> tuple[tuple[str, ...], _Part]:
    """What an argument is in a space, after the keys that it sets."""
    if sub_sweeps.is_zip(argument):
        ((keys, axis),) = sub_sweeps.axes([argument], parser).items()
        if all(map(is_replicate, keys)):
            return keys, _Replicates(axis)
        return keys, Choices(" and ".join(keys), tuple(axis))
    (override,) = parser([argument])
    key = override.get_key_element()
    keys = (key_of(key),)
    if not override.is_sweep_override():
        return keys, _Fixed(setting_values.expanded(override))
    if not is_replicate(*keys):
        return keys, _dimension(key, override)
    if isinstance(override.value(), IntervalSweep):
        raise ConfigError(
            f"{key} must be a list or range(...), because seeds are repeated and not searched, got "
            f"{override.input_line!r}; type '{key}=range(0,10)'."
        )
    return keys, _Replicates([(text,) for text in setting_values.expanded(override)])


def rounded(value: float, low: float, high: float) -> float:
    """A number with four significant digits within the limits.

    >>> rounded(0.123456, 0, 1), rounded(0.33334, 0.33333, 1), rounded(12345, 0, 12345)
    (0.1235, 0.3334, 12340.0)

    Raises:
        ConfigError: The limits are too close for four digits.
    """
    decimal = Decimal(repr(value))
    for mode in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING):
        number = float(Context(DIGITS, mode).create_decimal(decimal))
        if low <= number <= high:
            return number
    raise ConfigError(f"There is no number of {DIGITS} digits from {low!r} to {high!r}.")


def _dimension(key: str, override: Override) -> Dimension:
    sweep: Any = override.value()
    is_log = "log" in getattr(sweep, "tags", ())
    unknown = set(getattr(sweep, "tags", ())) - {"log"}
    # Hydra forgets the tags inside of another one.
    if unknown or str(override.input_line).count("tag(") > 1:
        raise ConfigError(f"{key} must have no tag other than log, got {override.input_line!r}.")
    if isinstance(sweep, IntervalSweep):
        return _interval(key, override, sweep, is_log=is_log)
    alternatives = setting_values.expanded(override)
    if not isinstance(sweep, RangeSweep):
        if is_log:
            raise ConfigError(f"{key} must be an interval for log, got {override.input_line!r}.")
        return Choices(key, tuple((text,) for text in alternatives))
    numbers = [text.partition("=")[2] for text in alternatives]
    if not is_log:
        return Steps(key, tuple(alternatives))
    if sweep.step != 1 or not all(number.isdecimal() for number in numbers) or numbers[0] == "0":
        raise ConfigError(
            f"{key} must be a range of whole numbers above 0 with step 1 for log, "
            f"got {override.input_line!r}."
        )
    return Integers(key, int(numbers[0]), int(numbers[-1]), is_log=True)


def _takes_integers(key: str) -> bool:
    return isinstance(rule_of(key), Integer | Widths)


def _check_whole_limits(key: str, typed: str) -> None:
    """Refuse limits of ``int(interval(low,high))`` that Hydra has cut, so that 2.5 became 2."""
    inside = re.search(r"interval\(([^()]*)\)", typed)
    # A limit may have its name: interval(start=2,end=8).
    limits = [text.rpartition("=")[2] for text in inside[1].split(",")] if inside else []
    numbers = sorted(float(limit) for limit in limits)
    if inside is None or all(number.is_integer() for number in numbers):
        return
    first, last = math.ceil(numbers[0]), math.floor(numbers[-1])
    whole = typed.replace(inside[0], f"interval({first},{last})")
    hint = f"; type {whole}" if first < last else ""
    raise ConfigError(f"{key} must have whole numbers as limits, got {typed}{hint}.")


def _interval(key: str, override: Override, sweep: IntervalSweep, *, is_log: bool) -> Dimension:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    typed = repr(override.input_line)
    # int(interval(...)) has integers as limits, and interval(...) floats.
    is_integer = isinstance(low, int) and isinstance(high, int)
    if is_integer:
        _check_whole_limits(key, typed)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        exchanged = re.sub(r"interval\(\s*([^(),]+),\s*([^(),]+)\)", r"interval(\2,\1)", typed)
        hint = f"; type {exchanged}" if high < low else ""
        hint = f"; type {key}={low:g}" if high == low else hint
        raise ConfigError(
            f"{key} must be interval(low,high) with low below high, got {typed}{hint}."
        )
    if is_log and low <= 0:
        above = 1 if is_integer else high / 1000
        higher = re.sub(r"interval\([^,]*,", f"interval({above:g},", typed)
        hint = f"; type {higher}" if above < high else ""
        raise ConfigError(
            f"{key} must be an interval of numbers above 0 for log, got {typed}{hint}."
        )
    if is_integer:
        return Integers(key, int(low), int(high), is_log)
    if _takes_integers(key):
        whole = re.sub(r"interval\([^()]*\)", r"int(\g<0>)", typed)
        raise ConfigError(f"{key} must be whole numbers, got {typed}; type {whole}.")
    rounded((low + high) / 2, low, high)
    return Reals(key, float(low), float(high), is_log)
