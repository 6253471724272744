"""Digests that say when two runs are the same run, and when two results are the same bits.

The identity of a run is the SHA-256, in hexadecimal, of this JSON text, in ASCII, with keys
in alphabetical order at every level and no spaces:

    {"arithmetic": A, "config": C, "data": {"classes": B, "digest": D}}

A is the one of ``nn.arithmetic.VERSIONS`` for the run's numerics. C is its configuration as
``parse_train`` types it, with ``numerics`` resolved to exact or native, without ``data``. Of
each group, settings that the schema gives a default are left out where they have it, so that a
setting added later changes no older identity; for the same reason a default, once released, is
never changed. Numbers that the schema calls real are written as the shortest decimal that reads
back (``1.0``), whole ones without a point. D is ``Dataset.digest``: the arrays as they are
trained on, whatever file they came from; B says whether targets stand for classes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import DataConfig, load
from bpexp.nn.arithmetic import VERSIONS
from bpexp.runs.result import TrainResult
from bpexp.typing import Array

_NAMES = sorted(f.name for f in fields(TrainConfig))
_DEFAULTS = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}


def of_run(config: TrainConfig) -> str:
    """The run's identity. ``config.numerics`` must be resolved, as ``plan.make`` does."""
    if config.numerics == "auto":
        raise ValueError("numerics must be resolved before a run has an identity, got 'auto'.")
    settings = _joined(config, [name for name in _NAMES if name != "data"])
    version, data = VERSIONS[config.numerics], _data(config.data)
    text = f'{{"arithmetic":{version},"config":{settings},"data":{data}}}'
    return hashlib.sha256(text.encode()).hexdigest()


def written(config: TrainConfig) -> str:
    """The configuration as canonical JSON, data included; ``config.parse_train`` reads it."""
    return _joined(config, _NAMES)


def of_result(result: TrainResult) -> str:
    """SHA-256 of the outcome's name and every loss, prediction, weight and bias.

    Each array counts as its number of axes and its shape (little-endian int64) and its values
    (little-endian float64, row by row); weights and biases alternate, layer by layer.
    """
    layers = zip(result.weights, result.biases, strict=True)
    arrays = (result.losses, result.predictions, *(a for layer in layers for a in layer))
    return of_arrays(result.outcome.value, arrays)


def of_arrays(outcome: str, arrays: Iterable[Array]) -> str:
    """The same digest of parts: losses, predictions, W1, b1, W2, b2, ..."""
    sha = hashlib.sha256(outcome.encode())
    for array in arrays:
        sha.update(np.array([array.ndim, *array.shape], "<i8").tobytes())
        sha.update(np.ascontiguousarray(array, "<f8").tobytes())
    return sha.hexdigest()


def _joined(config: TrainConfig, names: Iterable[str]) -> str:
    values = ((name, getattr(config, name)) for name in names)
    parts = [f'"{name}":{_part(value)}' for name, value in values
             if name not in _DEFAULTS or value != _DEFAULTS[name]]  # fmt: skip
    return f"{{{','.join(parts)}}}"


def _part(value: Any) -> str:
    # Numbers that a sweep varies are not worth remembering.
    return repr(value) if type(value) in (int, float) else _remembered(value)


# 1 and 1.0 would share a place, but the schema makes each setting always one of them.
@lru_cache(maxsize=1024)
def _remembered(value: Any) -> str:
    return json.dumps(_spare(value), sort_keys=True, separators=(",", ":"))


def _spare(value: Any) -> Any:
    """A group as a mapping without the settings that have their default."""
    if hasattr(value, "__dataclass_fields__"):
        given: Mapping[str, Any] = {f.name: getattr(value, f.name) for f in fields(value)}
        return {f.name: given[f.name] for f in fields(value) if given[f.name] != f.default}
    return value


def _data(config: DataConfig) -> str:
    dataset = load(config)
    return json.dumps({"classes": dataset.classes, "digest": dataset.digest}, separators=(",", ":"))
