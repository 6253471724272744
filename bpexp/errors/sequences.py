"""Numbers and sequences as people write them elsewhere, and what is typed for them here.

>>> decimal_points("tag(log,interval(0,001,0,1))"), decimal_points("0,1;0,5")
('tag(log,interval(0.001,0.1))', '0.1,0.5')
>>> evenly_spaced("0.1:1:0.1"), evenly_spaced("1,3,...,9"), evenly_spaced("[0..9]")
('range(0.1,1.1,0.1)', 'range(1,11,2)', 'range(0,10)')
>>> limits("from 0.1 to 1"), limits("0.1..1"), plain_numbers("10^-3 or 10**-2")
(('0.1', '1'), ('0.1', '1'), '1e-3,1e-2')
"""

import re
from collections.abc import Sequence
from decimal import Decimal

MAX_VALUES = 1_000_000
"""More values are no sequence that somebody means."""
_COUNTS = {"interval": (2,), "range": (3, 2), "linspace": (3,), "logspace": (3,)}
"""The numbers of arguments of functions."""
_WITH_COMMAS = re.compile(rf"\b({'|'.join(_COUNTS)})\(((?:\s*-?\d+\s*,)+\s*-?\d+\s*)\)")
_N = r"(-?\d{1,15}(?:\.\d{1,15})?(?:[eE]-?\d{1,2})?)"
_SPAN = re.compile(rf"(?:from\s+)?{_N}\s*(?:\.\.\.?|:|-|\s(?:to|until|bis)\s)\s*{_N}")
_SLICE = re.compile(rf"{_N}:{_N}:{_N}")
_DOTS = re.compile(rf"{_N},\s*(?:{_N},\s*)?\.\.\.?,\s*{_N}")
_POWER = re.compile(r"\b10\s*(?:\^|\*\*)\s*\(?(-?\d{1,2})\)?")
_BRACKETS = ("[]", "()", "{}", "<>")


def decimal_points(value: str) -> str | None:
    """A list or function with decimal points in place of decimal commas; None if it has none.

    A comma is a decimal one between values that semicolons separate, and in a function that would
    have too many arguments: after a 0, or after every second number.
    """
    if ";" in value and re.search(r"\d,\d", value):
        with_points = re.sub(r"(?<=\d),(?=\d)", ".", value)
        return re.sub(r"\s*;\s*", ",", _without_brackets(with_points.rstrip("; ")))
    found = _WITH_COMMAS.search(value)
    if found is None:
        return None
    parts = [text.strip() for text in found[2].split(",")]
    if found[1] != "interval" and not any(part.lstrip("-").startswith("0") for part in parts):
        # Nothing shows that a comma is a decimal one.
        return None
    numbers = _joined(parts, _COUNTS[found[1]])
    if numbers is None:
        return None
    return value.replace(found[0], f"{found[1]}({','.join(numbers)})")


def _joined(parts: Sequence[str], counts: Sequence[int]) -> list[str] | None:
    """Whole numbers, pairs of which are joined by decimal points to one of some counts."""
    if len(parts) in counts:
        return None
    after_zero: list[str] = []
    for part in parts:
        if after_zero and after_zero[-1] in ("0", "-0") and part.isdecimal():
            after_zero[-1] += f".{part}"
        else:
            after_zero.append(part)
    pairs = [".".join(parts[place : place + 2]) for place in range(0, len(parts), 2)]
    return next((found for found in (after_zero, pairs) if len(found) in counts), None)


def evenly_spaced(value: str) -> str | None:
    """The ``range`` that a sequence with a step means, both ends included; None for another text.

    ``first:last:step`` is read as ``first:step:last``, too: the step is the smaller one.
    """
    value = _without_brackets(value)
    if sliced := _SLICE.fullmatch(value):
        first, *others = map(Decimal, sliced.groups())
        return _range(first, max(others), min(others))
    if dots := _DOTS.fullmatch(value):
        first, last = Decimal(dots[1]), Decimal(dots[3])
        step = Decimal(dots[2]) - first if dots[2] else Decimal(1)
        return _range(first, last, step) if dots[2] or _are_whole(first, last) else None
    ends = limits(value)
    if ends is None or not _are_whole(*map(Decimal, ends)):
        return None
    return _range(Decimal(ends[0]), Decimal(ends[1]), Decimal(1))


def limits(value: str) -> tuple[str, str] | None:
    """The limits of a text such as ``0.1..1`` or ``from 0.1 to 1``, the lower one first."""
    span = _SPAN.fullmatch(_without_brackets(value))
    return (span[1], span[2]) if span and float(span[1]) < float(span[2]) else None


def plain_numbers(value: str) -> str | None:
    """Numbers separated by commas, for powers of 10, other separators and quotes; else None."""
    text = without_powers(_without_brackets(value).replace("'", "").replace('"', ""))
    items = re.split(r"\s*(?:[,;|]|\s(?:or|and|oder|und)\s|\s)\s*", text)
    return ",".join(items) if all(re.fullmatch(_N, item) for item in items) else None


def without_powers(value: str) -> str:
    """A text with powers of 10 as numbers: ``1e-3`` for ``10^-3`` and ``10**-3``."""
    return _POWER.sub(r"1e\1", value)


def _range(first: Decimal, last: Decimal, step: Decimal) -> str | None:
    if step <= 0 or last <= first or (last - first) / step > MAX_VALUES:
        return None
    # The end of a range is excluded.
    end = last if (last - first) % step else last + step
    numbers = (first, end) if step == 1 and _are_whole(first, last) else (first, end, step)
    return f"range({','.join(f'{number.normalize():f}' for number in numbers)})"


def _are_whole(*numbers: Decimal) -> bool:
    return all(number == number.to_integral_value() for number in numbers)


def _without_brackets(value: str) -> str:
    value = value.strip()
    return value[1:-1].strip() if value[:1] + value[-1:] in _BRACKETS else value
