"""The configuration's schema: what a run is, and how a session runs it.

``TrainConfig`` holds all that can change a run's numbers; ``Session`` all that cannot.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from bpexp.fields import checks
from bpexp.fields.checks import Check, ConfigError

T = TypeVar("T")


def _setting(check: Check, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class Data:
    """What every data set has: a seeded split and standardisation by the training part."""

    name: str = _setting(checks.text)
    test_fraction: float = _setting(checks.real(0.0, below=1.0), 0.0)
    validation_fraction: float = _setting(checks.real(0.0, below=1.0), 0.0)
    split_seed: int = _setting(checks.integer(0, 2**32 - 1), 0)
    standardize: bool = _setting(checks.boolean, False)


@dataclass(frozen=True, kw_only=True)
class Logic(Data):
    """A problem made of bits: how 0 and 1 are written, in the targets and in the inputs."""

    low: float = _setting(checks.real(), 0.0)
    high: float = _setting(checks.real(), 1.0)
    input_low: float = _setting(checks.real(), 0.0)
    input_high: float = _setting(checks.real(), 1.0)


@dataclass(frozen=True, kw_only=True)
class Parity(Logic):
    """All patterns of ``bits`` bits; the target is 1 where their number of ones is odd."""

    bits: int = _setting(checks.integer(1, 16), 4)


@dataclass(frozen=True, kw_only=True)
class Symmetry(Logic):
    """All patterns of ``bits`` bits; the target is 1 where they mirror themselves."""

    bits: int = _setting(checks.integer(2, 16), 6)


@dataclass(frozen=True, kw_only=True)
class Encoder(Logic):
    """``size`` one-hot patterns that are their own targets; ``complement`` turns the inputs."""

    size: int = _setting(checks.integer(2, 4096), 8)
    complement: bool = _setting(checks.boolean, False)


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


@dataclass(frozen=True, kw_only=True)
class Proben1(Data):
    """A file of the Proben1 collection, which says itself which rows train, validate and test."""

    path: str = _setting(checks.text)


DATA: dict[str, type[Data]] = {
    "xor": Logic,
    "parity": Parity,
    "symmetry": Symmetry,
    "encoder": Encoder,
    "spirals": Spirals,
    "iris": Data,
    "digits": Data,
    "breast_cancer": Data,
    "file": File,
    "proben1": Proben1,
}


UNITS = ("sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity")


@dataclass(frozen=True, kw_only=True)
class Model:
    """Activations, loss, how the error is made, and initial weights."""

    activation: str = _setting(checks.one_of(*UNITS), "sigmoid")
    output: str = _setting(checks.one_of(*UNITS, "softmax"), "sigmoid")
    loss: str = _setting(checks.one_of("half_squared", "cross_entropy"), "half_squared")
    error: str = _setting(checks.one_of("linear", "arctanh"), "linear")
    dead_zone: float = _setting(checks.real(0.0), 0.0)
    derivative_offset: float = _setting(checks.real(0.0), 0.0)
    bias_input: float = _setting(checks.real(), 1.0)
    init: str = _setting(checks.one_of("uniform", "glorot", "he"), "uniform")
    init_low: float = _setting(checks.real(), 0.0)
    init_high: float = _setting(checks.real(), 1.0)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Gradient descent, and what every update rule has.

    ``weight_decay`` times the weight is added to the gradient; ``by_fan_in`` divides the
    learning rate by the number of connections into the unit, bias included.
    """

    name: str = _setting(checks.text)
    weight_decay: float = _setting(checks.real(0.0), 0.0)
    by_fan_in: bool = _setting(checks.boolean, False)


