"""Add what to type to error messages of the form "X must Y, got Z".

>>> with_suggestion("lr must be a finite number above 0, got '10%'.")
"lr must be a finite number above 0, got '10%'; type lr=0.1."
>>> with_suggestion("engine must be one of auto, numpy, compiled, got 'Numpy'.")
"engine must be one of auto, numpy, compiled, got 'Numpy'; type engine=numpy."
>>> with_suggestion("lr must be a finite number above 0, got 0.", ["lr=range(0,1)"])
... # doctest: +NORMALIZE_WHITESPACE
'lr must be a finite number above 0, got 0, a value of range(0,1); type other limits or a step, such
as lr=linspace(0.1,1,10), lr=range(0.1,1.1,0.1) or lr=logspace(-3,0,4).'
"""

import re
import shlex
from collections.abc import Callable, Sequence

from bpexp.config.schema import keys, setting_of
from bpexp.fields import checks

WORDS_FOR_NULL = ("none", "nil", "off", "no", "false")
"""What people type for null."""
TRUTH_VALUES = {
    "yes": "true",
    "on": "true",
    "1": "true",
    "no": "false",
    "off": "false",
    "0": "false",
}
"""What people type for true and false."""


_SPACE = r"[+~]*{}=((?:shuffle\(|sort\()?(?:range|linspace|logspace)\(.*)"
"""An argument that gives evenly spaced values to a key."""


def with_suggestion(message: str, arguments: Sequence[str] = ()) -> str:
    """Return the message, with the setting that was probably meant if that can be guessed.

    Args:
        message: The message of an error.
        arguments: The settings on the command line, if they may be the reason.
    """
    found = re.fullmatch(r"([\w.-]+) must be (.*), got (.*)\.", message)
    if not found:
        return message
    key, rule, value = found[1], found[2], found[3].strip("'")
    spaces = [space[1] for text in arguments if (space := re.fullmatch(_SPACE.format(key), text))]
    if spaces:
        return f"{message.removesuffix('.')}, a value of {spaces[-1]}; {_other_space(key, rule)}."
    typed = _suggestion(key, rule, value)
    return f"{message.removesuffix('.')}; type {typed}." if typed else message


def _suggestion(key: str, rule: str, value: str) -> str | None:
    declared = setting_of(key)
    is_optional = declared is not None and isinstance(declared.rule, checks.Optional)
    if is_optional and value.lower() in WORDS_FOR_NULL:
        return f"{key}=null"
    if rule == "true or false" and value.lower() in TRUTH_VALUES:
        return f"{key}={TRUTH_VALUES[value.lower()]}"
    if "number" in rule:
        return _number(key, value)
    if "width" in rule and re.fullmatch(r"\W*\d{1,9}(?:[ x-]\d{1,9})+\W*", value):
        return shlex.quote(f"{key}=[{','.join(re.findall('[0-9]+', value))}]")
    if rule.startswith("one of "):
        near = checks.nearest(value.lower(), rule.removeprefix("one of ").split(", "))
        return near and f"{key}={near}"
    if rule == "a group of settings":
        settings = [name for name in keys() if name.startswith(f"{key}.")]
        return f"one of {', '.join(settings)} instead" if settings else None
    return None


def _other_space(key: str, rule: str) -> str:
    """What to type instead of evenly spaced values of which one breaks the rule of a key."""
    if "finite number" not in rule:
        return f"type other limits or a step, such as {key}=range(1,9,2) or {key}=linspace(2,8,4)"
    return (
        f"type other limits or a step, such as {key}=linspace(0.1,1,10), "
        f"{key}=range(0.1,1.1,0.1) or {key}=logspace(-3,0,4)"
    )


def _number(key: str, value: str) -> str | None:
    for pattern, number in _NUMBERS:
        found = re.fullmatch(pattern, value)
        if found:
            return f"{key}={number(*found.groups())}"
    if re.fullmatch(r"\[[^\[\]]+\]", value):
        return f"-m {key}={value[1:-1].replace(' ', '')}"
    span = re.fullmatch(r"(\d{1,9})(?:\.\.|-|:)(\d{1,9})", value)
    if span:
        return f"-m '{key}=range({span[1]},{int(span[2]) + 1})'"
    return None


def _percent(number: str) -> str:
    return f"{float(number) / 100:.12g}"


def _thousands(number: str) -> str:
    return f"{float(number) * 1000:.12g}"


def _fraction(above: str, below: str) -> str:
    return f"{int(above) / int(below):.6g}"


def _unchanged(number: str) -> str:
    return number


_DECIMAL = r"(-?\d{1,9}(?:\.\d{1,9})?)"
_NUMBERS: tuple[tuple[str, Callable[..., str]], ...] = (
    (rf"{_DECIMAL}\s*%", _percent),
    (rf"{_DECIMAL}\s*[kK]", _thousands),
    (r"(\d{1,9})/([1-9]\d{0,8})", _fraction),
    (rf"{_DECIMAL}\s*[A-Za-z]+", _unchanged),
    (r"(\d{1,15})\.0", _unchanged),
)
"""Pattern of a text, and the function that makes the number that was probably meant."""
