"""Sub-sweeps in a file of the user: ``sweep=NAME`` stands for ``conf/sweep/NAME.yaml``.

The file has the settings that all runs share, and a list of sub-sweeps, each as a text, as a list
of arguments, or as values by key:

    common: [data=iris, "seed=range(0,10)"]
    union:
      - optimizer=momentum optimizer.momentum=0.5,0.9
      - {optimizer: adam, optimizer.beta2: [0.99, 0.999]}

>>> arguments({"common": ["seed=1"], "union": ["lr=1,2", {"lr": 3, "hidden": [4, [8, 4]]}]})
[['seed=1', 'lr=1,2'], ['seed=1', 'lr=3', 'hidden=4,[8, 4]']]

A list of sub-sweeps alone, and the values by key of a single one, are files as well. Keys may be
nested, and zipped settings are under the key ``zip``:

>>> arguments({"optimizer": {"name": "momentum", "momentum": [0.5, 0.9]}})
[['optimizer=momentum', 'optimizer.momentum=0.5,0.9']]
>>> arguments([{"zip": {"lr": [0.1, 1], "hidden": [2, 8]}}])
[['zip(lr=[0.1,1],hidden=[2,8])']]
"""

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hydra.errors import HydraException

from bpexp.config.compose import Composer
from bpexp.config.options import OPTION_GROUPS, group_of, option_names, unknown_option
from bpexp.config.paths import OWN, misnamed_file, own_dir
from bpexp.fields.checks import ConfigError, brief, nearest
from bpexp.sweeps.grid import sub_sweeps
from bpexp.sweeps.job import format_setting

KEYS = ("common", "union")
_TYPED = re.compile(r"\+*sweep=(.*)", re.DOTALL)


def is_sweep_file(argument: str) -> bool:
    """Whether an argument names a file of sub-sweeps."""
    return _TYPED.fullmatch(argument) is not None


def has_sub_sweeps(typed: Sequence[str]) -> bool:
    """Whether a sweep has sub-sweeps, which may have jobs in common."""
    return sub_sweeps.has_union(typed) or any(map(is_sweep_file, typed))


def jobs(typed: Sequence[str], composer: Composer) -> list[list[str]]:
    """List the jobs of a sweep, as ``sub_sweeps.jobs``; a file of sub-sweeps may be among them.

    Arguments outside of the file take precedence over those in it.

    Raises:
        ConfigError: As ``sub_sweeps.jobs``, or the file does not exist or breaks a rule.
        HydraException: What the parser raises for an argument outside of the file.
    """
    names = [_unquoted(found[1]) for text in typed if (found := _TYPED.fullmatch(text))]
    if not names:
        return sub_sweeps.jobs(typed, composer.parse)
    if len(names) > 1 or re.search("[,|]", names[0]):
        raise ConfigError(
            f"sweep must be one name, got {', '.join(names)}; one file can have the sub-sweeps of "
            "several."
        )
    outside = [text for text in typed if not is_sweep_file(text)]
    listed: list[list[str]] = []
    common = [text for text in outside if not sub_sweeps.has_union([text])]
    for inside in arguments(_read(names[0], composer)):
        _check_syntax(names[0], inside, composer)
        kept = sub_sweeps.replaced(inside, common, composer.parse)
        listed += sub_sweeps.jobs([*kept, *outside], composer.parse)
    return listed


def arguments(content: Any) -> list[list[str]]:
    """The arguments of each sub-sweep of a file.

    Args:
        content: A list of sub-sweeps, a mapping with the keys ``common`` and ``union``, or the
            values of one sub-sweep by key.

    Raises:
        ConfigError: The content has another form, or is empty.
    """
    if not content:
        raise ConfigError("sweep must have sub-sweeps, such as - lr=0.1,1, got an empty file.")
    if isinstance(content, list):
        content = {"union": content}
    if isinstance(content, Mapping) and not any(key in content for key in KEYS):
        content = {"union": [content]}
    if not isinstance(content, Mapping):
        raise ConfigError(f"sweep must have the keys common and union, got {brief(content)}.")
    for key in content:
        if key not in KEYS:
            near = nearest(str(key), KEYS)
            hint = f"; did you mean {near}?" if near else "."
            raise ConfigError(f"sweep must have the keys common and union, got {key!r}{hint}")
    union = content.get("union", [[]])
    if not isinstance(union, list) or not union:
        raise ConfigError(f"sweep.union must be a list of sub-sweeps, got {brief(union)}.")
    common = _texts("sweep.common", content.get("common") or [])
    found = [[*common, *_texts("sweep.union", one)] for one in union]
    for text in itertools.chain.from_iterable(found):
        if group_of(text) == "study":
            raise ConfigError(
                f"A file of sub-sweeps takes no study, got {text}; start it with -m +study=NAME."
            )
    return found