@dataclass(frozen=True, kw_only=True)
class Momentum(Optimizer):
    """A share of the last step is added to the next; Nesterov's form looks ahead."""

    momentum: float = _setting(checks.real(0.0, below=1.0), 0.9)


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """Steps over the root of the gradient's running mean square."""

    decay: float = _setting(checks.real(0.0, below=1.0), 0.99)
    epsilon: float = _setting(checks.real(above=0.0), 1e-8)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Running means of gradient and square, corrected for their start."""

    beta1: float = _setting(checks.real(0.0, below=1.0), 0.9)
    beta2: float = _setting(checks.real(0.0, below=1.0), 0.999)
    epsilon: float = _setting(checks.real(above=0.0), 1e-8)


@dataclass(frozen=True, kw_only=True)
class Rprop(Optimizer):
    """Steps that grow and shrink by the gradient's sign.

    The first step is the learning rate, or drawn for each weight between ``step_init_low`` and
    ``step_init_high`` where they are given.
    """

    eta_plus: float = _setting(checks.real(above=1.0), 1.2)
    eta_minus: float = _setting(checks.real(above=0.0, below=1.0), 0.5)
    step_min: float = _setting(checks.real(0.0), 1e-6)
    step_max: float = _setting(checks.real(above=0.0), 50.0)
    step_init_low: float | None = _setting(checks.optional(checks.real(above=0.0)), None)
    step_init_high: float | None = _setting(checks.optional(checks.real(above=0.0)), None)


@dataclass(frozen=True, kw_only=True)
class Quickprop(Optimizer):
    """Jumps to the bottom of a parabola; a step grows by ``mu`` at most."""

    mu: float = _setting(checks.real(above=0.0), 1.75)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gradient_descent": Optimizer,
    "momentum": Momentum,
    "nesterov": Momentum,
    "rmsprop": RMSprop,
    "adam": Adam,
    "rprop": Rprop,
    "quickprop": Quickprop,
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the epochs: constant, after ``warmup`` epochs of linear growth."""

    name: str = _setting(checks.text)
    warmup: int = _setting(checks.integer(0), 0)


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Times ``factor`` after every ``every`` epochs."""

    every: int = _setting(checks.integer(1), 1000)
    factor: float = _setting(checks.real(above=0.0), 0.5)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Down to ``final`` times itself along half a cosine (Loshchilov and Hutter 2017, eq. 5)."""

    final: float = _setting(checks.real(0.0), 0.0)


SCHEDULES: dict[str, type[Schedule]] = {"constant": Schedule, "step": Step, "cosine": Cosine}


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Early ends: at this loss, with all outputs this close, or so long without progress.

    ``restart`` draws the network anew after so many epochs without an end; epochs count on.
    Validation rows are looked at after every ``validation_interval`` epochs;
    ``patience`` then counts by their loss. ``generalization`` and ``progress``: see
    ``training.early_stopping``.
    """

    loss: float | None = _setting(checks.optional(checks.real(0.0)), None)
    tolerance: float | None = _setting(checks.optional(checks.real(above=0.0)), None)
    patience: int | None = _setting(checks.optional(checks.integer(1)), None)
    restart: int | None = _setting(checks.optional(checks.integer(1)), None)
    validation_interval: int = _setting(checks.integer(1), 1)
    generalization: float | None = _setting(checks.optional(checks.real(0.0)), None)
    progress: float | None = _setting(checks.optional(checks.real(above=0.0)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """All that a run is a function of. ``batch_size`` None takes all samples at once."""

    seed: int = _setting(checks.integer(0, 2**32 - 1))
    lr: float = _setting(checks.real(above=0.0))
    epochs: int = _setting(checks.integer(1, 10**9))
    hidden: tuple[int, ...] = _setting(checks.widths)
    batch_size: int | None = _setting(checks.optional(checks.integer(1)), None)
    numerics: str = _setting(checks.one_of("auto", "exact", "native"), "auto")
    data: Data
    model: Model
    optimizer: Optimizer
    schedule: Schedule
    stop: Stop


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where runs are tracked, under which experiment, with how many loss points each.

    Without ``runs`` a sweep is tracked as its parent alone, with the table of results.
    """

    uri: str | None = _setting(checks.optional(checks.text), None)
    experiment: str = _setting(checks.short(500), "bpexp")
    points: int = _setting(checks.integer(0), 100)
    runs: bool = _setting(checks.boolean, True)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where runs are trained: on this machine, by ``n_jobs`` workers."""

    name: str = _setting(checks.text)


@dataclass(frozen=True, kw_only=True)
class Dask(Backend):
    """On the workers of a Dask cluster; without ``address`` by Dask's own setting of it."""

    address: str | None = _setting(checks.optional(checks.text), None)


BACKENDS: dict[str, type[Backend]] = {}
"""By name; the modules of ``bpexp.sweeps.executors`` register theirs."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """How runs are carried out; nothing here changes their numbers.

    With ``reuse`` a sweep trains only what the experiment does not hold already; ``export``
    "best" logs the network of the best run as a model.
    """

    n_jobs: int
    engine: str
    reuse: bool
    export: str | None
    backend: Backend
    tracking: Tracking


def _jobs(key: str, value: Any) -> int:
    if type(value) is not int or value == 0 or value < -1024 or value > 1024:
        raise ConfigError(
            f"{key} must be a number of workers, or -1 for all processors, got "
            f"{checks.brief(value)}."
        )
    return value


def _build(cls: type[T], values: object, prefix: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix.rstrip('.')} must be a group of settings, got {checks.brief(values)}."
        )
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


def _named(kinds: Mapping[str, type[T]], values: object, group: str) -> T:
    """A group whose ``name`` says which of several kinds it is."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{group} must be a group of settings, got {checks.brief(values)}.")
    name = values.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(
            f"{group}.name must be one of {', '.join(kinds)}, got {checks.brief(name)}."
        )
    return _build(kinds[name], values, f"{group}.")


