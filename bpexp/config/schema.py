"""The schema of the configuration.

``TrainConfig`` holds everything that can change the numbers of a run, ``RuntimeConfig``
everything that cannot. The settings of data sets, optimizers and schedules are declared beside
their implementations and looked up in the registries.

>>> from bpexp.config.compose import compose
>>> train, runtime = parse(compose(["optimizer=adam", "hidden=[8,4]"]))
>>> train.hidden, train.optimizer.beta1, runtime.backend.name
((8, 4), 0.9, 'local')
>>> parse(compose(["data=parity"]) | {"lr": -1})
Traceback (most recent call last):
    ...
bpexp.fields.checks.ConfigError: lr must be a finite number above 0, got -1.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from bpexp.config import combinations
from bpexp.config.options import SHORTHANDS
from bpexp.data.registry import DATA_SOURCES, DataConfig
from bpexp.fields import REQUIRED, Registry, Setting, setting, settings_of
from bpexp.fields.checks import (
    Boolean,
    ConfigError,
    Integer,
    OneOf,
    Optional,
    Real,
    Rule,
    Tags,
    TagValues,
    Text,
    Widths,
    Workers,
    brief,
    unknown,
)
from bpexp.nn.activations import ACTIVATIONS, elementwise_activations
from bpexp.nn.init import INITIALIZERS
from bpexp.nn.losses import ERROR_SIGNALS, LOSSES
from bpexp.nn.optimizers import OPTIMIZERS, OptimizerConfig
from bpexp.nn.schedules import SCHEDULES, ScheduleConfig

T = TypeVar("T")

MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Activations, loss and initial weights of the network."""

    activation: str = setting(
        OneOf(elementwise_activations), "sigmoid", "activation of the hidden layers"
    )
    output: str = setting(OneOf(ACTIVATIONS), "sigmoid", "activation of the output layer")
    loss: str = setting(OneOf(LOSSES), "half_squared", "loss function")
    class_weight: str = setting(
        OneOf(("none", "balanced")), "none", "balanced: each class has the same share of the loss"
    )
    error: str = setting(OneOf(ERROR_SIGNALS), "linear", "error signal of the loss half_squared")
    dead_zone: float = setting(Real(0.0), 0.0, "output errors below this magnitude count as 0")
    derivative_offset: float = setting(
        Real(0.0),
        0.0,
        "added to the derivative of hidden units; of outputs with half_squared, except softmax",
    )
    bias_input: float = setting(Real(), 1.0, "input of the bias weights")
    init: str = setting(OneOf(INITIALIZERS), "uniform", "distribution of the initial weights")
    init_low: float = setting(Real(), 0.0, "lower limit of init=uniform")
    init_high: float = setting(Real(), 1.0, "upper limit of init=uniform")
    init_seed: int | None = setting(
        Optional(Integer(0, MAX_SEED)), None, "seed of the initial weights alone; null: seed"
    )


