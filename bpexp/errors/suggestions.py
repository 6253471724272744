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

from bpexp.config.hydra_errors import number_with_comma
from bpexp.config.schema import keys, options_with, rule_of, setting_of, unknown_key
from bpexp.errors import brackets, sequences
from bpexp.fields import checks
from bpexp.sweeps.grid import sub_sweeps

WORDS_FOR_NULL = ("none", "nil", "off", "no", "false", "all", "full")
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


HALVED = {
    "hyperband": "search=random search.brackets=3",
    "bohb": "search=tpe search.brackets=3",
    **dict.fromkeys(("successivehalving", "halving", "sha", "asha"), "search=random"),
}
"""Other names of searches that stop bad trials early, without what all of them have."""


_SPACE = r"[+~]*{}=((?:shuffle\(|sort\(|int\(|tag\(log,)*(?:range|linspace|logspace|interval)\(.*)"
"""An argument that gives evenly spaced values, or an interval, to a key."""


def with_suggestion(message: str, arguments: Sequence[str] = ()) -> str:
    """Return the message, with the setting that was probably meant if that can be guessed.

    Args:
        message: The message of an error.
        arguments: The settings on the command line, if they may be the reason.
    """
    message = with_decimal_point(message, arguments)
    if message.startswith("A search needs a setting to search") and (typed := _interval(arguments)):
        return f"{message.removesuffix('.')}; to search between two numbers type {typed}."
    # A message with a semicolon after the value says already what to type.
    match = re.fullmatch(r"""([\w.-]+) must be (.*), got ('[^']*'|"[^"]*"|[^;]*)\.""", message)
    if not match:
        return message
    key, rule, value = match[1], match[2], match[3].strip("'")
    if re.match(rf"[+~]*{re.escape(key)}=", value):
        # The whole argument breaks the rule, not a value of it.
        return message
    spaces = [space[1] for text in arguments if (space := re.fullmatch(_SPACE.format(key), text))]
    if spaces:
        other = _other_space(key, rule, spaces[-1])
        return f"{message.removesuffix('.')}, a value of {spaces[-1]}; {other}."
    is_number = "number" in rule
    typed = (
        (is_number and (_number_with_comma(key, arguments) or _sequence(key, arguments)))
        or (key == "seeds" and _seeds(arguments))
        or _suggestion(key, rule, value)
    )
    return f"{message.removesuffix('.')}; type {typed}." if typed else message


def with_decimal_point(message: str, arguments: Sequence[str]) -> str:
    """Return the message on a key or a list, with the number that was typed with a comma, if any.

    Args:
        message: The message of an error.
        arguments: The settings on the command line.

    >>> with_decimal_point("momentum is not a key of the configuration; did you mean "
    ...                    "optimizer.momentum?", ["momentum=0,9"])
    'momentum is not a key of the configuration; did you mean optimizer.momentum=0.9?'
    """
    unknown = re.fullmatch(r"([\w.]+) is not a key of .*; did you mean ([\w.]+)\?", message)
    if unknown and (typed := _number_with_comma(unknown[1], arguments, unknown[2])):
        return message.replace(f"{unknown[2]}?", f"{typed}?")
    equal = re.fullmatch(r"([\w.]+) must have different values, got (.*) twice\.", message)
    if equal and re.fullmatch(r"(?!hydra\b)[\w.]+", equal[1]) and equal[1] not in keys():
        # Its values do not matter.
        return with_decimal_point(str(unknown_key(equal[1])), arguments)
    typed = _number_with_comma(equal[1], arguments) if equal and equal[2] == "0" else None
    if message.startswith("zip must have the same number of values"):
        typed = next(filter(None, map(_zip_with_points, arguments)), None)
    return f"{message.removesuffix('.')}; with decimal points type {typed}." if typed else message


def _zip_with_points(argument: str) -> str | None:
    """A zip with decimal points in lists such as ``[0,1,0,5]``; None if that is no valid one.

    >>> _zip_with_points("zip(lr=[0,1,0,5],hidden=[2,4])")
    "'zip(lr=[0.1,0.5],hidden=[2,4])'"
    """
    if not sub_sweeps.is_zip(argument):
        return None
    typed = re.sub(r"(?<=\[)0,\d+(?:,0,\d+)*(?=\])", _with_points, argument)
    return shlex.quote(typed) if typed != argument and brackets.is_valid(typed) else None


def _with_points(numbers: re.Match[str]) -> str:
    return re.sub(r"0,(\d+)", r"0.\1", numbers[0])


