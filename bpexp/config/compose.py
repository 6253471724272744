"""Composition of configurations from overrides such as ``lr=0.5`` and ``optimizer=adam``.

This is the only way from overrides to a configuration, for the command line and for Python:

>>> compose(["lr=0.5", "data=parity"])["data"]["bits"]
4
>>> compose_settings({"lr": 0.5, "data": "parity", "data__bits": 3})["data"]["bits"]
3

Hydra takes about 60 ms to compose a job. Most jobs of a sweep differ only in plain values, so
``Composer`` lets Hydra compose each choice of options once and sets the values in a copy, which
takes about 0.05 ms. Overrides for which this would not give Hydra's result (interpolations,
dictionaries, additions and deletions after a change of the same key) are left to Hydra.
"""

import copy
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType, Sweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bpexp.config import grammar, hydra_internals, schema
from bpexp.config.options import (
    OPTION_GROUPS,
    SHORTHANDS,
    check_option,
    expand_shorthands,
    option_names,
)
from bpexp.config.paths import check_own_files, conf_dir, own_dir
from bpexp.fields.checks import ConfigError, brief

Plain = dict[str, Any]
"""A composed configuration: nested dicts, lists and scalars."""
KeyPath = tuple[str, ...]
"""The parts of a dotted key."""

CACHE_SIZE = 1024
"""Maximum number of compositions and of parsed overrides that a ``Composer`` caches."""


class Part(NamedTuple):
    """A parsed override.

    Attributes:
        text: The override.
        path: The key that it changes; () if it selects an option of a group.
        value: The new value.
        is_assignment: Whether it only replaces the value of a key.
        needs_hydra: Whether only Hydra can compose a job with it, or report its error.
    """

    text: str
    path: KeyPath = ()
    value: Any = None
    is_assignment: bool = False
    needs_hydra: bool = False


