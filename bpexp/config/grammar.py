"""Hydra's override grammar, with functions that bpexp adds (``logspace``) or corrects (``sort``).

>>> [override] = parse_overrides(["lr=logspace(-3,0,7)"])
>>> override.value().list
[0.001, 0.00316228, 0.01, 0.0316228, 0.1, 0.316228, 1]
>>> [override] = parse_overrides(["seed=sort(range(10,20,4),reverse=true)"])
>>> list(override.value().range())
[18, 14, 10]
"""

import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from bpexp.fields.checks import ConfigError

SPACES = ("linspace", "logspace")
"""Functions that Hydra's grammar does not have."""
MAX_VALUES = 1_000_000
"""Maximum number of values of ``linspace`` and ``logspace``."""
MAX_ROOT, MIN_POWER = 0.1, 16
"""A positive limit of ``logspace`` up to the first, or from the second on, is no exponent of 10."""
DIGITS = 6
"""Significant digits of the values of ``linspace`` and ``logspace``."""


def create_parser(loader: ConfigLoader | None = None) -> OverridesParser:
    """Hydra's parser with the functions ``linspace`` and ``logspace``."""
    parser = OverridesParser.create(loader)
    parser.functions.register("linspace", _linspace_sweep)
    parser.functions.register("logspace", _logspace_sweep)
    return parser


