"""Which data set a configuration means, split and standardised."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bpexp.config.schema import (
    Data,
    Encoder,
    File,
    Logic,
    Parity,
    Proben1,
    Spirals,
    Symmetry,
    TrainConfig,
)
from bpexp.data import logic, proben1, table
from bpexp.data.dataset import Dataset
from bpexp.fields.checks import ConfigError
from bpexp.nn.arithmetic import EXACT
from bpexp.typing import Array

Rows = NDArray[np.integer[Any]]
Columns = tuple[Array, Array, tuple[str, ...], tuple[str, ...], bool]


def _named(X: Array, Y: Array) -> Columns:
    inputs = tuple(f"x{i + 1}" for i in range(X.shape[1]))
    targets = tuple(f"y{i + 1}" for i in range(Y.shape[1]))
    return X, Y, inputs, targets, True


def _bundled(loader: str) -> Callable[[Any], Columns]:
    """One of scikit-learn's bundled tables, its class as one-hot targets."""

    def read(config: Data) -> Columns:
        from sklearn import datasets

        bunch = getattr(datasets, loader)()
        Y = np.eye(len(bunch.target_names))[bunch.target]
        inputs = tuple(str(name) for name in bunch.feature_names)
        targets = tuple(str(name) for name in bunch.target_names)
        return bunch.data.astype(np.float64), Y, inputs, targets, True

    return read


def _logic(config: Logic, X: Array, Y: Array) -> Columns:
    for low, high in (("low", "high"), ("input_low", "input_high")):
        below, above = getattr(config, low), getattr(config, high)
        if below >= above:
            raise ConfigError(f"data.{low} must be below data.{high} ({above:g}), got {below:g}.")
    X = logic.written(X, config.input_low, config.input_high)
    return _named(X, logic.written(Y, config.low, config.high))


def _encoder(config: Encoder) -> Columns:
    X, Y = logic.encoder(config.size)
    return _logic(config, 1.0 - X if config.complement else X, Y)


_SOURCES: dict[str, Callable[[Any], Columns]] = {
    "xor": lambda config: _logic(config, *logic.parity(2)),
    "parity": lambda config: _logic(config, *logic.parity(cast(Parity, config).bits)),
    "symmetry": lambda config: _logic(config, *logic.symmetry(cast(Symmetry, config).bits)),
    "encoder": _encoder,
    "spirals": lambda config: _named(
        *logic.spirals(cast(Spirals, config).points, cast(Spirals, config).turns)
    ),
    "iris": _bundled("load_iris"),
    "digits": _bundled("load_digits"),
    "breast_cancer": _bundled("load_breast_cancer"),
    "file": lambda config: table.read(cast(File, config)),
    "proben1": lambda config: proben1.read(cast(Proben1, config).path),
}


def load(config: Data) -> Dataset:
    """The data set of a configuration. Raises ConfigError where it cannot be had.

    Sets are kept, and files read again once they have changed.
    """
    return _load(config, _stamp(config))


def _stamp(config: Data) -> tuple[int, ...]:
    """What tells a file's content from an earlier one; nothing where there is no file."""
    try:
        found = os.stat(getattr(config, "path", ""))
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _load(config: Data, stamp: tuple[int, ...]) -> Dataset:
    X, Y, inputs, targets, classes = _SOURCES[config.name](config)
    if isinstance(config, Proben1):
        _check_no_fractions(config)
        parts = proben1.parts(config.path)
        rows: Sequence[Rows] = np.split(np.arange(len(X)), np.cumsum(parts)[:2])
    else:
        rows = _split(len(X), config)
    train, validation, test = rows
    if config.standardize:
        mean, scale = moments(X[train])
        if not np.isfinite(scale).all():
            raise ConfigError(
                "data.standardize=true must have inputs whose squares add up to a finite number, "
                f"got up to {float(abs(X).max()):g}."
            )
        X = (X - mean) / scale
    return Dataset(
        config.name, X[train], Y[train], X[validation], Y[validation], X[test], Y[test],
        inputs, targets, classes,
    )  # fmt: skip