class Composer:
    """Composes jobs quickly, with the same results and errors as Hydra.

    Args:
        loader: Hydra's loader.
        master: The configuration of the sweep. The overrides in it apply to all jobs.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._parser = grammar.create_parser(loader)
        self._is_group = lru_cache(CACHE_SIZE)(self._find_group)
        self._parse_cached = lru_cache(CACHE_SIZE)(self._parse_part)
        self._base = lru_cache(CACHE_SIZE)(self._compose_base)

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """Parse overrides, which may be sweeps. Raises as ``grammar.parse_overrides``."""
        return grammar.parse_overrides(expand_shorthands(overrides), self._loader)

    def compose(self, overrides: Sequence[str], number: int | None = None) -> Plain:
        """Compose one job.

        Args:
            overrides: Without sweeps.
            number: The job's ``hydra.job.num``, if it is known.

        Returns:
            Nested dicts, lists and scalars, with interpolations resolved. Do not change it:
            jobs share the parts in which they are equal.

        Raises:
            HydraException, OmegaConfBaseException: What Hydra's loader raises.
        """
        overrides = expand_shorthands(overrides)
        parts = [self._part(text) for text in overrides]
        if _can_assign_last(parts):
            base = self._base(tuple(part.text for part in parts if not part.is_assignment))
            assignments = [part for part in parts if part.is_assignment]
            if base is not None and all(_is_leaf(base, part.path) for part in assignments):
                return _assign(base, assignments)
        loaded = self._load(overrides)
        with hydra_internals.current_job(loaded, number):
            config: Any = OmegaConf.to_container(_without_hydra(loaded), resolve=True)
        return dict(config)

    def _part(self, text: str) -> Part:
        """Parse an override; integers, such as seeds, without Hydra's parser (0.15 ms)."""
        match = _INTEGER.fullmatch(text)
        if match and not self._is_group(match[1]):
            return Part(text, tuple(match[1].split(".")), int(match[2]), is_assignment=True)
        return self._parse_cached(text)

    def _parse_part(self, text: str) -> Part:
        try:
            override = self._parser.parse_override(text)
        except HydraException:
            return Part(text, needs_hydra=True)
        key, value = override.key_or_group, override.value()
        if _needs_hydra(override):
            return Part(text, needs_hydra=True)
        if self._is_group(key) and not isinstance(value, dict):
            return Part(text)
        is_assignment = (
            override.package is None
            and override.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            and not isinstance(value, dict)
            and not key.startswith("hydra.")
        )
        return Part(text, tuple(key.split(".")), value, is_assignment)

    def _find_group(self, key: str) -> bool:
        return any(source.is_group(key) for source in self._loader.get_sources())

    def _compose_base(self, overrides: tuple[str, ...]) -> Plain | None:
        """Compose what jobs share; None if it has interpolations or cannot be composed alone."""
        try:
            # Hydra has already composed the master, often for the same options.
            is_master = overrides == self._options_of_master()
            config = self._master if is_master else self._load(overrides)
            values: Any = OmegaConf.to_container(_without_hydra(config))
        except (HydraException, OmegaConfBaseException, ValueError):
            return None
        return None if _is_dynamic(values) else values

    def _options_of_master(self) -> tuple[str, ...]:
        parts = [self._part(text) for text in self._master.hydra.overrides.task]
        return tuple(p.text for p in parts if not p.is_assignment and not p.needs_hydra)

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        config = self._loader.load_sweep_config(self._master, list(overrides))
        self._check_no_sweep(config, overrides)
        return config

    def _check_no_sweep(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Refuse a file that defines a sweep where a sweep selects it: it would be ignored."""
        known = OmegaConf.select(self._master, "hydra.sweeper.params") or {}
        for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items():
            if key not in known or known[key] != value:
                raise ConfigError(
                    f"A sweep cannot select files that define a sweep, got {key}={value} in "
                    f"hydra.sweeper.params of {' '.join(overrides)}; select one such file at a "
                    "time, or move its values to the command line."
                )


_INTEGER = re.compile(
    r"((?!hydra\.)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=(0|-?[1-9][0-9]{0,17})", re.ASCII
)


def hydra_loader() -> tuple[ConfigLoader, DictConfig]:
    """Hydra's loader of the YAML files, and the configuration of a sweep without overrides."""
    return _hydra_loader(own_dir())


@cache
def _hydra_loader(own: Path | None) -> tuple[ConfigLoader, DictConfig]:
    check_own_files()
    loader = hydra_internals.config_loader(conf_dir(), own)
    return loader, loader.load_configuration("config", [], RunMode.MULTIRUN)


def composer() -> Composer:
    """Return a composer of jobs that works without Hydra's command line.

    There is one for all calls, unless the user has files of their own, which may change between
    two calls.
    """
    return _packaged_composer() if own_dir() is None else Composer(*hydra_loader())


@cache
def _packaged_composer() -> Composer:
    return Composer(*_hydra_loader(None))


def compose(overrides: Sequence[str]) -> Plain:
    """Compose the configuration of one run.

    Returns:
        Nested dicts, lists and scalars. Do not change them: they are cached.

    Raises:
        ConfigError: An override has several values.
        HydraException, OmegaConfBaseException: What Hydra's parser and loader raise.
    """
    job_composer = composer()
    for override in job_composer.parse(overrides):
        if override.is_sweep_override():
            key = override.get_key_element()
            raise ConfigError(f"{key} must be one value, got {override.input_line!r}.")
    return job_composer.compose(overrides)


def compose_settings(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Plain:
    """Compose the configuration of one run from Python values.

    Args:
        settings: Values by key, with ``__`` for the dot (``data__bits=3``). The value of a
            group is the name of an option (``data="parity"``) or a dict with all its settings.
        overrides: Overrides that apply first.

    Raises:
        ConfigError: An option does not exist, or a value is a list where one value is needed.
    """
    settings = {_full_key(key, v): plain_value(v) for key, v in settings.items()}
    options = {k: v for k, v in settings.items() if k in OPTION_GROUPS and isinstance(v, str)}
    composed = copy.deepcopy(_composed(tuple(options.items()), tuple(overrides), own_dir()))
    for key, value in settings.items():
        if key not in options:
            _set(composed, key, value)
    return composed


def check_order(key: str, values: object) -> None:
    """Check that values have an order. Raises ConfigError for a set."""
    if isinstance(values, Set):
        raise ConfigError(f"{key} must be a list, which has an order, got a set.")


def plain_value(value: Any) -> Any:
    """A value from Python as the schema takes it: without NumPy's types, arrays and paths.

    >>> import numpy as np, pathlib
    >>> plain_value([np.int64(3), np.array([0.5, 1.0]), pathlib.PurePosixPath("a/b.csv")])
    [3, [0.5, 1.0], 'a/b.csv']
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "") == "f" and dtype.itemsize < 8:
        # By its decimals: 0.1 in single precision is 0.1, and not 0.10000000149011612.
        return np.asarray(value).astype(str).astype(float).tolist()
    # NumPy's numbers and arrays, and the columns of pandas.
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return to_list()
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain_value(item) for name, item in value.items()}
    return value


def _full_key(key: str, value: Any) -> str:
    """The key of the setting that is meant where a group is given as one value."""
    return key if isinstance(value, Mapping) else SHORTHANDS.get(key, key)


@lru_cache(maxsize=64)
def _composed(
    options: tuple[tuple[str, str], ...], overrides: tuple[str, ...], own: Path | None
) -> Plain:
    """Compose options and overrides; ``own`` is the user's folder, for the cache."""
    for group, name in options:
        check_option(group, name)
    return compose([*overrides, *(f"{group}={name}" for group, name in options)])


def _set(composed: Plain, key: str, value: Any) -> None:
    """Set a value in place. Raises ConfigError for a list where one value is needed, or a set."""
    dotted = key.replace("__", ".")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        is_scalar = dotted in OPTION_GROUPS or schema.setting_of(dotted) is not None
        if is_scalar and not getattr(schema.rule_of(dotted), "accepts_lists", False):
            is_list = isinstance(value, list | range)
            got, values = (brief(value),) * 2 if is_list else (f"a {type(value).__name__}", "[...]")
            raise ConfigError(
                f"{dotted} must be one value for a single run, got {got}; to sweep over it "
                f"call bpexp.sweep({key}={values})."
            )
        check_order(dotted, value)
        value = list(value)
    elif dotted in OPTION_GROUPS and not isinstance(value, Mapping):
        names = ", ".join(option_names(dotted))
        raise ConfigError(f"{dotted} must be one of {names}, got {brief(value)}.")
    *path, last = dotted.split(".")
    node = composed
    for part in path:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise schema.unknown_key(dotted)
    node[last] = value


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _needs_hydra(override: Override) -> bool:
    """Whether it is a sweep, an interpolation or a change of the search path."""
    return (
        override.is_sweep_override()
        or override.get_key_element() == "hydra.searchpath"
        or _is_dynamic(override.value())
    )


def _is_dynamic(value: Any) -> bool:
    """Whether a value contains an interpolation, or a sweep, which Hydra refuses in a list."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Sweep):
        return True
    if isinstance(value, dict):
        return any(_is_dynamic(item) for item in value.values())
    return isinstance(value, list) and any(_is_dynamic(item) for item in value)


def _can_assign_last(parts: Sequence[Part]) -> bool:
    """Whether assignments may be made after all other overrides.

    They may unless an addition or deletion follows an assignment to the same key.
    """
    if any(part.needs_hydra for part in parts):
        return False
    others = [index for index, part in enumerate(parts) if part.path and not part.is_assignment]
    return not any(
        _overlap(earlier.path, parts[index].path)
        for index in others
        for earlier in parts[:index]
        if earlier.is_assignment
    )


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _is_leaf(config: Plain, path: KeyPath) -> bool:
    node: Any = config
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return not isinstance(node, dict)


def _assign(base: Plain, assignments: Sequence[Part]) -> Plain:
    """A copy with new values, in which unchanged groups are shared with ``base``."""
    config = dict(base)
    for part in assignments:
        node, shared = config, base
        for key in part.path[:-1]:
            shared = shared[key]
            if node[key] is shared:
                node[key] = dict(shared)
            node = node[key]
        node[part.path[-1]] = _copy(part.value)
    return config


def _copy(value: Any) -> Any:
    return [_copy(item) for item in value] if isinstance(value, list) else value