def _sequence(key: str, arguments: Sequence[str]) -> str | None:
    """The sweep that was meant by a sequence or list in another notation, if that is known.

    >>> _sequence("lr", ["lr=0.1:1:0.1"]), _sequence("seed", ["seed=0..9"])
    ("-m 'lr=range(0.1,1.1,0.1)'", "-m 'seed=range(0,10)'")
    >>> _sequence("lr", ["lr=10^-3,10^-2"])
    '-m lr=1e-3,1e-2'
    """
    for text in arguments:
        typed, _, value = text.partition("=")
        if typed.lstrip("+") != key:
            continue
        if spaced := sequences.evenly_spaced(value):
            return f"-m {shlex.quote(f'{key}={spaced}')}"
        if ends := sequences.limits(value):
            low, high = ends
            several = shlex.quote(f"{key}=linspace({low},{high},10)")
            searched = shlex.quote(f"{key}=interval({low},{high})")
            return f"-m {several}, or to search between them {searched} search=tpe"
        numbers = sequences.plain_numbers(value)
        if numbers and numbers != value and _are_allowed(key, numbers):
            return f"{'-m ' * (',' in numbers)}{key}={numbers}"
    return None


def _are_allowed(key: str, numbers: str) -> bool:
    return all(_is_allowed(key, number) for number in numbers.split(","))


def _interval(arguments: Sequence[str]) -> str | None:
    """The interval that was meant by two limits in another notation, of the first such setting.

    >>> _interval(["search=tpe", "lr=0.1..1"]), _interval(["search=tpe", "lr=[0.1,1]"])
    ("'lr=interval(0.1,1)'", "'lr=interval(0.1,1)'")
    """
    for text in arguments:
        key, _, value = text.partition("=")
        rule = rule_of(key)
        listed = re.fullmatch(r"\[([^\[\],]+),([^\[\],]+)\]", value)
        ends = sequences.limits(f"{listed[1].strip()}..{listed[2].strip()}" if listed else value)
        if ends and isinstance(rule, checks.Real | checks.Integer) and key != "seed":
            interval = f"interval({ends[0]},{ends[1]})"
            whole = isinstance(rule, checks.Integer)
            return shlex.quote(f"{key}={f'int({interval})' if whole else interval}")
    return None


def _seeds(arguments: Sequence[str]) -> str | None:
    """``seed=`` with the seeds that were typed for ``seeds``.

    >>> _seeds(["seeds=range(10)"]), _seeds(["seeds=0,1,2"]), _seeds(["seeds=10"])
    ("'seed=range(10)'", 'seed=0,1,2', None)
    """
    for text in arguments:
        typed = re.fullmatch(r"seeds(?:\.name)?=(range\(.*\)|\d+(?:,\d+)+)", text)
        if typed:
            return shlex.quote(f"seed={typed[1]}")
    return None


def _number_with_comma(key: str, arguments: Sequence[str], meant: str = "") -> str | None:
    """The setting with decimal points, if it was typed with commas, which sweep over values.

    Args:
        key: The key that was typed.
        arguments: The settings on the command line.
        meant: The key that was meant, if it is another one.

    >>> _number_with_comma("weight_decay", ["weight_decay=0,01"], "optimizer.weight_decay")
    'optimizer.weight_decay=0.01'
    >>> _number_with_comma("lr", ["lr=0,1,0,05"])
    'lr=0.1,0.05'
    """
    meant = meant or key
    for text in arguments:
        typed, _, value = text.partition("=")
        value = re.sub(r"^choice\((.*)\)$", r"\1", value)
        several = re.fullmatch(r"0,\d+(?:,0,\d+)+", value)
        parts = re.findall(r"0,\d+", value) if several else [value]
        numbers = [number_with_comma(meant, part) for part in parts] if typed == key else [None]
        if all(number is not None and _is_allowed(meant, number) for number in numbers):
            return f"{meant}={','.join(map(str, numbers))}"
    return None


def with_sub_sweeps(message: str, arguments: Sequence[str]) -> str:
    """Return the message, with sub-sweeps if a setting is not one of each option that is swept.

    Args:
        message: The message of an error.
        arguments: The settings on the command line.
    """
    match = re.fullmatch(r"(([\w.]+) is a setting of (\w+)=.*); add \3=\w+\.", message)
    union = _sub_sweeps(match[2], match[3], arguments) if match else None
    if match and _is_search(arguments):
        return f"{match[1]}; a search takes no sub-sweeps: search each {match[3]} on its own."
    if match is None or union is None:
        return message
    return f"{match[1]}; give each {match[3]} its own settings: {union}."


def _sub_sweeps(key: str, group: str, arguments: Sequence[str]) -> str | None:
    """The sub-sweeps, one for each option of a group, that set a key only where an option has it.

    Args:
        key: A key of only some options.
        group: Its group, of which the arguments list several options.
        arguments: The settings on the command line.

    >>> _sub_sweeps("optimizer.momentum", "optimizer",
    ...             ["optimizer=adam,momentum", "lr=1", "optimizer.momentum=0.5,0.9"])
    "'optimizer=adam | optimizer=momentum optimizer.momentum=0.5,0.9'"
    """
    listed = [text.partition("=")[2] for text in arguments if text.startswith(f"{group}=")]
    swept = re.fullmatch(r"(?:choice\()?(\w+(?:,\w+)+)\)?", listed[-1]) if listed else None
    parts = [f"{group}={option}" for option in swept[1].split(",")] if swept else []
    unions = [text for text in arguments if sub_sweeps.has_union([text])]
    if unions and not parts:
        parts = sub_sweeps.parts(unions[-1])
    matches = [re.search(rf"(?:^|\s){group}=(\w+)", part) for part in parts]
    options = [name[1] if name else "" for name in matches]
    known = {text: options_with(text.partition("=")[0]) for text in arguments}
    complete = [
        " ".join([part, *(text for text, names in known.items() if option in names)])
        for option, part in zip(options, parts, strict=True)
    ]
    is_typed = any(text.startswith(f"{key}=") for text in arguments)
    return shlex.quote(" | ".join(complete)) if is_typed and complete != parts else None


