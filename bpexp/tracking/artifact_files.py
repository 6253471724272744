"""Parses the artifacts of stored runs as data, without executing code from them.

>>> from bpexp.tracking import artifact_files
>>> artifact_files.mapping("lr: 0.1", "config.yaml")
{'lr': 0.1}
"""

import io
import math
import struct
import zipfile
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
import yaml

from bpexp.fields import yaml_size
from bpexp.fields.checks import ConfigError, brief
from bpexp.fields.memory_limit import content_limit
from bpexp.typing import Array

MAX_VALUES = 1_000_000
"""The largest number of values in a mapping: a configuration may list thousands of columns."""
_END = struct.Struct("<4s4H2LH")
"""The last record of a zip file: the number of members, size and place of their directory."""
_ENTRY = struct.Struct("<4s6H3L5H2L")
"""An entry of the directory: compression, checksum, sizes, length of the name, place."""
_LOCAL = struct.Struct("<4s5H3L2H")
"""What stands before the name of each member."""
_VERSION = 45
"""The version of the zip format that NumPy asks for."""


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
    if not content.startswith(b"PK"):
        raise ConfigError(f"{name} must contain arrays of numbers: it is not an NPZ file.")
    try:
        stored = _stored_members(content)
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


def _stored_members(content: bytes) -> dict[str, bytes] | None:
    """The members of a zip file without compression, as ``np.savez`` writes it; None for others.

    The zipfile module takes most of the time in which thousands of small files are checked. It
    reads every file in which something is unusual or wrong, and says what.
    """
    if len(content) < _END.size:
        return None
    end = _END.unpack_from(content, len(content) - _END.size)
    signature, *_, n_members, size, at, comment = end
    last = len(content) - _END.size
    # A file of more than 4 GB has another record before the last one.
    is_large = content[max(0, last - 20) : last].startswith(b"PK\6\7")
    if signature != b"PK\5\6" or comment or is_large or at + size != last:
        return None
    found: dict[str, bytes] = {}
    for _ in range(n_members):
        if at + _ENTRY.size > last:
            return None
        entry = _ENTRY.unpack_from(content, at)
        signature, _, needed, flags, method, _, _, crc, packed, size, n_name, *rest, place = entry
        n_extra, n_comment = rest[:2]
        name = content[at + _ENTRY.size : at + _ENTRY.size + n_name]
        if signature != b"PK\1\2" or flags or method or packed != size or n_extra or n_comment:
            return None
        start = place + _LOCAL.size
        if start > last or needed > _VERSION or not name.isascii() or b"\0" in name:
            return None
        signature, _, flags, method, *_, n_local, n_extra = _LOCAL.unpack_from(content, place)
        is_same = content[start : start + n_local] == name and not flags and not method
        start += n_local + n_extra
        member = content[start : start + size]
        if signature != b"PK\3\4" or not is_same or zlib.crc32(member) != crc:
            return None
        if len(member) != size:
            return None
        found[name.decode()] = member
        at += _ENTRY.size + n_name
    return found if len(found) == n_members and at == last else None


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


def _check_not_empty(content: bytes, name: str) -> None:
    if not content:
        raise ConfigError(f"{name} is empty.")
