"""The groups whose options are YAML files, as in ``optimizer=adam``."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from bpexp.config.paths import misnamed_file, option_files
from bpexp.fields.checks import ConfigError, nearest

OTHER_NAMES = {"sgd": "gradient_descent", "gd": "gradient_descent", "backprop": "gradient_descent"}
"""Other names of options, in lower case."""
TABLES = (".csv", ".parquet", ".npz", ".tsv", ".xlsx", ".txt", ".json")
"""Endings of file names that people type as ``data``; not all of them can be read."""
OPTION_GROUPS = ("data", "model", "optimizer", "schedule", "backend")
"""Groups with a folder of YAML files, each of which is an option."""
SHORTHANDS = {"objective": "objective.name", "search": "search.name", "seeds": "seeds.name"}
"""Groups that may be typed as one value, ``objective=accuracy``, and the setting that is meant."""


def key_of(override: str) -> str:
    """The key of an override, which may add it (``+``) or delete it (``~``).

    >>> key_of("+data.bits=3"), key_of("~seed")
    ('data.bits', 'seed')
    """
    return override.lstrip("+~").partition("=")[0]


def group_of(override: str) -> str:
    """The first part of the key of an override.

    >>> group_of("data.bits=3"), group_of("lr=0.1")
    ('data', 'lr')
    """
    return key_of(override).partition(".")[0]


def option_names(group: str) -> list[str]:
    """The options of a group, sorted."""
    return sorted(option_files(group))


def check_option(group: str, name: str) -> None:
    """Raise ConfigError if a group has no option of this name."""
    names = option_names(group)
    if name not in names:
        raise unknown_option(group, name, names)


def check_one_option(overrides: Iterable[str]) -> None:
    """Raise ConfigError for a list of options, whose settings Hydra would merge.

    >>> check_one_option(["optimizer=[adam,momentum]"])
    Traceback (most recent call last):
        ...
    bpexp.fields.checks.ConfigError: optimizer must be one option, got [adam,momentum]; ...
    """
    for text in overrides:
        group, _, value = text.lstrip("+").partition("=")
        if group not in OPTION_GROUPS or not value.startswith("["):
            continue
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        sweep = f", or for a sweep bpexp -m {group}={','.join(names)}" if len(names) > 1 else ""
        advice = f"; type {group}={names[0]}{sweep}" if names else ""
        raise ConfigError(f"{group} must be one option, got {value}{advice}.")


def unknown_option(group: str, name: str, names: Sequence[str]) -> ConfigError:
    """The error for an option that does not exist, with what was probably meant.

    >>> str(unknown_option("optimizer", "Adam", ["adam", "rprop"]))
    "optimizer must be one of adam, rprop, got 'Adam'; did you mean optimizer=adam?"
    """
    misnamed = misnamed_file(group, name)
    if misnamed is not None:
        return ConfigError(
            f"{group}={name} must be a file that ends in .yaml; rename {misnamed} to "
            f"{misnamed.stem}.yaml."
        )
    rule = f"{group} must be one of {', '.join(names)}, got {name!r}"
    near = OTHER_NAMES.get(name.lower()) or nearest(name, names)
    is_path = PurePath(name).suffix.lower() in TABLES or "/" in name
    if near in names and not is_path:
        return ConfigError(f"{rule}; did you mean {group}={near}?")
    if group == "data":
        path = str(PurePath(name)) if is_path else "FILE"
        hint = f"for your own table type data=file data.path={path} data.target=COLUMN"
        return ConfigError(f"{rule}; {hint}.")
    return ConfigError(f"{rule}.")


def expand_shorthands(overrides: Iterable[str]) -> list[str]:
    """The overrides in which a group that is typed as one value is replaced by its setting.

    Hydra would replace the whole group by the value, and lose the group's other settings.

    >>> expand_shorthands(["objective=accuracy", "objective.allow_test=true", "lr=1"])
    ['objective.name=accuracy', 'objective.allow_test=true', 'lr=1']
    """
    return [_expand_shorthand(text) for text in overrides]


def _expand_shorthand(text: str) -> str:
    key, equals, value = text.partition("=")
    prefix = key[: len(key) - len(key.lstrip("+"))]
    setting_key = SHORTHANDS.get(key.lstrip("+"))
    if setting_key is None or not equals or value.lstrip().startswith("{"):
        return text
    return f"{prefix}{setting_key}={value}"
