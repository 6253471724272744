"""Rules about combinations of settings, and about settings and data.

Rules about single settings are declared with them; every other rule is here.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bpexp.data import DataConfig
from bpexp.data.dataset import Dataset
from bpexp.data.file_settings import FileConfig
from bpexp.data.target_scaling import UNSCALED
from bpexp.fields.checks import ConfigError
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.losses import LOSSES
from bpexp.render.wording import listed
from bpexp.typing import Array

if TYPE_CHECKING:
    from bpexp.config.schema import RuntimeConfig, TrainConfig


class Limits(NamedTuple):
    """Two settings of a group that are the limits of a range.

    Attributes:
        group: The group. Not all of its options have the settings.
        low: The setting of the lower limit.
        high: The setting of the upper limit.
        must_differ: Whether the limits must not be equal.
    """

    group: str
    low: str
    high: str
    must_differ: bool = False


LIMITS = (
    Limits("model", "init_low", "init_high"),
    Limits("optimizer", "step_min", "step_max"),
    Limits("optimizer", "step_init_low", "step_init_high"),
    Limits("data", "low", "high", must_differ=True),
    Limits("data", "input_low", "input_high", must_differ=True),
)


def check_train(train: "TrainConfig") -> None:
    """Check the settings of a run against each other. Raises ConfigError."""
    _check_loss(train)
    for limits in LIMITS:
        group = getattr(train, limits.group)
        low, high = getattr(group, limits.low, None), getattr(group, limits.high, None)
        low_key, high_key = f"{limits.group}.{limits.low}", f"{limits.group}.{limits.high}"
        if (low is None) != (high is None):
            raise ConfigError(f"{low_key} and {high_key} must be given together.")
        if low is None or high is None:
            continue
        if limits.must_differ and low >= high:
            raise ConfigError(f"{low_key} must be below {high_key} ({high:g}), got {low:g}.")
        if low > high:
            raise ConfigError(f"{low_key} must be at most {high_key} ({high:g}), got {low:g}.")
    _check_split(train.data)


def _check_split(data: DataConfig) -> None:
    if data.name == "proben1":
        for name in ("test_fraction", "validation_fraction", "folds"):
            if getattr(data, name):
                raise ConfigError(
                    f"data.{name} must be {'null' if name == 'folds' else 0} with data=proben1, "
                    f"whose file defines the split, got {getattr(data, name):g}."
                )
    if isinstance(data, FileConfig) and data.test_path is not None and data.test_fraction:
        raise ConfigError(
            f"data.test_fraction must be 0 with data.test_path, got {data.test_fraction:g}."
        )
    if data.fold is not None and (data.folds is None or data.fold >= data.folds):
        limit = "null without data.folds" if data.folds is None else f"below {data.folds}"
        raise ConfigError(f"data.fold must be {limit}, got {data.fold}.")
    if data.folds is not None and data.validation_fraction:
        raise ConfigError(
            "data.validation_fraction must be 0 with data.folds, whose folds are the validation "
            f"rows, got {data.validation_fraction:g}."
        )


def _check_loss(train: "TrainConfig") -> None:
    model = train.model
    loss = LOSSES[model.loss]
    if model.output not in loss.outputs:
        raise ConfigError(
            f"model.loss={model.loss} must go with model.output={' or '.join(loss.outputs)}, "
            f"got {model.output!r}."
        )
    if not loss.uses_error_signal and (model.error != "linear" or model.dead_zone):
        raise ConfigError(
            "model.error and model.dead_zone must go with model.loss=half_squared, "
            f"got {model.loss}."
        )


def check_runtime(runtime: "RuntimeConfig") -> None:
    """Check the settings of the execution against each other. Raises ConfigError."""
    if runtime.export and not runtime.tracking.runs:
        raise ConfigError("export=best must go with tracking.runs=true, got false.")
    if runtime.tracking.name == "latest":
        raise ConfigError(
            "tracking.name must not be latest, which stands for the run that started last."
        )
    budget, search = runtime.budget, runtime.search
    if budget != type(budget)() and not runtime.tracking.runs:
        raise ConfigError("budget.* must go with tracking.runs=true, got false.")
    seeds = runtime.seeds
    if seeds.name is None and seeds != type(seeds)():
        raise ConfigError("seeds.max, seeds.width and seeds.block go with seeds=auto.")
    if seeds.name is not None and search.name is not None:
        raise ConfigError(
            "seeds=auto goes with a grid; the trials of a search have the same seeds: "
            "'seed=range(0,20)'."
        )
    if seeds.name is not None and search.halving is not None:
        raise ConfigError(
            "search.halving compares combinations with the same seeds; leave out seeds=auto, and "
            "give the seeds: 'seed=range(0,20)'."
        )
    defaults = type(search)()
    own = ["trials", "generation"]
    if search.brackets == 1:
        # Otherwise the seed deals the combinations of a grid to the brackets.
        own.append("seed")
    if search.name is None and any(getattr(search, k) != getattr(defaults, k) for k in own):
        raise ConfigError("search.trials, search.generation and search.seed go with search=NAME.")
    if (search.halving is None) != (search.min_epochs is None):
        raise ConfigError(
            "search.halving and search.min_epochs go together, as in search.halving=3 "
            "search.min_epochs=200."
        )
    if search.name == "lr_range" and (search.halving or not runtime.tracking.runs):
        rule = "must be null" if search.halving else "must be true"
        key = "search.halving" if search.halving else "tracking.runs"
        raise ConfigError(f"{key} {rule} with search=lr_range, which compares all runs.")
    if search.halving is None and search.brackets > 1:
        raise ConfigError("search.brackets goes with search.halving and search.min_epochs.")
    if search.halving is not None and budget != type(budget)():
        raise ConfigError("search.halving limits the epochs itself; leave out budget.*.")


def check_data(train: "TrainConfig", dataset: Dataset) -> None:
    """Check the output layer and the stopping criteria against the data. Raises ConfigError."""
    _check_stop(train, dataset)
    _check_scaled_targets(train, dataset)
    if train.model.class_weight != "none":
        _check_class_weight(train.model.class_weight, dataset)
    Y = np.vstack([dataset.Y, dataset.Y_validation, dataset.Y_test])
    output = train.model.output
    low, high = dataset.target_range
    if output == "sigmoid" and (low < 0.0 or high > 1.0):
        values = np.unique(Y)
        if Y.shape[1] == 1 and 2 < len(values) <= 100 and (values == values.round()).all():
            raise ConfigError(
                f"data.target must hold two classes, 0 and 1, for a single sigmoid output, got "
                f"{len(values)} classes: {', '.join(f'{v:g}' for v in values)}; for an output "
                "per class add data.task=classification."
            )
    least, most = ACTIVATIONS[output].range
    if low < least or high > most:
        raise ConfigError(
            f"model.output={output} must have targets from {least:g} to {most:g}, "
            f"got {low:g} to {high:g}; model=regressor has no limits."
        )
    if output == "softmax":
        _check_softmax(train, dataset, Y)


def _check_scaled_targets(train: "TrainConfig", dataset: Dataset) -> None:
    """Several scaled targets have no common unit for a tolerance or a loss."""
    is_scaled = dataset.scaling_for(train.model.output) is not UNSCALED
    if not is_scaled or len(dataset.targets) == 1:
        return
    for key, value in (
        ("stop.tolerance", train.stop.tolerance), ("model.dead_zone", train.model.dead_zone)
    ):  # fmt: skip
        if value:
            raise ConfigError(
                f"{key} must go with one target if targets are scaled, got {len(dataset.targets)}; "
                "add data.scale_target=false."
            )


def _check_class_weight(class_weight: str, dataset: Dataset) -> None:
    """Weights of classes need one label, all of whose classes are in the training rows."""
    setting = f"model.class_weight={class_weight}"
    if not dataset.is_classification:
        raise ConfigError(
            f"{setting} must go with classes, but {listed(dataset.targets[:3])} "
            f"{'is a quantity' if len(dataset.targets) == 1 else 'are quantities'}; leave it out, "
            "or make each value a class with data.task=classification."
        )
    if not dataset.is_one_hot and len(dataset.targets) > 1:
        raise ConfigError(
            f"{setting} must go with one label, got {len(dataset.targets)} labels in each row."
        )
    names = dataset.targets if dataset.is_one_hot else [
        f"{dataset.targets[0]}={value:g}" for value in dataset.two_values
    ]  # fmt: skip
    lacking = [name for name, n in zip(names, dataset.class_counts, strict=True) if not n]
    if lacking:
        raise ConfigError(
            f"{setting} must have training rows of every class, but no training row has "
            f"{lacking[0]}; add data.stratify=true, or leave out model.class_weight."
        )


def _check_softmax(train: "TrainConfig", dataset: Dataset, Y: Array) -> None:
    if Y.shape[1] < 2:
        data = train.data
        if dataset.is_one_hot:
            raise ConfigError(
                f"data.target must hold at least two classes, got only {dataset.labels[0]!r}."
            )
        if isinstance(data, FileConfig) and (Y.round() == Y).all():
            raise ConfigError(
                "model.output=softmax needs an output for each class, but the integers in column "
                f"{data.target[0]!r} are read as one number; add data.task=classification."
            )
        is_probability = bool((Y >= 0.0).all() and (Y <= 1.0).all())
        raise ConfigError(
            f"model.output=softmax needs at least two outputs, but data={data.name} has one; use "
            f"{'model.output=sigmoid' if is_probability else 'model=regressor'} instead."
        )
    sums = Y.sum(axis=1)
    if train.model.loss == "cross_entropy" and (Y.min() < 0.0 or not np.allclose(sums, 1.0)):
        raise ConfigError(
            "model.output=softmax with cross_entropy must have targets that add up to 1 in "
            f"each row, got {float(sums[np.argmax(abs(sums - 1.0))]):g}."
        )


def _check_stop(train: "TrainConfig", dataset: Dataset) -> None:
    n_validation, stop = len(dataset.X_validation), train.stop
    for name in ("generalization", "progress"):
        if getattr(stop, name) is not None and not n_validation:
            raise ConfigError(
                f"stop.{name} must go with validation rows; add data.validation_fraction=0.2."
            )
    if stop.progress is not None and stop.validation_interval == 1:
        raise ConfigError(
            "stop.progress compares the training losses of the epochs between two evaluations, of "
            "which stop.validation_interval=1 has only one; add stop.validation_interval=5."
        )
    if stop.restart and n_validation:
        raise ConfigError(
            f"stop.restart must go without validation rows, got {stop.restart} with "
            f"{n_validation} of them."
        )
