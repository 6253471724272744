"""Sweep arguments beyond Hydra's grammar: zipped settings, and sub-sweeps separated by ``|``.

>>> from bpexp.config.compose import composer
>>> jobs(["zip(lr=[0.1,0.01],hidden=[2,8])", "seed=range(0,2)"], composer().parse)
... # doctest: +NORMALIZE_WHITESPACE
[['lr=0.1', 'hidden=2', 'seed=0'], ['lr=0.1', 'hidden=2', 'seed=1'],
 ['lr=0.01', 'hidden=8', 'seed=0'], ['lr=0.01', 'hidden=8', 'seed=1']]
>>> jobs(["seed=1", "optimizer=adam lr=0.01 | optimizer=momentum lr=0.1,1"], composer().parse)
... # doctest: +NORMALIZE_WHITESPACE
[['seed=1', 'optimizer=adam', 'lr=0.01'],
 ['seed=1', 'optimizer=momentum', 'lr=0.1'], ['seed=1', 'optimizer=momentum', 'lr=1']]
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from bpexp.config.options import key_of
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid import setting_values

Parse = Callable[[Sequence[str]], list[Override]]
"""Parses overrides, as ``Composer.parse`` does."""
Axis = list[tuple[str, ...]]
"""The alternatives of an axis of a sweep; the overrides of each."""

ZIP_RULE = "zip must be written zip(key=[...],key=[...])"
RULE = (
    "Sub-sweeps are written in one argument as settings | settings, and what is common to all of "
    "them outside of it: 'seed=range(0,10)' 'optimizer=adam lr=0.01,0.1 | optimizer=momentum "
    "lr=0.1,1'"
)
_ZIP = re.compile(r"(?:[A-Za-z_]\w*=)?zip\((.*)\)", re.DOTALL)
_SEPARATOR = re.compile(r"\|\s*(?=[+~]*[\w.@/]+=|zip\()")
BRACKETS = {"(": ")", "[": "]", "{": "}"}


def is_beyond_hydra(argument: str) -> bool:
    """Whether an argument is a zip or a union, which Hydra's grammar does not have.

    >>> [is_beyond_hydra(text) for text in ("lr=1,2", "data.target=a|b", "lr=1 | lr=2")]
    [False, False, True]
    """
    return is_zip(argument) or is_union(argument)


def is_zip(argument: str) -> bool:
    """Whether an argument has settings that change together."""
    return _ZIP.fullmatch(argument.strip()) is not None


def jobs(arguments: Sequence[str], parse: Parse) -> list[list[str]]:
    """List every combination of the values of the arguments, the last one varying fastest.

    Args:
        arguments: Overrides, of which a later one replaces an earlier one with the same key;
            ``zip(key=values,key=values)``, whose settings take their first values together, then
            their second values and so on; and ``overrides | overrides``, two or more sub-sweeps
            that are combined with all other arguments. A setting in a sub-sweep replaces the one
            outside.
        parse: Parses overrides.

    Returns:
        The overrides of each job. Sub-sweeps may have jobs in common, which are listed each time.

    Raises:
        ConfigError: An argument breaks a rule of ``setting_values.expanded``, zipped settings have
            different numbers of values, a key is set twice, or there are more jobs than
            ``setting_values.MAX_RUNS``.
        HydraException: What the parser raises.
    """
    check_separators(arguments)
    found: list[list[str]] = []
    for plain in _without_unions(list(arguments), parse):
        alternatives = list(axes(plain, parse).values())
        count = math.prod(len(axis) for axis in alternatives)
        setting_values.check_count(len(found) + count)
        for job in itertools.product(*alternatives):
            found.append([text for overrides in job for text in overrides])
    return found


def check_separators(arguments: Sequence[str]) -> None:
    """Raise ConfigError if a ``|`` does not stand between settings."""
    for argument in arguments:
        if argument.strip() == "|":
            raise ConfigError(f"{RULE}.")
        if is_union(argument) and any("|" in words(part) for part in parts(argument)):
            raise ConfigError(f"A sub-sweep must have settings, got {argument!r}.")


def has_union(arguments: Sequence[str]) -> bool:
    """Whether an argument has sub-sweeps, which may have jobs in common."""
    return any(map(is_union, arguments))


def is_union(argument: str) -> bool:
    """Whether an argument has several sub-sweeps."""
    return "|" in argument and len(parts(argument)) > 1


def _without_unions(arguments: list[str], parse: Parse) -> Iterator[list[str]]:
    """Yield the arguments once for each sub-sweep."""
    for position, argument in enumerate(arguments):
        if not is_union(argument):
            continue
        for text in parts(argument):
            inner = words(text)
            if not inner:
                raise ConfigError(f"A sub-sweep must have settings, got {argument!r}.")
            keys = {key for names in axes(inner, parse) for key in names}
            before = _without_keys(arguments[:position], keys, parse)
            after = _without_keys(arguments[position + 1 :], keys, parse)
            yield from _without_unions([*before, *inner, *after], parse)
        return
    yield arguments


def _without_keys(arguments: Sequence[str], keys: set[str], parse: Parse) -> list[str]:
    """The arguments that set none of the keys; those of other kinds stay."""
    return [
        text
        for text in arguments
        if is_beyond_hydra(text) or key_of(parse([text])[0].get_key_element()) not in keys
    ]


def replacements(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each argument that a later one with the same key replaces, and the later one.

    >>> list(replacements(["lr=1,2", "seed=3", "lr=3"]))
    [('lr=1,2', 'lr=3')]
    """
    last: dict[str, str] = {}
    for argument in arguments:
        if is_beyond_hydra(argument):
            continue
        key = key_of(argument)
        if last.get(key, argument) != argument:
            yield last[key], argument
        last[key] = argument


