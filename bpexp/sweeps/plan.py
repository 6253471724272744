"""A sweep before it starts: all its configurations checked, and what varies in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from bpexp.config.schema import Session, TrainConfig, flatten, parse, plain
from bpexp.data import load
from bpexp.data.source import check_fit
from bpexp.fields.checks import ConfigError
from bpexp.studies.definition import Study
from bpexp.training import batching, run_batch


@dataclass(frozen=True)
class Plan:
    """Configurations in order, the session they share, and per run the values that vary.

    ``overrides`` are what was typed; ``composed`` is the first run's configuration as composed.
    The runs of a ``study`` come row by row.
    """

    configs: Sequence[TrainConfig]
    session: Session
    varying: tuple[str, ...]
    values: Sequence[Mapping[str, Any]]
    overrides: tuple[str, ...] = ()
    composed: Mapping[str, Any] = field(default_factory=dict)
    study: Study | None = None

    @cached_property
    def names(self) -> list[str]:
        """A readable name for each run: what the sweep varies, else what the run is."""
        pairs = zip(self.configs, self.values, strict=True)
        return [_name(config, values) for config, values in pairs]


SHARED = ("data", "model", "optimizer", "schedule", "stop", "hidden")


def make(
    composed: Iterable[Mapping[str, Any]],
    overrides: Sequence[str] = (),
    study: Study | None = None,
) -> Plan:
    """Check every job of a sweep, data included. Raises ConfigError on the first bad one,
    of a study with the name of its row.
    """
    configs: list[TrainConfig] = []
    session: Session | None = None
    first: Mapping[str, Any] = {}
    # Equal parts of many configurations are kept once.
    same: dict[Any, Any] = {}
    for index, values in enumerate(composed):
        with in_row(study, index):
            config, asked = parse(values)
        first = first or values
        session = session or asked
        if asked != session:
            raise ConfigError(
                "n_jobs, engine, reuse, export, backend and tracking.* must be the same for all "
                f"runs of a sweep, got {plain(session)} and {plain(asked)}."
            )
        parts = {name: getattr(config, name) for name in SHARED}
        shared = {name: same.setdefault((type(part), part), part) for name, part in parts.items()}
        configs.append(replace(config, **shared))
    if session is None:
        raise ConfigError("a sweep must have at least one run, got none.")
    # By what was asked for: what numerics=auto comes to is not what the sweep varies.
    varying, values_of = _varying(configs)
    numerics: dict[tuple[Any, ...], str] = {}
    for index, config in enumerate(configs):
        key = (*(getattr(config, name) for name in SHARED), config.numerics)
        if key not in numerics:
            with in_row(study, index):
                numerics[key] = _resolved(config, session.engine)
        configs[index] = replace(config, numerics=numerics[key])
    return Plan(configs, session, varying, values_of, tuple(overrides), first, study)


def single(composed: Mapping[str, Any], overrides: Sequence[str]) -> Plan:
    """A run that is no sweep. Raises ConfigError as ``make``."""
    if composed.get("study") is not None:
        raise ConfigError("+study must go with -m and the launcher bpexp: it is a sweep.")
    return make([composed], overrides)


@contextmanager
def in_row(study: Study | None, run: int) -> Iterator[None]:
    """What is wrong with a study's run is said with the name of its row."""
    try:
        yield
    except ConfigError as error:
        if study is None:
            raise
        raise ConfigError(f"study row {study.row_of_job(run).name}: {error}") from error


def again(
    configs: Sequence[TrainConfig],
    session: Session,
    varying: Sequence[str],
    study: Study | None = None,
) -> Plan:
    """The plan that was made before of these configurations. Raises ConfigError as ``make``."""
    for config in dict.fromkeys(replace(c, seed=0, lr=1.0) for c in configs):
        check_fit(config, load(config.data))
    _, values = _varying(configs)
    kept = [{key: value[key] for key in varying if key in value} for value in values]
    return Plan(configs, session, tuple(varying), kept, study=study)


def _resolved(config: TrainConfig, engine: str) -> str:
    """The arithmetic of a configuration, once its data are seen to fit it."""
    dataset = load(config.data)
    check_fit(config, dataset)
    numerics = run_batch.numerics(config, dataset)
    batching.check(replace(config, numerics=numerics), engine)
    return numerics


def _varying(configs: Sequence[TrainConfig]) -> tuple[tuple[str, ...], Sequence[Mapping[str, Any]]]:
    """The dotted keys that vary, and each run's values of them."""
    varying: list[str] = []
    values: list[dict[str, Any]] = [{} for _ in configs]
    # The seed comes last, as in `lr=0.1 seed=3`: it says which one of those runs.
    names = sorted((f.name for f in fields(TrainConfig)), key=lambda name: name == "seed")
    for name in names:
        parts = [getattr(config, name) for config in configs]
        flat = {part: flatten({name: plain(part)}) for part in dict.fromkeys(parts)}
        keys = dict.fromkeys(key for one in flat.values() for key in one)
        differ = [key for key in keys if len({str(one.get(key)) for one in flat.values()}) > 1]
        varying += differ
        for key in differ:
            for part, of_run in zip(parts, values, strict=True):
                of_run[key] = flat[part].get(key)
    return tuple(varying), values


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
