"""Refuses data files that cannot be read to an end, fill the memory, or have unclear names.

>>> check("/dev/zero")
Traceback (most recent call last):
    ...
bpexp.fields.checks.ConfigError: data.path must be an existing file, got '/dev/zero', a device.
"""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bpexp.fields.checks import ConfigError, is_printable, nearest
from bpexp.guards.memory_limit import content_limit

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def check(path: str) -> Path:
    """Return the path of a regular file, with the home folder in place of ``~``.

    Raises:
        ConfigError: It is none, or cannot be looked at.
    """
    file = Path(path)
    # A name that only begins with ~ names no home folder.
    with suppress(RuntimeError):
        file = file.expanduser()
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        near = _similar_file(file) if is_missing else None
        hint = f"; did you mean {near!r}?" if near else "."
        ending = hint if is_missing else f": {reason}."
        raise ConfigError(f"data.path must be an existing file, got {path!r}{ending}") from error
    if kind != stat.S_IFREG:
        described = _KINDS.get(kind, "something else")
        raise ConfigError(f"data.path must be an existing file, got {path!r}, {described}.")
    return file


def _similar_file(file: Path) -> str | None:
    """The path of a file in the same folder whose name is similar; None if there is none."""
    try:
        names = os.listdir(file.parent)
    except OSError:
        return None
    near = nearest(file.name, names, 0.8)
    return near and str(file.parent / near)


def check_size(n_bytes: int) -> None:
    """Refuse a file whose content would fill the memory."""
    if n_bytes > content_limit():
        raise too_large(f"about {n_bytes / 1e9:.1f} GB")


def too_large(got: str) -> ConfigError:
    """The error for a file whose content would fill the memory."""
    return ConfigError(
        "data.path must hold a table that fits into a quarter of the memory that may be used, "
        f"{content_limit() / 1e9:.1f} GB, got {got}."
    )


def check_names(names: Sequence[str], path: str) -> None:
    """Refuse names of columns that cannot be shown, or that occur twice. Raises ConfigError."""
    for name in names:
        if not is_printable(name):
            raise ConfigError(
                f"data.path must have column names without control characters, got {name!r} "
                f"in {path}."
            )
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise ConfigError(f"data.path must have different columns, got {duplicates[0]!r} twice.")