def _is_search(arguments: Sequence[str]) -> bool:
    return any(re.match(r"search(?:\.name)?=", text) for text in arguments)


def _suggestion(key: str, rule: str, value: str) -> str | None:
    declared = setting_of(key)
    is_optional = declared is not None and isinstance(declared.rule, checks.Optional)
    if is_optional and value.lower() in WORDS_FOR_NULL:
        return f"{key}=null"
    if rule == "true or false":
        meant = TRUTH_VALUES.get(value.lower()) or checks.nearest(value.lower(), ("true", "false"))
        return meant and f"{key}={meant}"
    if key == "n_jobs" and value.lower() in ("all", "auto", "max"):
        return f"{key}=-1"
    if key == "seed" and value == "auto":
        return "seeds=auto"
    if "number" in rule:
        return _number(key, value)
    if "width" in rule and re.fullmatch(r"[1-9]\d{0,5}\.0", value):
        return f"{key}={value.removesuffix('.0')}"
    if "width" in rule and re.fullmatch(r"\W*\d{1,9}(?:[ x,-]\s*\d{1,9})+\W*", value):
        return shlex.quote(f"{key}=[{','.join(re.findall('[0-9]+', value))}]")
    if "width" in rule and re.fullmatch(r"\[\[[\d, ]*\](?:, *\[[\d, ]*\])*\]", value):
        networks = value[1:-1].replace(" ", "")
        return f"-m '{key}={networks}'"
    if key == "seeds" and re.fullmatch(r"[1-9]\d{0,8}", value):
        return f"'seed=range(0,{value})'"
    if key == "search" and (method := HALVED.get(re.sub(r"[\W_]", "", value.lower()))):
        return f"{method} search.halving=3 search.min_epochs=200"
    if key == "search" and value.lower() == "grid":
        return "lists such as lr=0.1,1 without search"
    if rule.startswith("one of "):
        near = checks.nearest(value.lower(), rule.removeprefix("one of ").split(", "))
        return near and f"{key}={near}"
    if rule == "a group of settings":
        settings = [name for name in keys() if name.startswith(f"{key}.")]
        return f"one of {', '.join(settings)} instead" if settings else None
    return None


def _other_space(key: str, rule: str, space: str) -> str:
    """What to type instead of values, of which one breaks the rule of a key."""
    if "interval(" in space:
        return "type an interval whose limits are allowed, too"
    if "finite number" not in rule:
        return f"type other limits or a step, such as {key}=range(1,9,2) or {key}=linspace(2,8,4)"
    return (
        f"type other limits or a step, such as {key}=linspace(0.1,1,10), "
        f"{key}=range(0.1,1.1,0.1) or {key}=logspace(-3,0,4)"
    )


def _number(key: str, value: str) -> str | None:
    duration = re.fullmatch(rf"{_DECIMAL}\s*([A-Za-z]+)", value)
    if duration and key.endswith("seconds") and duration[2].lower() in _SECONDS:
        return f"{key}={float(duration[1]) * _SECONDS[duration[2].lower()]:.12g}"
    settings = re.split(r"\s*[&;]\s*(?=[\w.]+=)", f"{key}={value}")
    if len(settings) > 1 and all(text.partition("=")[0] in keys() for text in settings):
        return f"-m {shlex.join(settings)}"
    sides = [side for side in re.split(r"\s*[|,]\s*", value) if side]
    if re.search("[|,]", value) and all(re.fullmatch(_DECIMAL, side) for side in sides):
        return f"-m {key}={','.join(sides)}"
    for pattern, number in _NUMBERS:
        match = re.fullmatch(pattern, value)
        if match and _is_allowed(key, number(*match.groups())):
            return f"{key}={number(*match.groups())}"
    if re.fullmatch(r"\[[^\[\]]+\]", value):
        return f"-m {key}={value[1:-1].replace(' ', '')}"
    span = re.fullmatch(r"(\d{1,9})(?:\.\.|-|:)(\d{1,9})", value)
    if span:
        return f"-m '{key}=range({span[1]},{int(span[2]) + 1})'"
    return None


def _is_allowed(key: str, number: str) -> bool:
    rule = rule_of(key)
    if rule is None:
        return False
    try:
        rule(key, float(number) if re.search("[.eE]", number) else int(number))
    except checks.ConfigError:
        return False
    return True


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
    (rf"{_DECIMAL}", _unchanged),
)
"""Pattern of a text, and the function that makes the number that was probably meant."""
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
"""Units of time in seconds."""