@dataclass(frozen=True, kw_only=True)
class StopConfig:
    """Stopping criteria; null turns a criterion off."""

    loss: float | None = setting(
        Optional(Real(0.0)), None, "stop when the training loss per sample is at most this"
    )
    tolerance: float | None = setting(
        Optional(Real(above=0.0)), None, "stop when all outputs are this close to their targets"
    )
    patience: int | None = setting(
        Optional(Integer(1)),
        None,
        "stop after this many epochs without a new lowest (validation) loss",
    )
    restart: int | None = setting(
        Optional(Integer(1)),
        None,
        "draw new initial weights after this many epochs without convergence",
    )
    validation_interval: int = setting(
        Integer(1), 1, "epochs between two evaluations of the validation rows"
    )
    generalization: float | None = setting(
        Optional(Real(0.0)),
        None,
        "stop when the generalization loss GL (Prechelt 1994) exceeds this, in %",
    )
    progress: float | None = setting(
        Optional(Real(above=0.0)),
        None,
        "stop when the training progress P (Prechelt 1994) is below this, in ‰",
    )

    @property
    def may_stop_early(self) -> bool:
        """Whether a run may end before its last epoch."""
        criteria = (self.loss, self.tolerance, self.patience, self.generalization, self.progress)
        return any(criterion is not None for criterion in criteria)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that the result of a run depends on."""

    seed: int = setting(
        Integer(0, MAX_SEED), REQUIRED, "random seed of initial weights and sample order"
    )
    lr: float = setting(
        Real(above=0.0),
        REQUIRED,
        "learning rate; the gradient is the sum over the samples of an update, not their mean",
    )
    epochs: int = setting(Integer(1, 10**9), REQUIRED, "maximum number of epochs")
    hidden: tuple[int, ...] = setting(
        Widths(), REQUIRED, "width of the hidden layer, or a list of widths; [] for none"
    )
    batch_size: int | None = setting(
        Optional(Integer(1)), None, "samples per update, in random order; null: all samples"
    )
    order_seed: int | None = setting(
        Optional(Integer(0, MAX_SEED)), None, "seed of the sample order alone; null: seed"
    )
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    stop: StopConfig


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where and how runs are tracked."""

    uri: str | None = setting(
        Optional(Text()), None, "MLflow store; null: MLFLOW_TRACKING_URI or SQLite in ./outputs"
    )
    experiment: str = setting(Text(500), "bpexp", "name of the MLflow experiment")
    name: str | None = setting(
        Optional(Text(200)), None, "name of the run or sweep; null: made of its settings"
    )
    tags: Mapping[str, str] = setting(
        TagValues(), Tags(), "tags of your own: tracking.tags.KEY=VALUE"
    )
    points: int = setting(Integer(0), 100, "points of the loss curve that are logged per run")
    runs: bool = setting(Boolean(), True, "false: track a sweep as one run with a table of results")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What runs are compared by; ``objective=NAME`` is short for ``objective.name=NAME``."""

    name: str | None = setting(
        Optional(Text(100)),
        None,
        "metric to compare runs by; null: validation loss, epochs to converge or final loss",
    )
    allow_test: bool = setting(
        Boolean(), False, "true: the objective may be a metric of the test rows"
    )


SEARCHES = ("random", "sobol", "tpe", "cma_es", "gp", "lr_range")
"""The values of ``search``."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How a search proposes trials; ``search=NAME`` is short for ``search.name=NAME``."""

    name: str | None = setting(
        Optional(OneOf(SEARCHES)), None, "method of a search; null: all combinations are trained"
    )
    trials: int = setting(Integer(1, 10**6), 50, "maximum number of trials of a search")
    generation: int = setting(Integer(1, 10**4), 10, "trials that a search proposes at once")
    seed: int = setting(Integer(0, MAX_SEED), 0, "random seed of a search")
    halving: int | None = setting(
        Optional(Integer(2, 100)),
        None,
        "keep the best 1 in this number of combinations when they are judged; null: all",
    )
    min_epochs: int | None = setting(
        Optional(Integer(1)), None, "epochs after which search.halving judges for the first time"
    )
    brackets: int = setting(
        Integer(1, 100),
        1,
        "number of groups of combinations, each of which is first judged later than the one before",
    )


@dataclass(frozen=True, kw_only=True)
class SeedsConfig:
    """How many seeds each combination gets; ``seeds=auto`` is short for ``seeds.name=auto``."""

    name: str | None = setting(
        Optional(OneOf(("auto",))),
        None,
        "auto: the results decide how many seeds; null: those of seed",
    )
    max: int = setting(Integer(1, 10**6), 200, "maximum number of seeds of a combination")
    width: float | None = setting(
        Optional(Real(above=0.0)),
        0.05,
        "end at this half width of the best median's interval, relative to the median; null: never",
    )
    block: int = setting(
        Integer(1, 10**6), 10, "seeds that are trained before combinations are compared again"
    )


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """When a sweep ends before all of its runs are trained; null: never."""

    runs: int | None = setting(
        Optional(Integer(1)), None, "end a sweep after this number of runs; null: train all"
    )
    epochs: int | None = setting(
        Optional(Integer(1)),
        None,
        "end a sweep before its runs have more epochs in total than this",
    )
    seconds: float | None = setting(
        Optional(Real(above=0.0)),
        None,
        "end a sweep after this number of seconds, between two batches",
    )


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """Settings of every backend."""

    name: str = setting(Text(), REQUIRED, "name of the backend")


