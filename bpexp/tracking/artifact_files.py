"""Parses the artifacts of stored runs as data, without executing code from them.

>>> from bpexp.tracking import artifact_files
>>> artifact_files.mapping("lr: 0.1", "config.yaml")
{'lr': 0.1}
"""

import csv
import io
import os
import zipfile

import numpy as np
import yaml

from bpexp.fields.checks import ConfigError, brief
from bpexp.typing import Array


def mapping(content: bytes | str, name: str) -> dict[str, object]:
    """Parse a mapping from YAML or JSON; only plain values, no Python objects.

    Args:
        content: The content of the file.
        name: What error messages call the file.

    Raises:
        ConfigError: The content is not a mapping.
    """
    try:
        values = yaml.safe_load(content)
    except Exception as error:
        # PyYAML raises errors of many types for malformed scalars.
        raise ConfigError(f"{name} is not valid YAML.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} must be a mapping, got {brief(values)}.")
    return values


def arrays(content: bytes, name: str) -> dict[str, Array]:
    """Parse an NPZ file without unpickling.

    Args:
        content: The content of the file.
        name: What error messages call the file.

    Returns:
        The arrays as float64, by name.

    Raises:
        ConfigError: The file is empty, truncated or malformed, or larger than a quarter of the
            memory.
    """
    _check_not_empty(content, name)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            unpacked = sum(member.file_size for member in file.zip.infolist())
            if unpacked > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4:
                raise ValueError(f"{unpacked / 1e9:.1f} GB unpacked")
            return {key: np.asarray(file[key], np.float64) for key in file.files}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{name} is truncated or damaged.") from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ConfigError(f"{name} must contain arrays of numbers: {reason}.") from error


def predictions(content: bytes, n_outputs: int, name: str) -> Array:
    """Parse predictions.csv.

    Args:
        content: The content of the file.
        n_outputs: The number of outputs, whose predictions are the last columns.
        name: What error messages call the file.

    Returns:
        Predictions, (n_samples, n_outputs).

    Raises:
        ConfigError: The file is empty or truncated, or does not contain numbers.
    """
    _check_not_empty(content, name)
    if not content.endswith(b"\n"):
        raise ConfigError(f"{name} is truncated: its last line has no end.")
    try:
        rows = list(csv.reader(io.StringIO(content.decode())))[1:]
        values = [[float(value) for value in row[-n_outputs:]] for row in rows]
        return np.array(values, np.float64).reshape(len(rows), n_outputs)
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name} must contain numbers: {error}.") from error


def _check_not_empty(content: bytes, name: str) -> None:
    if not content:
        raise ConfigError(f"{name} is empty.")
