"""The configurations of a sweep's jobs, composed once per choice of config groups.

Hydra composes a job in some 60 ms. Jobs of a sweep mostly differ by plain values, so
the composition of what they share is kept and values are set on a copy. Whatever that
cannot express (additions, deletions, interpolations, packages, values that are groups)
goes through Hydra's own loader.
"""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

Plain = dict[str, Any]


class Composer:
    """Composes jobs against one master configuration."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._bases: dict[tuple[str, ...], tuple[Plain, bool]] = {}
        self._parse = cache(self._parse_one)

    def compose(self, overrides: Sequence[str]) -> Plain:
        """The job's configuration as plain containers, interpolations resolved."""
        parsed = [self._parse(text) for text in overrides]
        values = [(o, path) for o, path in parsed if path is not None]
        rest = tuple(
            text for text, (_, path) in zip(overrides, parsed, strict=True) if path is None
        )
        if rest not in self._bases:
            try:
                self._bases[rest] = self._load(list(rest))
            except InterpolationToMissingValueError:
                # What is referred to may be among the values.
                self._bases[rest] = {}, False
        base, quick = self._bases[rest]
        if quick and all(_is_leaf(base, path) for _, path in values):
            config = copy.deepcopy(base)
            for override, path in values:
                node = config
                for key in path[:-1]:
                    node = node[key]
                node[path[-1]] = _plain(override.value())
            return config
        return self._load(list(overrides))[0]

    def _parse_one(self, text: str) -> tuple[Override, tuple[str, ...] | None]:
        """The override, and its path if it is a plain value set on an existing key."""
        override = OverridesParser.create(config_loader=self._loader).parse_override(text)
        value = override.value()
        plain = (
            override.type is OverrideType.CHANGE
            and override.package is None
            and not override.key_or_group.startswith("hydra")
            and "@" not in override.key_or_group
            and not self._loader.list_groups(override.key_or_group)
            and not self._is_group(override.key_or_group)
            and not isinstance(value, dict)
            and "${" not in text
        )
        return override, tuple(override.key_or_group.split(".")) if plain else None

    def _is_group(self, key: str) -> bool:
        return bool(self._loader.get_group_options(key, results_filter=ObjectType.CONFIG))

    def _load(self, overrides: list[str]) -> tuple[Plain, bool]:
        """The composed job, and whether it is free of interpolations."""
        config = self._loader.load_sweep_config(self._master, overrides)
        config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        raw = OmegaConf.to_container(config)
        resolved = OmegaConf.to_container(config, resolve=True)
        return resolved, raw == resolved  # type: ignore[return-value]


def recompose(overrides: Sequence[str]) -> list[Plain]:
    """Every job of the sweep that was typed so, with the configurations as they are now."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from bpexp.cli import conf_dir
    from bpexp.sweeps.expand import expand

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        parser = OverridesParser.create(config_loader=loader)
        composer = Composer(loader, master)
        return [composer.compose(job) for job in expand(parser.parse_overrides(list(overrides)))]


def _is_leaf(config: Plain, path: tuple[str, ...]) -> bool:
    node: Any = config
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return not isinstance(node, dict)


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