def parse_overrides(texts: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides.

    Raises:
        HydraException: What Hydra's parser raises.
        ConfigError: The arguments of ``linspace`` or ``logspace`` break a rule.
    """
    shared = create_parser(loader)
    parsed: list[Override] = []
    for text in texts:
        parser = _seeded_parser(text, loader) if "sort" in text or "shuffle" in text else shared
        try:
            parsed += parser.parse_overrides([text])
        except HydraException as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            raise
    return parsed


def linspace(start: float, stop: float, num: int) -> list[int | float]:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    They are computed in decimals and rounded to six significant digits, as a person writes them.

    Raises:
        ConfigError: ``num`` is not a whole number of at least 1, or a limit is not finite.

    >>> linspace(0, 1, 5), linspace(2, 8, 4)
    ([0, 0.25, 0.5, 0.75, 1], [2, 4, 6, 8])
    """
    return _rounded(_evenly_spaced("linspace", start, stop, num))


def logspace(start: float, stop: float, num: int, base: float = 10) -> list[int | float]:
    """``num`` numbers from ``base**start`` to ``base**stop`` with even spacing of the logarithms.

    They are computed in decimals and rounded to six significant digits, as a person writes them.

    Raises:
        ConfigError: ``num`` is not a whole number of at least 1, ``base`` is not above 0, or a
            number is not a normal double.

    >>> logspace(-3, 0, 4), logspace(0, 3, 4, base=2)
    ([0.001, 0.01, 0.1, 1], [1, 2, 4, 8])
    """
    exponents = _evenly_spaced("logspace", start, stop, num)
    if not math.isfinite(base) or base <= 0:
        raise ConfigError(f"logspace must have a base above 0, got {base!r}.")
    with localcontext() as context:
        context.prec = 40
        largest = max(map(abs, exponents)) * abs(_decimal(base).log10())
        if largest > 300:
            raise ConfigError(
                f"logspace must have numbers from 1e-300 to 1e+300, got {start!r} to {stop!r}; "
                "the limits are exponents: logspace(-3,0,4) is 0.001, 0.01, 0.1, 1."
            )
        return _rounded([_decimal(base) ** exponent for exponent in exponents])


def shuffled(values: Sequence[Any], seed: str) -> list[Any]:
    """The values in an order that depends only on their number and the seed."""
    order = list(values)
    random.Random(seed).shuffle(order)
    return order


def decimals(sweep: RangeSweep) -> tuple[Decimal, Decimal, Decimal]:
    """Start, stop and step of a range as they were typed."""
    assert sweep.start is not None
    assert sweep.stop is not None
    start, stop, step = (_decimal(number) for number in (sweep.start, sweep.stop, sweep.step))
    return start, stop, step


def _decimal(number: float) -> Decimal:
    """A number with 15 significant digits: what a double represents of a decimal."""
    return Decimal(number if isinstance(number, int) else f"{number:.15g}")


def _evenly_spaced(name: str, start: float, stop: float, num: int) -> list[Decimal]:
    if type(num) is not int or not 1 <= num <= MAX_VALUES:
        raise ConfigError(
            f"{name} must have a number of values in 1..{MAX_VALUES} as its third argument, such "
            f"as {name}({start},{stop},7), got {'none' if num is None else repr(num)}."
        )
    if not all(abs(limit) <= 1e300 for limit in (start, stop)):
        raise ConfigError(f"{name} must have finite limits, got {start!r} and {stop!r}.")
    first, last = _decimal(start), _decimal(stop)
    return [first + (last - first) * index / max(1, num - 1) for index in range(num)]


def _rounded(numbers: Sequence[Decimal]) -> list[int | float]:
    """Numbers with ``DIGITS`` significant digits; whole ones as integers, as people type them."""
    values = [float(f"{number:.{DIGITS}g}") for number in numbers]
    return [int(v) if v.is_integer() and abs(v) < 10**DIGITS else v for v in values]


# Hydra checks arguments against the annotations, and accepts no union of types in them.
def _linspace_sweep(start: Any, stop: Any, num: Any = None) -> ChoiceSweep:
    _check_numbers("linspace", start, stop)
    values: list[Any] = list(linspace(start, stop, num))
    return ChoiceSweep(list=values)


def _logspace_sweep(start: Any, stop: Any, num: Any = None, base: Any = None) -> ChoiceSweep:
    _check_numbers("logspace", start, stop, 10 if base is None else base)
    if base is None:
        _check_exponents(start, stop, num)
    values: list[Any] = list(logspace(start, stop, num, 10 if base is None else base))
    return ChoiceSweep(list=values)


def _check_exponents(start: float, stop: float, num: Any) -> None:
    """Refuse limits of ``logspace`` that are values rather than exponents of 10.

    ``logspace(0.001,1,7)`` would be numbers from 1.002 to 10, and ``logspace(16,256,5)`` numbers up
    to 1e+256. Who means such exponents gives ``base=10``.
    """
    low, high = min(start, stop), max(start, stop)
    if not 0 < low < high < math.inf or (low > MAX_ROOT and high < MIN_POWER):
        return
    first, last = (f"{math.log10(limit):.6g}" for limit in (start, stop))
    count = num if type(num) is int else 7
    raise ConfigError(
        f"logspace takes the exponents of its limits: for {start:g} to {stop:g} type "
        f"logspace({first},{last},{count}); if {start:g} and {stop:g} are exponents of 10, type "
        f"logspace({start:g},{stop:g},{count},base=10)."
    )


def _check_numbers(name: str, *values: Any) -> None:
    for value in values:
        if type(value) not in (int, float):
            raise ConfigError(f"{name} must have numbers as arguments, got {value!r}.")


def _seeded_parser(line: str, loader: ConfigLoader | None) -> OverridesParser:
    """A parser with corrected ``sort`` and ``shuffle``.

    Hydra 1.3 sorts range(10,20,4) in descending order as 16, 12, 8, and shuffles differently at
    each start.
    """
    parser = create_parser(loader)
    functions = parser.functions.functions
    functions["sort"] = _Sort(functions["sort"])
    functions["shuffle"] = _Shuffle(functions["shuffle"], line)
    return parser


class _Sort:
    """Hydra's function ``sort``, which sorts ranges and shuffled sweeps correctly."""

    def __init__(self, of_hydra: Callable[..., Any]) -> None:
        self._of_hydra = of_hydra

    def __call__(self, *values: Any, reverse: bool = False, **named: Any) -> Any:
        """The sorted list or sweep; ``values`` and ``named`` are those of Hydra's function."""
        swept = named.get("sweep") or (values[0] if len(values) == 1 else None)
        if isinstance(swept, RangeSweep):
            return _sorted_range(swept, reverse=reverse)
        result = self._of_hydra(*values, reverse=reverse, **named)
        if isinstance(result, ChoiceSweep):
            result.shuffle = False
        return result


class _Shuffle:
    """Hydra's function ``shuffle`` with a seed, for lists that are a single value."""

    def __init__(self, of_hydra: Callable[..., Any], seed: str) -> None:
        self._of_hydra, self._seed = of_hydra, seed

    def __call__(self, *values: Any, **named: Any) -> Any:
        """The shuffled list, or a sweep that is marked to be shuffled."""
        one = named.get("list") or (values[0] if len(values) == 1 else None)
        if not isinstance(one, list):
            return self._of_hydra(*values, **named)
        return shuffled(one, self._seed)


def _sorted_range(sweep: RangeSweep, *, reverse: bool) -> RangeSweep:
    """The range that has the same values in ascending or descending order."""
    numbers = (sweep.start, sweep.stop, sweep.step)
    # Values that are no numbers are refused where the range is listed.
    if not sweep.step or not all(math.isfinite(number or 0) for number in numbers):
        return sweep
    start, stop, step = decimals(sweep)
    count = math.ceil((stop - start) / step)
    if count > 0 and (step > 0) == reverse:
        start, stop, step = start + (count - 1) * step, start - step, -step
    convert = int if all(isinstance(number, int) for number in numbers) else float
    return RangeSweep(sweep.tags, convert(start), convert(stop), convert(step))
