"""Digests of runs and of results: equal digests mean equal runs, and bit-identical results.

The identity of a run is the SHA-256 digest, in hexadecimal, of a JSON text. The text is ASCII,
its keys are in alphabetical order at every level, and it contains no spaces:

    {"arithmetic":A,"config":C,"data":{"classes":B,"digest":D},"version":3}

``version`` is the version of this format (``VERSION``). A is the version of the arithmetic
(``nn.arithmetic.VERSION``). C is the configuration as ``parse_train`` types it, without ``data``.
Settings that have their default value are left out, so that a setting added later changes no
existing identity. For the same reason a default never changes after a release. Floating-point
settings are written as the shortest decimal that reads back as the same number (``1.0``), integers
without a decimal point. D is ``Dataset.digest``, which depends on the arrays that are trained on
but not on the format of their file. B is true if the targets are classes. ``data`` ends with the
member ``"scaled_targets":true`` if targets are scaled for training (``data.scale_target``).

>>> from bpexp.runs import identity
>>> import numpy as np
>>> identity.of_arrays("completed", [np.array([0.5, 0.25])])[:8]
'53e89ac8'
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset, load
from bpexp.data.target_scaling import UNSCALED
from bpexp.nn.arithmetic import VERSION as ARITHMETIC_VERSION
from bpexp.runs import run_tags
from bpexp.runs.result import Failure, TrainResult
from bpexp.typing import Array

VERSION = 3
"""Version 3: without the setting ``numerics``. Version 2: keys were renamed (``stop.tolerance``,
Rprop's ``eta_plus`` and others)."""

_NAMES = sorted(f.name for f in fields(TrainConfig))
_DEFAULTS = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}


def of_run(config: TrainConfig, dataset: Dataset | None = None, arithmetic: object = None) -> str:
    """The identity of a run.

    Args:
        config: The configuration.
        dataset: The data of the run; None to load them.
        arithmetic: The version of the arithmetic that the run was trained with; None for the
            present one.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: The data cannot be loaded.
    """
    settings = _json_object(config, [name for name in _NAMES if name != "data"])
    dataset = load(config.data) if dataset is None else dataset
    is_scaled = dataset.scaling_for(config.model.output) is not UNSCALED
    data = _data_json(dataset.is_classification, dataset.digest, is_scaled)
    arithmetic = ARITHMETIC_VERSION if arithmetic is None else arithmetic
    text = f'{{"arithmetic":{arithmetic},"config":{settings},"data":{data},"version":{VERSION}}}'
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_json(config: TrainConfig) -> str:
    """The configuration, with ``data``, in the JSON format above; ``parse_train`` reads it."""
    return _json_object(config, _NAMES)


def of_result(result: TrainResult) -> str:
    """The digest of outcome, losses, predictions, weights and biases. See ``of_arrays``."""
    layers = zip(result.weights, result.biases, strict=True)
    arrays = (result.losses, result.predictions, *(a for layer in layers for a in layer))
    return of_arrays(result.outcome.value, arrays)


def of_arrays(outcome: str, arrays: Iterable[Array]) -> str:
    """The digest of a result, from its parts.

    The digest is over the outcome in UTF-8, followed by each array: the number of axes and the
    shape as little-endian int64, then the values as little-endian float64 in row-major order.

    Args:
        outcome: The value of a ``result.Outcome``.
        arrays: Losses, predictions, W1, b1, W2, b2, ...

    Returns:
        64 hexadecimal digits.
    """
    sha = hashlib.sha256(outcome.encode())
    for array in arrays:
        sha.update(np.array([array.ndim, *array.shape], "<i8").tobytes())
        sha.update(np.ascontiguousarray(array, "<f8").tobytes())
    return sha.hexdigest()


def tags(config: TrainConfig, dataset: Dataset, result: TrainResult | Failure) -> dict[str, str]:
    """Tags that identify a run and allow its reproduction.

    Args:
        config: The configuration of the run.
        dataset: The data that it was trained on.
        result: Its result, or the reason why it has none.

    Returns:
        ``of_config``; with a ``TrainResult`` also its digest.
    """
    digest = {run_tags.RESULT: of_result(result)} if isinstance(result, TrainResult) else {}
    return {**of_config(config, dataset), **digest}


def of_config(config: TrainConfig, dataset: Dataset) -> dict[str, str]:
    """The tags of a run that are known before it is trained.

    Returns:
        Identity, configuration and version of the arithmetic.
    """
    found = {
        run_tags.IDENTITY: of_run(config, dataset),
        run_tags.ARITHMETIC: str(ARITHMETIC_VERSION),
    }
    text = canonical_json(config)
    if len(text) <= run_tags.MAX_LENGTH:
        # A longer configuration is only in the artifact config.yaml.
        found[run_tags.CONFIG] = text
    return found


def _json_object(config: TrainConfig, names: Iterable[str]) -> str:
    values = ((name, getattr(config, name)) for name in names)
    parts = [f'"{name}":{_json_value(value)}' for name, value in values
             if name not in _DEFAULTS or value != _DEFAULTS[name]]  # fmt: skip
    return f"{{{','.join(parts)}}}"


def _json_value(value: Any) -> str:
    # Numbers are usually what a sweep varies, so that caching them would gain nothing.
    return repr(value) if type(value) in (int, float) else _cached_json(value)


# 1 and 1.0 share a cache key, but the schema gives each setting only one of the two types.
@lru_cache(maxsize=1024)
def _cached_json(value: Any) -> str:
    return json.dumps(_without_defaults(value), sort_keys=True, separators=(",", ":"))


def _without_defaults(value: Any) -> Any:
    """A configuration group as a mapping without the settings that have their default."""
    if not hasattr(value, "__dataclass_fields__"):
        return value
    given = {f.name: getattr(value, f.name) for f in fields(value)}
    return {f.name: given[f.name] for f in fields(value) if given[f.name] != f.default}


@lru_cache(maxsize=128)
def _data_json(classes: bool, digest: str, is_scaled: bool) -> str:
    """The data as JSON; cached, since the runs of a sweep share it."""
    found: dict[str, object] = {"classes": classes, "digest": digest}
    if is_scaled:
        found["scaled_targets"] = True
    return json.dumps(found, separators=(",", ":"))