@dataclass(frozen=True, kw_only=True)
class DaskConfig(BackendConfig):
    """Settings of ``dask``."""

    address: str | None = setting(
        Optional(Text()), None, "tcp://HOST:8786 of the scheduler; null: DASK_SCHEDULER_ADDRESS"
    )


@dataclass(frozen=True)
class Backend:
    """Where runs are trained.

    Attributes:
        name: The value of ``backend``.
        config: The dataclass of its settings.
    """

    name: str
    config: type[BackendConfig]


BACKENDS = Registry(
    "backend",
    [
        Backend("local", BackendConfig),
        Backend("serial", BackendConfig),
        Backend("dask", DaskConfig),
    ],
)


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How runs are executed and tracked; no setting changes a result."""

    n_jobs: int = setting(
        Workers(),
        -1,
        "number of workers of backend=local; -1: all processors; idle ones help with large runs",
    )
    engine: str = setting(
        OneOf(("auto", "numpy", "compiled")),
        "auto",
        "training engine, changes only the speed; auto: compiled",
    )
    reuse: bool = setting(
        Boolean(), False, "link equal runs of the experiment instead of training them again"
    )
    dry_run: bool = setting(Boolean(), False, "say how long training would take, and write nothing")
    export: str | None = setting(
        Optional(OneOf(("best",))), None, "best: log the network of the best run as a model"
    )
    confirm: int = setting(
        Integer(0, 10**6),
        0,
        "number of fresh seeds on which the best 3 combinations are trained again; 0: none",
    )
    backend: BackendConfig
    tracking: TrackingConfig
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    seeds: SeedsConfig = field(default_factory=SeedsConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)


class Option(Protocol):
    """A record that can be chosen for a group, as in ``optimizer=adam``."""

    @property
    def config(self) -> type:
        """The dataclass of its settings."""
        ...


NAMED_GROUPS: dict[str, Mapping[str, Option]] = {
    "data": DATA_SOURCES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "backend": BACKENDS,
}  # fmt: skip
"""Groups whose settings depend on their ``name``, with the record of each name."""
FIXED_GROUPS: dict[str, type[Any]] = {
    "model": ModelConfig, "stop": StopConfig, "objective": ObjectiveConfig,
    "search": SearchConfig, "seeds": SeedsConfig, "budget": BudgetConfig,
    "tracking": TrackingConfig,
}  # fmt: skip
"""Groups that always have the same settings, with their dataclass, in the order of the help."""


def configs_of(group: str) -> dict[str, type[Any]]:
    """The dataclasses of a group's settings.

    Args:
        group: A group, or any other key.

    Returns:
        That of each option by its name; that of a group without options by ""; none for a key that
        is no group.
    """
    if group in FIXED_GROUPS:
        return {"": FIXED_GROUPS[group]}
    return {name: option.config for name, option in NAMED_GROUPS.get(group, {}).items()}


TRAIN = tuple(f.name for f in fields(TrainConfig))
"""The top-level keys on which results depend."""
RUNTIME = tuple(f.name for f in fields(RuntimeConfig))
"""The top-level keys that cannot change a result."""
_TRAIN_KEYS, _RUNTIME_KEYS = frozenset(TRAIN), frozenset(RUNTIME)


def parse(values: Mapping[str, Any]) -> tuple[TrainConfig, RuntimeConfig]:
    """Check a composed configuration and convert it to dataclasses.

    Args:
        values: Nested dicts, lists and scalars.

    Raises:
        ConfigError: One sentence about the first rule that is broken.
    """
    train, runtime = {}, {}
    for key, value in values.items():
        if key in _TRAIN_KEYS:
            train[key] = value
        elif key in _RUNTIME_KEYS:
            runtime[key] = value
        else:
            raise unknown_key(str(key))
    return parse_train(train), parse_runtime(runtime)


def parse_train(values: Mapping[str, Any]) -> TrainConfig:
    """Check and convert the settings that a result depends on. Raises ConfigError."""
    for key in values:
        if key in _RUNTIME_KEYS:
            raise ConfigError(f"{key} must be left out here: no result depends on it.")
    train = _build(TrainConfig, values, "")
    combinations.check_train(train)
    return train


def parse_runtime(values: Mapping[str, Any]) -> RuntimeConfig:
    """Check and convert the settings that no result depends on. Raises ConfigError."""
    # All runs of a sweep have the same ones.
    runtime = _build_once(RuntimeConfig, values, "")
    combinations.check_runtime(runtime)
    return runtime


def _build(config: type[T], values: object, prefix: str) -> T:
    """Check the values of a dataclass's settings and of its groups."""
    values = _group(values, prefix)
    declared = _declared(cast(Any, config))
    for key in values:
        if key not in declared.parts:
            raise unknown_key(f"{prefix}{key}")
    # OmegaConf writes "???" for a value that must be given.
    lacking = [
        name
        for name, one in declared.parts.items()
        if one is not None and _is_lacking(values.get(name, one.default))
    ]
    if lacking:
        keys = " and ".join(f"{prefix}{name}" for name in lacking)
        typed = " ".join(f"{prefix}{name}={name.upper()}" for name in lacking)
        raise ConfigError(f"{keys} must be given; type {typed}.")
    checked: dict[str, Any] = {}
    for name, one in declared.parts.items():
        if one is None:
            if name in values:
                checked[name] = _build_group(name, values[name])
            elif name not in declared.optional_groups:
                raise ConfigError(f"{name} must be given.")
        elif name in values:
            checked[name] = one.rule(prefix + name, values[name])
    return config(**checked)


