"""Writes NPZ files, and parses artifacts of stored runs as data without executing code from them.

>>> from bpexp.tracking import artifact_files
>>> artifact_files.mapping("lr: 0.1", "config.yaml")
{'lr': 0.1}
"""

import io
import math
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bpexp.fields.checks import ConfigError, brief
from bpexp.guards import yaml_size
from bpexp.guards.memory_limit import content_limit
from bpexp.tracking import stored_zip
from bpexp.typing import Array

MAX_VALUES = 1_000_000
"""The largest number of values in a mapping: a configuration may list thousands of columns."""


def mapping(content: bytes | str, name: str) -> dict[str, object]:
    """Parse a mapping from YAML or JSON; only plain values, no Python objects.

    Args:
        content: The content of the file.
        name: What error messages call the file.

    Raises:
        ConfigError: The content is not a mapping, or too large.
    """
    yaml_size.check(content, name, MAX_VALUES)
    try:
        values = yaml.safe_load(content)
    except Exception as error:
        # PyYAML raises errors of many types for malformed scalars.
        raise ConfigError(f"{name} is not valid YAML.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} must be a mapping, got {brief(values)}.")
    return values


def npz(named: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of an NPZ file, byte for byte that of ``np.savez``.

    Args:
        named: Arrays of numbers by name, in ASCII.
    """
    members = {
        f"{name}.npy": _npy_header(array.shape, array.flags.fnc, array.dtype) + array.tobytes("A")
        for name, array in named.items()
    }
    content = stored_zip.written(members)
    if content is not None:
        return content
    buffer = io.BytesIO()
    np.savez(buffer, **named)  # type: ignore[arg-type]
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _npy_header(shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype[Any]) -> bytes:
    """The header of an NPY file. Cached because the runs of a sweep share few headers."""
    stream = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    values = {"descr": described, "fortran_order": is_fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, values)
    return stream.getvalue()


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
    if not content:
        raise ConfigError(f"{name} is empty.")
    if not content.startswith(b"PK"):
        raise ConfigError(f"{name} must contain arrays of numbers: it is not an NPZ file.")
    try:
        stored = stored_zip.members(content)
        if stored is not None:
            return {key.removesuffix(".npy"): _array(member) for key, member in stored.items()}
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            unpacked = sum(member.file_size for member in file.infolist())
            if unpacked > content_limit():
                raise ValueError(f"{unpacked / 1e9:.1f} GB unpacked")
            return {key.removesuffix(".npy"): _array(file.read(key)) for key in file.namelist()}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{name} is truncated or damaged.") from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ConfigError(f"{name} must contain arrays of numbers: {reason}.") from error


def _array(content: bytes) -> Array:
    """The array of an NPY file as float64. Raises ValueError for another content."""
    length = {1: 2, 2: 4, 3: 4}.get(content[6] if len(content) > 10 else 0, 0)
    start = 8 + length + int.from_bytes(content[8 : 8 + length], "little")
    shape, is_fortran, dtype = _header(content[:start])
    count = math.prod(shape)
    if len(content) - start != count * dtype.itemsize:
        raise ValueError("an array is truncated")
    if not count:
        return np.empty(shape)
    values = np.frombuffer(content, dtype, count, start)
    return np.array(values.reshape(shape, order="F" if is_fortran else "C"), np.float64)


@lru_cache(maxsize=256)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, order and type of an NPY file from its header.

    Cached because NumPy parses it as Python code, and the runs of a sweep share few headers.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the NPY format")
    shape, is_fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    return shape, is_fortran, dtype
