"""The files of a stored run, read as data; whatever is wrong with one is a ConfigError."""

import csv
import io
import os

import numpy as np
import yaml

from bpexp.fields.checks import ConfigError, brief
from bpexp.typing import Array


def mapping(content: bytes | str, name: str) -> dict[str, object]:
    """The mapping that YAML, or JSON, holds: plain values only, never objects of Python's."""
    try:
        values = yaml.safe_load(content)
    except Exception as error:
        # The reader of YAML raises errors of many kinds on what is not YAML.
        raise ConfigError(f"{name} must be readable, got a broken one.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} must be a mapping, got {brief(values)}.")
    return values


def arrays(content: bytes, name: str) -> dict[str, Array]:
    """The arrays of an NPZ file, as float64; nothing is unpickled."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            unpacked = sum(member.file_size for member in kept.zip.infolist())
            if unpacked > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4:
                raise ValueError(f"{unpacked / 1e9:.1f} GB unpacked")
            return {key: np.asarray(kept[key], np.float64) for key in kept.files}
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{name} must hold arrays of numbers, got {said}.") from error


def predictions(content: bytes, n_outputs: int, name: str) -> Array:
    """The last columns of predictions.csv, (n_samples, n_outputs)."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode())))[1:]
        values = [[float(value) for value in row[-n_outputs:]] for row in rows]
        return np.array(values, np.float64).reshape(len(rows), n_outputs)
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name} must hold numbers, got {error}.") from error