def _is_lacking(value: Any) -> bool:
    # A value from Python may be one, as that of pandas, that cannot be compared.
    return value is REQUIRED or (isinstance(value, str) and value == "???")


class _Declared(NamedTuple):
    """What a dataclass declares.

    Attributes:
        parts: Its settings by name, and None by the name of each of its groups.
        optional_groups: The names of groups that need not be given.
    """

    parts: Mapping[str, Setting | None]
    optional_groups: frozenset[str]


@cache
def _declared(config: Any) -> _Declared:
    settings = {s.name: s for s in settings_of(config)}
    return _Declared(
        {f.name: settings.get(f.name) for f in fields(config)},
        frozenset(f.name for f in fields(config) if f.default_factory is not MISSING),
    )


def _build_group(group: str, values: object) -> Any:
    if group in SHORTHANDS and not isinstance(values, Mapping):
        values = {SHORTHANDS[group].rpartition(".")[2]: values}
    # This is called for each job, and ``configs_of`` lists all options.
    if group in FIXED_GROUPS:
        return _build_once(FIXED_GROUPS[group], values, f"{group}.")
    options, name = NAMED_GROUPS[group], _group(values, f"{group}.").get("name")
    if not isinstance(name, str) or name not in options:
        raise ConfigError(f"{group}.name must be one of {', '.join(options)}, got {brief(name)}.")
    return _build_once(options[name].config, values, f"{group}.")


_MAX_BUILT = 1024
_built: dict[tuple[type, str, str], Any] = {}
"""Groups by their class, prefix and values: the runs of a sweep share most of them."""


def _build_once(config: type[T], values: object, prefix: str) -> T:
    """``_build``, whose result is kept; equal values give the same object."""
    # The text distinguishes 1, 1.0 and True, which are equal.
    key = (config, prefix, repr(values))
    built = _built.get(key)
    if built is None:
        if len(_built) >= _MAX_BUILT:
            _built.clear()
        built = _built[key] = _build(config, values, prefix)
    return cast(T, built)


