"""Reads a zip file of somebody else: every member is checked before its content is used.

The file ``MANIFEST`` in the zip file lists the other members with their sizes and SHA-256 digests.
"""

import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bpexp.fields.checks import ConfigError
from bpexp.guards import regular_file
from bpexp.guards.memory_limit import content_limit

MANIFEST = "bundle.json"
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""What the zipfile module raises for a damaged file."""


class CheckedZip:
    """The members of a zip file, after a check of their names and sizes.

    Attributes:
        name: The name of the zip file, for messages.
        manifest: The values of ``MANIFEST``.
        sizes: The size of each other member in bytes.
    """

    def __init__(self, file: zipfile.ZipFile, name: str, allowed: re.Pattern[str]) -> None:
        """Check all members; none is unpacked but ``MANIFEST``.

        Args:
            file: The opened file.
            name: The name of the file, for messages.
            allowed: Matches the name of every member but ``MANIFEST``.

        Raises:
            ConfigError: A member is not listed, not allowed, or has another size than listed.
        """
        self.name, self._file = name, file
        members = file.infolist()
        for member in members:
            self._check_member(member, allowed)
        self.sizes = {member.filename: member.file_size for member in members}
        if len(self.sizes) < len(members):
            raise self._error("it has two files of the same name")
        if MANIFEST not in self.sizes:
            raise self._error(f"it has no {MANIFEST}")
        self.manifest = self._mapping(self._content(MANIFEST), MANIFEST)
        del self.sizes[MANIFEST]
        self._digests = self._listed()

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            ConfigError: It is damaged, or its digest is not the listed one.
        """
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != self._digests[name]:
            raise self._altered(name)
        return content

    def mapping(self, name: str) -> dict[str, Any]:
        """The values of a member in JSON. Raises ConfigError as ``read``, and for other values."""
        return self._mapping(self.read(name), name)

    def extract(self, name: str, target: Path) -> None:
        """Write the content of a member to a file, which need not fit into memory.

        Raises:
            ConfigError: As ``read``, or the file cannot be written.
        """
        sha = hashlib.sha256()
        try:
            with self._file.open(name) as member, open(target, "wb") as out:
                while chunk := member.read(_CHUNK):
                    sha.update(chunk)
                    out.write(chunk)
        except _BROKEN as error:
            raise self._damaged(name, error) from error
        if sha.hexdigest() != self._digests[name]:
            raise self._altered(name)

    def _check_member(self, member: zipfile.ZipInfo, allowed: re.Pattern[str]) -> None:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.filename != MANIFEST and not allowed.fullmatch(member.filename):
            raise self._error(f"it contains {member.filename!r}")
        if member.flag_bits & 1 or kind not in (0, stat.S_IFREG):
            raise self._error(f"{member.filename} is not a plain file")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._error(f"{member.filename} has an unknown compression")
        if member.file_size > content_limit():
            raise self._error(f"{member.filename} has {member.file_size / 1e9:.1f} GB unpacked")

    def _listed(self) -> Mapping[str, str]:
        """The digest of each member, after a comparison of the sizes."""
        try:
            files = {str(name): dict(entry) for name, entry in self.manifest["files"].items()}
            listed = {name: int(entry["size"]) for name, entry in files.items()}
            digests = {name: str(entry["sha256"]) for name, entry in files.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._error(f"its {MANIFEST} does not list the files") from error
        for name in sorted(listed.keys() ^ self.sizes.keys()):
            raise self._error(f"{name} is {'missing' if name in listed else 'not listed'}")
        for name, size in self.sizes.items():
            if listed[name] != size:
                raise self._error(f"{name} has {size} bytes, not {listed[name]}")
        return digests

    def _content(self, name: str) -> bytes:
        try:
            return self._file.read(name)
        except _BROKEN as error:
            raise self._damaged(name, error) from error

    def _mapping(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._error(f"{name} is not valid JSON") from error
        if not isinstance(values, dict):
            raise self._error(f"{name} is not a mapping")
        return values

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.name} is not a bundle that bpexp wrote: {reason}.")

    def _damaged(self, name: str, error: Exception) -> ConfigError:
        return ConfigError(f"{name} in {self.name} is damaged: {error}.")

    def _altered(self, name: str) -> ConfigError:
        return ConfigError(f"{name} in {self.name} was altered: its digest is not the listed one.")


@contextmanager
def opened(path: Path, allowed: re.Pattern[str]) -> Iterator[CheckedZip]:
    """Open a zip file, see ``CheckedZip``.

    Raises:
        ConfigError: The file does not exist, is not a zip file, or fails a check.
    """
    with ExitStack() as opened_files:
        try:
            content = opened_files.enter_context(open(path, "rb", opener=regular_file.open_regular))
            file = opened_files.enter_context(zipfile.ZipFile(content))
        except FileNotFoundError as error:
            sentence = f"RUN must be a run or an existing bundle, got {str(path)!r}."
            raise ConfigError(sentence) from error
        except (*_BROKEN, ValueError) as error:
            raise ConfigError(f"{path.name} is damaged, or not a zip file: {error}.") from error
        yield CheckedZip(file, path.name, allowed)
