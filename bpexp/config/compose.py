"""The configurations of a sweep's jobs, composed once per choice of config groups.

Hydra composes a job in some 60 ms. Jobs of a sweep mostly differ by plain values, so
the composition of what they share is kept and values are set on a copy. Whatever that
cannot express (interpolations, values that are groups, additions and deletions that
touch what came before them) goes through Hydra's own loader.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Plain = dict[str, Any]
Path = tuple[str, ...]

KEPT = 1024
"""Compositions and overrides that are remembered: a sweep repeats few, but may have many."""


class Part(NamedTuple):
    """An override, read. ``path`` of a value is the key it goes to; () of a choice of group.

    ``is_set``: ``value`` may be put in the place of one that is there already.
    ``is_alone``: what it comes to, or what is wrong with it, is Hydra's to say.
    """

    text: str
    path: Path = ()
    value: Any = None
    is_set: bool = False
    is_alone: bool = False


class Composer:
    """Composes jobs against one master configuration; what that was overridden with each has."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._is_group = lru_cache(KEPT)(self._find_group)
        self._read = lru_cache(KEPT)(self._read_one)
        self._base = lru_cache(KEPT)(self._compose_base)

    def compose(self, overrides: Sequence[str]) -> Plain:
        """The job's configuration as plain containers, interpolations resolved.

        What overrides leave alone is shared with other jobs: read it only. Raises what
        Hydra's loader raises.
        """
        parts = [self._part(text) for text in overrides]
        if _can_be_parted(parts):
            base = self._base(tuple(part.text for part in parts if not part.is_set))
            values = [part for part in parts if part.is_set]
            if base is not None and all(_is_leaf(base, part.path) for part in values):
                return _with_values(base, values)
        return self._resolved(self._load(overrides))

    def _part(self, text: str) -> Part:
        """Whole numbers, which seeds are, without Hydra's parser: it takes 0.15 ms."""
        found = _INTEGER.fullmatch(text)
        if found and not self._is_group(found[1]):
            return Part(text, tuple(found[1].split(".")), int(found[2]), is_set=True)
        return self._read(text)

    def _read_one(self, text: str) -> Part:
        try:
            override = self._parser.parse_override(text)
        except HydraException:
            return Part(text, is_alone=True)
        key, value = override.key_or_group, override.value()
        if _is_alone(override):
            return Part(text, is_alone=True)
        if self._is_group(key) and not isinstance(value, dict):
            return Part(text)
        is_set = (
            override.package is None
            and override.type in (OverrideType.CHANGE, OverrideType.FORCE_ADD)
            and not isinstance(value, dict)
            and not key.startswith("hydra.")
        )
        return Part(text, tuple(key.split(".")), value, is_set)

    def _find_group(self, key: str) -> bool:
        return any(source.is_group(key) for source in self._loader.get_sources())

    def _compose_base(self, overrides: tuple[str, ...]) -> Plain | None:
        """What jobs share; None where it holds interpolations or cannot be composed by itself."""
        try:
            # Hydra has composed the master of the same choices, and each job sets the values.
            is_masters = overrides == self._choices_of_master()
            config = _own(self._master) if is_masters else self._load(overrides)
            raw: Any = OmegaConf.to_container(config)
        except (HydraException, OmegaConfBaseException, ValueError):
            return None
        return None if _is_hydras(raw) else raw

    def _choices_of_master(self) -> tuple[str, ...]:
        parts = [self._part(text) for text in self._master.hydra.overrides.task]
        return tuple(part.text for part in parts if not part.is_set and not part.is_alone)

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        return _own(self._loader.load_sweep_config(self._master, list(overrides)))

    def _resolved(self, config: DictConfig) -> Plain:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


_INTEGER = re.compile(
    r"((?!hydra\.)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=(0|-?[1-9][0-9]{0,17})", re.ASCII
)


@contextmanager
def hydra_loader() -> Iterator[tuple[ConfigLoader, DictConfig]]:
    """Hydra's loader on the folder of configurations, and the master of a sweep."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from bpexp.config.schema import conf_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        yield loader, loader.load_configuration("config", [], RunMode.MULTIRUN)


def recompose(overrides: Sequence[str]) -> list[Plain]:
    """Every job of the sweep that was typed so, with the configurations as they are now."""
    from bpexp.sweeps.samplers.grid import expand

    with hydra_loader() as (loader, master):
        parser = OverridesParser.create(config_loader=loader)
        composer = Composer(loader, master)
        return [composer.compose(job) for job in expand(parser.parse_overrides(list(overrides)))]


def _own(config: DictConfig) -> DictConfig:
    """Without Hydra's settings."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _is_alone(override: Override) -> bool:
    """What only Hydra can say: interpolations, sweeps inside a job, other folders to search."""
    return (
        override.is_sweep_override()
        or override.get_key_element() == "hydra.searchpath"
        or _is_hydras(override.value())
    )


def _is_hydras(value: Any) -> bool:
    """Whether it interpolates, or holds a sweep, which Hydra refuses in a list."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Sweep):
        return True
    if isinstance(value, dict):
        return any(_is_hydras(item) for item in value.values())
    return isinstance(value, list) and any(_is_hydras(item) for item in value)


def _can_be_parted(parts: Sequence[Part]) -> bool:
    """Whether the values may be set last: no addition or deletion after one touches its key."""
    if any(part.is_alone for part in parts):
        return False
    others = [place for place, part in enumerate(parts) if part.path and not part.is_set]
    return not any(
        _touch(before.path, parts[place].path)
        for place in others
        for before in parts[:place]
        if before.is_set
    )


def _touch(one: Path, other: Path) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _is_leaf(config: Plain, path: Path) -> bool:
    node: Any = config
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return not isinstance(node, dict)


def _with_values(base: Plain, values: Sequence[Part]) -> Plain:
    """A copy with the values set; of the groups within, those are copied that change."""
    config = dict(base)
    for part in values:
        node, shared = config, base
        for key in part.path[:-1]:
            shared = shared[key]
            if node[key] is shared:
                node[key] = dict(shared)
            node = node[key]
        node[part.path[-1]] = _copied(part.value)
    return config


def _copied(value: Any) -> Any:
    return [_copied(item) for item in value] if isinstance(value, list) else value
