"""Reads zip files without compression, as ``np.savez`` writes them, in a fraction of the time.

The zipfile module takes most of the time in which thousands of small files are checked. The records
are those of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.

>>> import io, zipfile
>>> file = io.BytesIO()
>>> with zipfile.ZipFile(file, "w") as writer:
...     writer.writestr("a.txt", "content")
>>> members(file.getvalue())
{'a.txt': b'content'}
"""

import struct
import zlib
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
_ZIP64_LOCATOR_SIZE = 20
_VERSION = 45
"""The version of the zip format that NumPy asks for."""


class _Entry(NamedTuple):
    """What the central directory says of a member."""

    name: bytes
    size: int
    checksum: int
    offset: int


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