def replaced(arguments: Sequence[str], others: Sequence[str], parse: Parse) -> list[str]:
    """The arguments, whose zips and sub-sweeps let others that follow replace their settings.

    Args:
        arguments: Arguments of a sweep.
        others: Arguments without sub-sweeps, which take precedence, also over a part of a zip.
        parse: Parses overrides.

    Returns:
        The arguments, with zips without the settings of others, which follow in each sub-sweep.

    >>> from bpexp.config.compose import composer
    >>> arguments = ["lr=1", "zip(lr=[1,2,3],hidden=[2,4,4])", "lr=2 | epochs=3"]
    >>> replaced(arguments, ["lr=0.5"], composer().parse)
    ['lr=1', 'hidden=2,4', 'lr=2 lr=0.5 | epochs=3 lr=0.5']
    """
    keys = {key for names in axes(others, parse) for key in names}
    kept = []
    for argument in arguments:
        if is_union(argument):
            inner = (replaced(words(part), others, parse) for part in parts(argument))
            kept.append(" | ".join(" ".join([*one, *others]) for one in inner))
        elif zipped := _ZIP.fullmatch(argument.strip()):
            kept += _zip_without(keys, zipped[1], argument, parse)
        else:
            # The other one takes its place.
            kept.append(argument)
    return kept


def _zip_without(keys: set[str], inside: str, argument: str, parse: Parse) -> list[str]:
    """``zip(inside)`` without some keys, as an argument; none if nothing is left."""
    names, axis = _zip_axis(inside, argument, parse)
    if not keys & set(names):
        return [argument]
    places = [place for place, name in enumerate(names) if name not in keys]
    # Without the others, the values of one setting may repeat.
    rows = list(dict.fromkeys(tuple(row[place] for place in places) for row in axis))
    columns = [
        (names[place], [row[column].partition("=")[2] for row in rows])
        for column, place in enumerate(places)
    ]
    if len(columns) == 1:
        return [f"{columns[0][0]}={','.join(columns[0][1])}"]
    listed = ",".join(f"{name}=[{','.join(values)}]" for name, values in columns)
    return [f"zip({listed})"] if columns else []


