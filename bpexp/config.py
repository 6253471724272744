"""The configuration's schema: what a run is, and how a session runs it.

``TrainConfig`` holds all that can change a run's numbers; ``Session`` all that cannot.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, cast

from bpexp import checks
from bpexp.checks import Check, ConfigError

T = TypeVar("T")


def _setting(check: Check, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class Data:
    """What every data set has: a seeded split and standardisation by the training part."""

    name: str = _setting(checks.text)
    test_fraction: float = _setting(checks.real(0.0, below=1.0), 0.0)
    split_seed: int = _setting(checks.integer(0, 2**32 - 1), 0)
    standardize: bool = _setting(checks.boolean, False)


@dataclass(frozen=True, kw_only=True)
class Parity(Data):
    """All patterns of ``bits`` bits; the target is 1 where their number of ones is odd."""

    bits: int = _setting(checks.integer(1, 16), 4)


@dataclass(frozen=True, kw_only=True)
class Encoder(Data):
    """``size`` one-hot patterns that are their own targets, written as ``low`` and ``high``."""

    size: int = _setting(checks.integer(2, 4096), 8)
    low: float = _setting(checks.real(), 0.0)
    high: float = _setting(checks.real(), 1.0)


@dataclass(frozen=True, kw_only=True)
class Spirals(Data):
    """Two interlocking spirals of ``points`` points each (Lang and Witbrock 1988)."""

    points: int = _setting(checks.integer(2, 100_000), 97)
    turns: float = _setting(checks.real(above=0.0), 3.0)


@dataclass(frozen=True, kw_only=True)
class File(Data):
    """The user's own table: ``target`` names one column or several; the rest are inputs."""

    path: str = _setting(checks.text)
    target: tuple[str, ...] = _setting(checks.names)
    classes: bool | None = _setting(checks.optional(checks.boolean), None)


DATA: dict[str, type[Data]] = {
    "xor": Data,
    "parity": Parity,
    "encoder": Encoder,
    "spirals": Spirals,
    "iris": Data,
    "digits": Data,
    "breast_cancer": Data,
    "file": File,
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """Activation of the hidden and of the output layer, loss, and initial weights."""

    activation: str = _setting(checks.one_of("sigmoid", "tanh", "relu", "identity"), "sigmoid")
    output: str = _setting(
        checks.one_of("sigmoid", "tanh", "relu", "identity", "softmax"), "sigmoid"
    )
    loss: str = _setting(checks.one_of("half_squared", "cross_entropy"), "half_squared")
    init: str = _setting(checks.one_of("uniform", "glorot", "he"), "uniform")
    init_low: float = _setting(checks.real(), 0.0)
    init_high: float = _setting(checks.real(), 1.0)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Early ends: at this loss, with all outputs this close, or so long without progress."""

    loss: float | None = _setting(checks.optional(checks.real(0.0)), None)
    correct: float | None = _setting(checks.optional(checks.real(above=0.0)), None)
    patience: int | None = _setting(checks.optional(checks.integer(1)), None)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All that a run is a function of."""

    seed: int = _setting(checks.integer(0, 2**32 - 1))
    lr: float = _setting(checks.real(above=0.0))
    epochs: int = _setting(checks.integer(1, 10**9))
    hidden: tuple[int, ...] = _setting(checks.widths)
    data: Data
    model: Model
    stop: Stop


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where runs are tracked, under which experiment, with how many loss points each."""

    uri: str | None = _setting(checks.optional(checks.text), None)
    experiment: str = _setting(checks.text, "bpexp")
    points: int = _setting(checks.integer(0), 100)


@dataclass(frozen=True, kw_only=True)
class Session:
    """How runs are carried out; nothing here changes their numbers."""

    n_jobs: int
    tracking: Tracking


def _jobs(key: str, value: Any) -> int:
    if type(value) is not int or value == 0 or value < -1024 or value > 1024:
        raise ConfigError(
            f"{key} must be a number of workers, or -1 for all processors, got {value!r}."
        )
    return value


def _build(cls: type[T], values: object, prefix: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')} must be a group of settings, got {values!r}.")
    rules = {f.name: f for f in fields(cast(Any, cls))}
    for key in values:
        if key not in rules:
            raise checks.unknown(f"{prefix}{key}", [prefix + name for name in rules])
    clean = {}
    for name, rule in rules.items():
        # "???" is OmegaConf's mark of a value that must be given.
        if values.get(name, rule.default) in (MISSING, "???"):
            raise ConfigError(f"{prefix}{name} must be given.")
        if name in values:
            clean[name] = rule.metadata["check"](prefix + name, values[name])
    return cls(**clean)


def _data(values: object) -> Data:
    name = values.get("name") if isinstance(values, Mapping) else values
    if not isinstance(name, str) or name not in DATA:
        raise ConfigError(f"data.name must be one of {', '.join(DATA)}, got {name!r}.")
    return _build(DATA[name], values, "data.")


TOP = ("seed", "lr", "epochs", "hidden")


def parse(values: Mapping[str, Any]) -> tuple[TrainConfig, Session]:
    """Check a composed configuration (plain containers) and type it.

    Raises ConfigError with one sentence on the first rule that is broken.
    """
    known = [*TOP, "data", "model", "stop", "n_jobs", "tracking"]
    for key in values:
        if key not in known:
            raise checks.unknown(str(key), known)
    for key in known:
        if key not in values:
            raise ConfigError(f"{key} must be given.")
    rules = {f.name: f.metadata["check"] for f in fields(TrainConfig) if f.name in TOP}
    train = TrainConfig(
        **{key: rules[key](key, values[key]) for key in TOP},
        data=_data(values["data"]),
        model=_build(Model, values["model"], "model."),
        stop=_build(Stop, values["stop"], "stop."),
    )
    _check_model(train.model)
    tracking = _build(Tracking, values["tracking"], "tracking.")
    return train, Session(n_jobs=_jobs("n_jobs", values["n_jobs"]), tracking=tracking)


def _check_model(model: Model) -> None:
    if model.loss == "cross_entropy" and model.output not in ("sigmoid", "softmax"):
        raise ConfigError(
            "model.loss=cross_entropy must go with model.output=sigmoid or softmax, "
            f"got {model.output!r}."
        )
    if model.init_low > model.init_high:
        raise ConfigError(
            f"model.init_low must be at most model.init_high ({model.init_high:g}), "
            f"got {model.init_low:g}."
        )


def plain(config: object) -> dict[str, Any]:
    """A config dataclass as nested dicts, lists and scalars, ready for YAML."""
    out: dict[str, Any] = {}
    for f in fields(cast(Any, config)):
        value = getattr(config, f.name)
        if hasattr(value, "__dataclass_fields__"):
            value = plain(value)
        out[f.name] = list(value) if isinstance(value, tuple) else value
    return out


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def keys() -> list[str]:
    """Every key of the configuration, dotted."""
    parts = [("data", cls) for cls in DATA.values()]
    nested = [*parts, ("model", Model), ("stop", Stop), ("tracking", Tracking)]
    dotted = [f"{group}.{f.name}" for group, cls in nested for f in fields(cast(Any, cls))]
    return sorted({*TOP, "n_jobs", "data", "model", *dotted})
