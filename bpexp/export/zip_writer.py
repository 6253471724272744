"""Writes a zip file of many members, which several processes can pack and one writes.

>>> import io, zipfile
>>> file = io.BytesIO()
>>> with zipfile.ZipFile(file, "w") as zip_file:
...     writer = ZipWriter(zip_file)
...     writer.append(packed({"a.txt": b"content"}))
>>> zipfile.ZipFile(file).read("a.txt"), writer.listed["a.txt"]["size"]
(b'content', 7)
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_MIN_COMPRESSED = 2048
"""Bytes of the smallest file that is compressed: of smaller ones there are many."""
_LEVEL = 1
"""The level of the compression: higher ones make the runs of a sweep 0.5% smaller."""
_PERMISSIONS = 0o600 << 16
"""Those of a file that only its owner may read; the module zipfile writes the same."""


class Member(NamedTuple):
    """What the directory of a zip file and its manifest say of a member.

    A ``ZipInfo`` takes twenty times as long to send to another process.
    """

    name: str
    method: int
    checksum: int
    packed_size: int
    size: int
    sha256: str

    def entry(self, offset: int) -> zipfile.ZipInfo:
        """The entry in the directory of a member at an offset.

        It has a fixed date: equal runs make equal files.
        """
        info = zipfile.ZipInfo(self.name)
        info.compress_type, info.CRC = self.method, self.checksum
        info.compress_size, info.file_size = self.packed_size, self.size
        info.header_offset, info.external_attr = offset, _PERMISSIONS
        return info


class Packed(NamedTuple):
    """Members of a zip file, as they are written to it.

    Attributes:
        content: The members with their headers.
        members: What the directory says of them, in the same order, and their offsets in
            ``content``.
    """

    content: bytes
    members: list[tuple[Member, int]]


def packed(members: Mapping[str, bytes]) -> Packed:
    """Pack members, given by name; a process may do so for another one."""
    content = io.BytesIO()
    packed_members: list[tuple[Member, int]] = []
    for name, original in members.items():
        is_small = len(original) < _MIN_COMPRESSED
        method = zipfile.ZIP_STORED if is_small else zipfile.ZIP_DEFLATED
        # Without the header of zlib, as zip files have it.
        body = original if is_small else zlib.compress(original, _LEVEL, -zlib.MAX_WBITS)
        digest = hashlib.sha256(original).hexdigest()
        checksum = zlib.crc32(original)
        member = Member(name, method, checksum, len(body), len(original), digest)
        packed_members.append((member, content.tell()))
        content.write(member.entry(0).FileHeader())
        content.write(body)
    return Packed(content.getvalue(), packed_members)


class ZipWriter:
    """Adds members to a zip file.

    Attributes:
        listed: The size and the SHA-256 digest of each member.
    """

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.listed: dict[str, dict[str, object]] = {}

    def add_file(self, name: str, path: Path, digest: str) -> None:
        """Add a file that need not fit into memory."""
        self._file.write(path, name, zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self.listed[name] = {"size": self._file.getinfo(name).file_size, "sha256": digest}

    def append(self, part: Packed) -> None:
        """Add members that were packed; none of them may be there already."""
        file = self._file
        assert file.fp is not None
        start = file.start_dir
        file.fp.seek(start)
        file.fp.write(part.content)
        file.start_dir = file.fp.tell()
        for member, offset in part.members:
            file.NameToInfo[member.name] = entry = member.entry(start + offset)
            file.filelist.append(entry)
            self.listed[member.name] = {"size": member.size, "sha256": member.sha256}