def axes(arguments: Sequence[str], parse: Parse) -> dict[tuple[str, ...], Axis]:
    """The axes of a sweep without unions, by the keys that they set."""
    found: dict[tuple[str, ...], Axis] = {}
    for argument in arguments:
        zipped = _ZIP.fullmatch(argument.strip())
        if zipped:
            keys, axis = _zip_axis(zipped[1], argument, parse)
        else:
            (override,) = parse([argument])
            keys = (key_of(override.get_key_element()),)
            axis = [(text,) for text in setting_values.expanded(override)]
        check_set_once(keys, found, argument)
        found[keys] = axis
    return found


def check_set_once(
    keys: tuple[str, ...], earlier: Iterable[tuple[str, ...]], argument: str
) -> None:
    """Check that an argument replaces earlier ones as a whole, or none.

    Args:
        keys: The keys that the argument sets.
        earlier: Those that each earlier argument sets.
        argument: The argument.

    Raises:
        ConfigError: A key is set in a zip and outside of it.
    """
    for others in earlier:
        twice = set(others) & set(keys)
        if twice and others != keys:
            raise ConfigError(f"{min(twice)} must be set once, got it again in {argument!r}.")


def _zip_axis(inside: str, argument: str, parse: Parse) -> tuple[tuple[str, ...], Axis]:
    """The keys and alternatives of ``zip(inside)``."""
    columns: dict[str, list[str]] = {}
    for part in _split(inside, ","):
        key, equals, value = part.strip().partition("=")
        if not equals or not key:
            raise ConfigError(f"{ZIP_RULE}, got {argument!r}.")
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            value = f"choice({value[1:-1]})"
        try:
            (override,) = parse([f"{key.strip()}={value}"])
        except HydraException as error:
            raise ConfigError(
                f"zip must have a list of values for {key}, got {argument!r}."
            ) from error
        name = key_of(override.get_key_element())
        if name in columns:
            raise ConfigError(f"{name} must be in zip once, got {argument!r}.")
        # A value may repeat: only two equal runs are a mistake, which is found later.
        columns[name] = setting_values.expanded(override, allow_equal_values=True)
    if len(columns) < 2:
        raise ConfigError(f"zip must have at least two settings, got {argument!r}.")
    counts = {key: len(values) for key, values in columns.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise ConfigError(f"zip must have the same number of values for each key, got {listed}.")
    return tuple(columns), list(zip(*columns.values(), strict=True))


def parts(argument: str) -> list[str]:
    """The texts between ``|`` outside of quotes and brackets, if an override or zip follows."""
    starts = [
        match.start()
        for match in _SEPARATOR.finditer(argument)
        if match.start() in _outside(argument)
    ]
    bounds = [-1, *starts, len(argument)]
    return [argument[start + 1 : end].strip() for start, end in itertools.pairwise(bounds)]


def words(text: str) -> list[str]:
    """The arguments that spaces outside of quotes and brackets separate."""
    return [word for word in _split(text, " ") if word.strip()]


def _split(text: str, separator: str) -> list[str]:
    """Split at each separator outside of quotes and brackets."""
    outside = _outside(text)
    ends = [index for index, letter in enumerate(text) if letter == separator and index in outside]
    return [text[start + 1 : end] for start, end in itertools.pairwise([-1, *ends, len(text)])]


def _outside(text: str) -> frozenset[int]:
    """The positions outside of quotes and brackets."""
    found, open_brackets, quote, is_escaped = set(), 0, "", False
    for index, letter in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif letter == "\\":
            is_escaped = True
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in BRACKETS:
            open_brackets += 1
        elif letter in BRACKETS.values():
            open_brackets -= 1
        elif not open_brackets:
            found.add(index)
    return frozenset(found)