def _check_no_fractions(config: Proben1) -> None:
    for key in ("test_fraction", "validation_fraction"):
        if getattr(config, key):
            raise ConfigError(
                f"data.{key} must be 0 with data=proben1, whose file says which rows are which, "
                f"got {getattr(config, key):g}."
            )


def moments(X: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, summed in order so that the bits hold
    everywhere; a deviation of 0 counts as 1, and one that no float64 holds is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = EXACT.sum(X, 0) / len(X)
        scale = np.sqrt(EXACT.sum((X - mean) * (X - mean), 0) / len(X))
    scale[scale == 0.0] = 1.0
    return mean, scale


def _split(n: int, config: Data) -> tuple[Rows, Rows, Rows]:
    """Row numbers to train on, to validate and to test with, each in order.

    The rows to test with do not depend on how many validate.
    """
    n_test, n_validation = round(n * config.test_fraction), round(n * config.validation_fraction)
    if n_test >= n:
        raise ConfigError(
            f"data.test_fraction must leave a row to train on, got {config.test_fraction:g} "
            f"of {n} rows."
        )
    if n_test + n_validation >= n:
        raise ConfigError(
            "data.validation_fraction must leave a row to train on, got "
            f"{config.validation_fraction:g} of {n} rows, {n_test} of which test."
        )
    if not n_test + n_validation:
        return np.arange(n), np.arange(0), np.arange(0)
    order = np.random.RandomState(config.split_seed).permutation(n)
    test, validation, train = np.split(order, [n_test, n_test + n_validation])
    return np.sort(train), np.sort(validation), np.sort(test)


def _check_stop(config: TrainConfig, dataset: Dataset) -> None:
    n_validation, stop = len(dataset.X_validation), config.stop
    for name in ("generalization", "progress"):
        if getattr(stop, name) is not None and not n_validation:
            raise ConfigError(
                f"stop.{name} must go with validation rows (data.validation_fraction), got "
                f"{getattr(stop, name):g} without."
            )
    if stop.restart and n_validation:
        raise ConfigError(
            f"stop.restart must go without validation rows, got {stop.restart} with "
            f"{n_validation} of them."
        )


_RANGES = {
    "sigmoid": (0.0, 1.0), "symmetric_sigmoid": (-0.5, 0.5), "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}  # fmt: skip


def check_fit(config: TrainConfig, dataset: Dataset) -> None:
    """Raises ConfigError where output layer or stopping rules do not go with the data."""
    _check_stop(config, dataset)
    Y = np.vstack([dataset.Y, dataset.Y_validation, dataset.Y_test])
    output, loss = config.model.output, config.model.loss
    low, high = float(Y.min()), float(Y.max())
    if output == "sigmoid" and (low < 0.0 or high > 1.0):
        values = np.unique(Y)
        if Y.shape[1] == 1 and 2 < len(values) <= 100 and (values == values.round()).all():
            raise ConfigError(
                f"data.target must hold two classes, 0 and 1, for a single sigmoid output, got "
                f"{len(values)} classes: {', '.join(f'{v:g}' for v in values)} "
                "(data.classes=true makes one output of each)."
            )
    least, most = _RANGES.get(output, (-np.inf, np.inf))
    if low < least or high > most:
        raise ConfigError(
            f"model.output={output} must have targets from {least:g} to {most:g}, "
            f"got {low:g} to {high:g}."
        )
    if output == "softmax" and Y.shape[1] < 2:
        raise ConfigError("model.output=softmax must have at least two outputs, got 1.")
    if output == "softmax" and loss == "cross_entropy":
        sums = Y.sum(axis=1)
        if low < 0.0 or not np.allclose(sums, 1.0):
            raise ConfigError(
                "model.output=softmax with cross_entropy must have targets that add up to 1 in "
                f"each row, got {float(sums[np.argmax(abs(sums - 1.0))]):g}."
            )
