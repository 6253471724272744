"""Writes and reads zip files without compression, as ``np.savez`` does, in a fraction of the time.

The zipfile module takes most of the time in which thousands of small files are written or checked.
The records are those of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.

>>> import io, zipfile
>>> file = io.BytesIO()
>>> with zipfile.ZipFile(file, "w") as writer:
...     writer.writestr("a.txt", "content")
>>> members(file.getvalue())
{'a.txt': b'content'}
"""

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

_END = struct.Struct("<4s4H2LH")
"""The end of central directory record: signature, 2 disk numbers, entries on the disk, entries,
size and offset of the directory, length of the comment."""
_ENTRY = struct.Struct("<4s6H3L5H2L")
"""A central directory header: signature, 2 versions, flags, compression, time, date, checksum,
packed size, size, lengths of name, extra field and comment, disk, 2 attributes, offset of the local
file header."""
_LOCAL = struct.Struct("<4s5H3L2H")
"""A local file header: signature, version, flags, compression, time, date, checksum, packed size,
size, lengths of name and extra field."""
_ZIP64_SIZES = struct.Struct("<2H2Q")
"""An extra field of a local file header: its number and size, size, packed size."""
_ZIP64_LOCATOR_SIZE = 20
_VERSION = 45
"""The version of the zip format that NumPy asks for."""
_FIRST_DAY = 33
"""The date of NumPy's members: 1980-01-01."""
_OWNER, _SYSTEM = 0o600 << 16, 3 << 8
"""The permissions of NumPy's members, and the system Unix that they are those of."""
_IN_EXTRA_FIELD = 0xFFFFFFFF
_MAX_SIZE = 2**31 - 1
"""A larger file needs other records."""


class _Entry(NamedTuple):
    """What the central directory says of a member."""

    name: bytes
    size: int
    checksum: int
    offset: int


def written(contents: Mapping[str, bytes]) -> bytes | None:
    """A file with some members, byte for byte that of ``np.savez``; None if it is too large.

    Args:
        contents: The contents of the members by name, in ASCII.
    """
    if sum(len(content) for content in contents.values()) > _MAX_SIZE:
        return None
    parts: list[bytes] = []
    entries: list[bytes] = []
    offset = 0
    for text, content in contents.items():
        name, size, checksum = text.encode("ascii"), len(content), zlib.crc32(content)
        extra = _ZIP64_SIZES.pack(1, _ZIP64_SIZES.size - 4, size, size)
        local = _LOCAL.pack(
            b"PK\3\4", _VERSION, 0, 0, 0, _FIRST_DAY, checksum, _IN_EXTRA_FIELD, _IN_EXTRA_FIELD,
            len(name), len(extra),
        )  # fmt: skip
        parts += [local, name, extra, content]
        entry = _ENTRY.pack(
            b"PK\1\2", _SYSTEM | _VERSION, _VERSION, 0, 0, 0, _FIRST_DAY, checksum, size, size,
            len(name), 0, 0, 0, 0, _OWNER, offset,
        )  # fmt: skip
        entries += [entry, name]
        offset += len(local) + len(name) + len(extra) + size
    directory = b"".join(entries)
    n_entries = len(contents)
    end = _END.pack(b"PK\5\6", 0, 0, n_entries, n_entries, len(directory), offset, 0)
    return b"".join([*parts, directory, end])


def members(content: bytes) -> dict[str, bytes] | None:
    """The contents of the members by name.

    None for a file in which something is unusual or wrong: the zipfile module reads it, or says
    what is wrong.
    """
    end = len(content) - _END.size
    if end < 0:
        return None
    signature, *_, n_entries, size, offset, n_comment = _END.unpack_from(content, end)
    is_large = content[max(0, end - _ZIP64_LOCATOR_SIZE) : end].startswith(b"PK\6\7")
    if signature != b"PK\5\6" or n_comment or is_large or offset + size != end:
        return None
    found: dict[str, bytes] = {}
    for _ in range(n_entries):
        entry = _entry(content, offset, end)
        member = None if entry is None else _member(content, entry)
        if entry is None or member is None:
            return None
        found[entry.name.decode()] = member
        offset += _ENTRY.size + len(entry.name)
    return found if len(found) == n_entries and offset == end else None


def _entry(content: bytes, start: int, end: int) -> _Entry | None:
    """The entry of the central directory at an offset; None for an unusual one."""
    if start + _ENTRY.size > end:
        return None
    fields = _ENTRY.unpack_from(content, start)
    signature, _, version, flags, method, _, _, checksum, packed, size, n_name, *rest = fields
    n_extra, n_comment, *_, offset = rest
    name = content[start + _ENTRY.size : start + _ENTRY.size + n_name]
    is_plain = not (flags or method or n_extra or n_comment) and packed == size
    is_named = name.isascii() and b"\0" not in name
    if signature != b"PK\1\2" or version > _VERSION or not (is_plain and is_named):
        return None
    return _Entry(name, size, checksum, offset)


def _member(content: bytes, entry: _Entry) -> bytes | None:
    """The content of a member; None if it is damaged, or its header is not that of the entry."""
    start = entry.offset + _LOCAL.size
    if start > len(content):
        return None
    signature, _, flags, method, *_, n_name, n_extra = _LOCAL.unpack_from(content, entry.offset)
    is_same = content[start : start + n_name] == entry.name and not flags and not method
    start += n_name + n_extra
    member = content[start : start + entry.size]
    is_complete = len(member) == entry.size and zlib.crc32(member) == entry.checksum
    return member if signature == b"PK\3\4" and is_same and is_complete else None