def _group(values: object, prefix: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')} must be a group of settings, got {brief(values)}.")
    return values


def keys() -> list[str]:
    """All keys of the configuration, with dots, sorted."""
    dotted = {
        f"{group}.{s.name}"
        for group in (*NAMED_GROUPS, *FIXED_GROUPS)
        for config in configs_of(group).values()
        for s in settings_of(config)
    }
    return sorted({*TRAIN, *RUNTIME, *dotted})


def train_keys() -> list[str]:
    """The dotted keys on which results depend, as declared: the order in which settings are listed.

    >>> train_keys()[:5], train_keys().index("data.name") < train_keys().index("model.output")
    (['seed', 'lr', 'epochs', 'hidden', 'batch_size'], True)
    """
    names: list[str] = []
    for name in TRAIN:
        configs = configs_of(name).values()
        names += [f"{name}.{s.name}" for one in configs for s in settings_of(one)] or [name]
    return list(dict.fromkeys(names))


def options_with(key: str) -> list[str]:
    """The options of a group that have the dotted key: ["momentum", "nesterov"]."""
    group, _, name = key.partition(".")
    return [
        option
        for option, config in configs_of(group).items()
        if option and any(s.name == name for s in settings_of(config))
    ]


def setting_of(key: str) -> Setting | None:
    """The declaration of a dotted key, of any option; None for groups and unknown keys."""
    group, _, name = key.rpartition(".")
    configs = configs_of(group).values() if group else (TrainConfig, RuntimeConfig)
    return next((s for config in configs for s in settings_of(config) if s.name == name), None)


def rule_of(key: str) -> Rule | None:
    """The rule of a setting for values other than null; None for groups and unknown keys."""
    declared = setting_of(key)
    rule = None if declared is None else declared.rule
    return rule.rule if isinstance(rule, Optional) else rule


def takes_numbers(key: str) -> bool:
    """Whether the values of a setting are numbers, or widths of layers."""
    return isinstance(rule_of(key), Integer | Real | Widths)


def unknown_key(key: str) -> ConfigError:
    """The error for a key that the composed configuration does not have."""
    known = keys()
    if key == "sweep":
        return ConfigError(
            "sweep=NAME is a file of sub-sweeps, which only a new sweep takes: bpexp -m sweep=NAME."
        )
    if key == "study":
        return ConfigError("study is for the command line: bpexp -m +study=NAME.")
    if key.startswith("tracking.tags."):
        return ConfigError(
            f"{key} is a tag of the whole sweep; type it when the sweep starts, as an argument "
            "outside of sub-sweeps and zip(...)."
        )
    if key not in known:
        # Files of sub-sweeps are no part of a configuration.
        return unknown(key, [*known, "sweep"])
    if key == "tracking.tags":
        return ConfigError("tracking.tags are typed one by one: tracking.tags.KEY=VALUE.")
    if key in (*NAMED_GROUPS, *FIXED_GROUPS):
        name = f"{key}=NAME " if key in NAMED_GROUPS else ""
        return ConfigError(
            f"{key}={{...}} has a setting that {key} does not have; type them one by one: "
            f"{name}{key}.SETTING=VALUE."
        )
    group, options = key.partition(".")[0], options_with(key)
    if not options:
        return ConfigError(f"{key} cannot be set here.")
    return ConfigError(
        f"{key} is a setting of {group}={' or '.join(options)}; add {group}={options[0]}."
    )


def plain(config: object) -> Any:
    """A config dataclass as nested dicts, lists and scalars, which YAML can hold."""
    if isinstance(config, Tags):
        return dict(config)
    if hasattr(config, "__dataclass_fields__"):
        return {f.name: plain(getattr(config, f.name)) for f in fields(cast(Any, config))}
    return list(config) if isinstance(config, tuple) else config


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined with dots.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
