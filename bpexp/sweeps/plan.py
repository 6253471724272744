"""A sweep before it starts: all its configurations checked, and what varies in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bpexp.checks import ConfigError
from bpexp.config import Session, TrainConfig, flatten, parse, plain
from bpexp.data import load
from bpexp.data.source import check_fit


@dataclass(frozen=True)
class Plan:
    """Configurations in order, the session they share, and per run the values that vary."""

    configs: Sequence[TrainConfig]
    session: Session
    varying: tuple[str, ...]
    values: Sequence[Mapping[str, Any]]

    @cached_property
    def names(self) -> list[str]:
        """A readable name for each run: what the sweep varies, else what the run is."""
        pairs = zip(self.configs, self.values, strict=True)
        return [_name(config, values) for config, values in pairs]


def make(composed: Sequence[Mapping[str, Any]]) -> Plan:
    """Check every job of a sweep, data included. Raises ConfigError on the first bad one."""
    parsed = [parse(values) for values in composed]
    if not parsed:
        raise ConfigError("a sweep must have at least one run, got none.")
    for _, session in parsed:
        if session != parsed[0][1]:
            raise ConfigError(
                "n_jobs and tracking.* must be the same for all runs of a sweep, got "
                f"{plain(parsed[0][1])} and {plain(session)}."
            )
    configs = [config for config, _ in parsed]
    for config in {(c.data, c.model): c for c in configs}.values():
        check_fit(config, load(config.data))
    flat = [flatten(plain(config)) for config in configs]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    varying = tuple(k for k in keys if len({str(values.get(k)) for values in flat}) > 1)
    return Plan(configs, parsed[0][1], varying, [{k: v.get(k) for k in varying} for v in flat])


def _name(config: TrainConfig, values: Mapping[str, Any]) -> str:
    if not values:
        values = {"lr": config.lr, "hidden": list(config.hidden), "seed": config.seed}
        return f"{config.data.name} {_listed(values)}"
    return _listed(values)


def _listed(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={shown(value)}" for key, value in values.items())


def shown(value: object) -> str:
    """A setting as a person would type it: 0.1, [8,4], true, null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return str(shown(value[0])) if len(value) == 1 else f"[{','.join(map(shown, value))}]"
    return str(value)