def _unquoted(name: str) -> str:
    """A name without the quotes that settings of Hydra need around letters such as umlauts."""
    quoted = re.fullmatch(r"""(["'])(.*)\1""", name)
    return unicodedata.normalize("NFC", quoted[2] if quoted else name)


def _read(name: str, composer: Composer) -> Any:
    # Some systems store accents of file names as letters of their own.
    names = {unicodedata.normalize("NFC", one): one for one in option_names("sweep")}
    if name not in names and misnamed_file("sweep", name) is not None:
        raise unknown_option("sweep", name, [*names])
    if name not in names:
        meant = PurePath(name).name.removesuffix(".yaml").removesuffix(".yml")
        hint = f"; type sweep={meant}" if meant in names else ""
        raise ConfigError(
            f"sweep must be one of {', '.join(names)}, got {name!r}{hint}."
            if names
            else f"sweep={name} needs the file {own_dir() or OWN}/sweep/{name}.yaml, or another "
            "folder with --config-dir."
        )
    quoted = names[name].replace("\\", "\\\\").replace('"', '\\"')
    return composer.compose([f'+sweep="{quoted}"'])["sweep"]


def _check_syntax(name: str, inside: Sequence[str], composer: Composer) -> None:
    """Raise ConfigError if an argument of a file is not a valid setting."""
    for text in inside:
        if sub_sweeps.is_beyond_hydra(text):
            continue
        try:
            composer.parse([text])
        except HydraException as error:
            is_part = text.count("(") != text.count(")") or text.count("[") != text.count("]")
            hint = "; type quotes around a setting that contains commas" if is_part else ""
            raise ConfigError(
                f"sweep={name} must have settings such as lr=0.1,1, got {text!r}{hint}."
            ) from error


def _texts(key: str, value: Any) -> list[str]:
    """The arguments in a text, a list of texts, or values by key."""
    if isinstance(value, str):
        return [value] if sub_sweeps.has_union([value]) else sub_sweeps.words(value)
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return list(value)
    _check_commas(key, value)
    if isinstance(value, Mapping):
        return [text for name, one in value.items() for text in _of_key(str(name), one)]
    raise ConfigError(f"{key} must be texts or values by key, got {brief(value)}.")


def _check_commas(key: str, value: Any) -> None:
    """Raise ConfigError for values in brackets of YAML, which splits them at their commas."""
    if isinstance(value, list):
        typed = ""
        for one in value:
            is_setting = isinstance(one, str) and "=" in one
            typed += f"{', ' if is_setting else ','}{one}" if typed else str(one)
        if "=" in typed:
            raise ConfigError(
                f"{key} needs quotes around settings with several values, which YAML takes apart "
                f'at their commas, got {brief(value)}; type "{typed.split(", ")[0]}".'
            )
    if isinstance(value, Mapping):
        for (name, first), (other, none) in itertools.pairwise(value.items()):
            is_value = not isinstance(other, str) or (
                name in OPTION_GROUPS and other in option_names(name)
            )
            if none is None and is_value:
                raise ConfigError(
                    f"{key} needs a list for a setting with several values, got "
                    f"{brief(dict(value))}; type {name}: [{first},{other}]."
                )


def _of_key(key: str, value: Any) -> list[str]:
    """The arguments for a key, whose value may be a mapping of further keys."""
    if value is None and sub_sweeps.is_beyond_hydra(key):
        return [key]
    if value is None and "=" in key:
        # The whole file is a text.
        return sub_sweeps.words(key)
    if not isinstance(value, Mapping):
        return [f"{key}={_value(value)}"]
    if key == "zip":
        zipped = (f"{name}={_zipped(one)}" for name, one in value.items())
        return [f"zip({','.join(zipped)})"]
    found = []
    for name, one in value.items():
        inner = key if name == "name" and key in OPTION_GROUPS else f"{key}.{name}"
        found += _of_key(inner, one)
    return found


def _zipped(values: Any) -> str:
    """The values of one key in a zip."""
    return f"[{_value(values)}]" if isinstance(values, list) else format_setting(values)


def _value(value: Any) -> str:
    """A value or a list of values as they are typed; texts are sweeps themselves."""
    if isinstance(value, list):
        return ",".join(str(one) if isinstance(one, list) else format_setting(one) for one in value)
    return format_setting(value)