GROUPS: dict[str, Mapping[str, type[Any]]] = {
    "data": DATA, "optimizer": OPTIMIZERS, "schedule": SCHEDULES,
    "backend": BACKENDS,
}  # fmt: skip
PARTS: dict[str, type[Any]] = {"model": Model, "stop": Stop, "tracking": Tracking}
TOP = tuple(f.name for f in fields(TrainConfig) if "check" in f.metadata)
_engine = checks.one_of("auto", "numpy", "compiled")
_export = checks.optional(checks.one_of("best"))


def parse(values: Mapping[str, Any]) -> tuple[TrainConfig, Session]:
    """Check a composed configuration (plain containers) and type it.

    Raises ConfigError with one sentence on the first rule that is broken.
    """
    known = [*dict.fromkeys([*TOP, *GROUPS, *PARTS, *SESSION])]
    for key in values:
        if key not in known:
            raise checks.unknown(str(key), known)
    for key in known:
        if key not in values:
            raise ConfigError(f"{key} must be given.")
    train = parse_train({k: v for k, v in values.items() if k not in SESSION})
    return train, parse_session({key: values[key] for key in SESSION})


SESSION = ("n_jobs", "engine", "reuse", "export", "backend", "tracking")
"""What a session is asked; nothing here changes a run's numbers."""


def parse_session(values: Mapping[str, Any]) -> Session:
    """Check and type how runs are carried out. Raises ConfigError.

    Plans that were kept before there were backends or exports have no word of them.
    """
    session = Session(
        n_jobs=_jobs("n_jobs", values.get("n_jobs")),
        engine=_engine("engine", values.get("engine")),
        reuse=checks.boolean("reuse", values.get("reuse")),
        export=_export("export", values.get("export")),
        backend=_named(BACKENDS, values.get("backend", {"name": "local"}), "backend"),
        tracking=_build(Tracking, values.get("tracking"), "tracking."),
    )
    if session.export and not session.tracking.runs:
        raise ConfigError("export=best must go with tracking.runs=true, got false.")
    return session


def parse_train(values: Mapping[str, Any]) -> TrainConfig:
    """Check and type what a run is a function of. Raises ConfigError."""
    rules = {f.name: f for f in fields(TrainConfig)}
    for key in values:
        if key not in rules:
            raise checks.unknown(str(key), rules)
    clean: dict[str, Any] = {}
    for key, rule in rules.items():
        if key in GROUPS:
            clean[key] = _named(GROUPS[key], values.get(key), key)
        elif key in PARTS:
            clean[key] = _build(PARTS[key], values.get(key), f"{key}.")
        elif key in values:
            clean[key] = rule.metadata["check"](key, values[key])
        elif rule.default is MISSING:
            raise ConfigError(f"{key} must be given.")
    train = TrainConfig(**clean)
    _check_together(train)
    return train


def _check_together(train: TrainConfig) -> None:
    model, optimizer = train.model, train.optimizer
    if model.loss == "cross_entropy" and model.output not in ("sigmoid", "softmax"):
        raise ConfigError(
            "model.loss=cross_entropy must go with model.output=sigmoid or softmax, "
            f"got {model.output!r}."
        )
    if model.loss == "cross_entropy" and (model.error != "linear" or model.dead_zone):
        raise ConfigError(
            "model.error and model.dead_zone must go with model.loss=half_squared, "
            "got cross_entropy."
        )
    for group, low, high in (
        (model, "init_low", "init_high"),
        (optimizer, "step_min", "step_max"),
        (optimizer, "step_init_low", "step_init_high"),
    ):
        below, above = getattr(group, low, None), getattr(group, high, None)
        name = "model" if group is model else "optimizer"
        if (below is None) != (above is None):
            raise ConfigError(f"{name}.{low} and {name}.{high} must be given together.")
        if below is not None and above is not None and below > above:
            raise ConfigError(
                f"{name}.{low} must be at most {name}.{high} ({above:g}), got {below:g}."
            )


def plain(config: object) -> Any:
    """A config dataclass as nested dicts, lists and scalars, ready for YAML."""
    if hasattr(config, "__dataclass_fields__"):
        return {f.name: plain(getattr(config, f.name)) for f in fields(cast(Any, config))}
    return list(config) if isinstance(config, tuple) else config


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
    nested = [(group, cls) for group, kinds in GROUPS.items() for cls in kinds.values()]
    nested += PARTS.items()
    dotted = [f"{group}.{f.name}" for group, cls in nested for f in fields(cls)]
    return sorted({*TOP, *GROUPS, *PARTS, *SESSION, *dotted})


def conf_dir() -> Path:
    """The folder of configurations: in a wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
