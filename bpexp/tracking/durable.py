"""Waits until files are on disk, so that a power loss does not take them away.

>>> import tempfile
>>> from pathlib import Path
>>> with tempfile.TemporaryDirectory() as folder:
...     write_file(Path(folder) / "results.csv", b"rank")
...     (Path(folder) / "results.csv").read_bytes()
b'rank'
"""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from secrets import token_hex


def write_file(file: Path, content: bytes) -> None:
    """Write a file atomically: it has its old or its new content, also after a power loss.

    Two processes may write the same file at the same time; the last one decides its content. A
    process that is killed may leave a file ``<name>.<digits>.new``.

    Raises:
        OSError: It cannot be written; a file that existed before is unchanged.
    """
    temporary = file.with_name(f"{file.name}.{token_hex(8)}.new")
    try:
        with open(temporary, "xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
        sync_names(file.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_names(folder: Path) -> None:
    """Wait until the names of the files in a folder are on disk, after one was created or renamed.

    Raises:
        OSError: The folder cannot be opened or written.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Wait until everything on the file system of a folder is on disk.

    For many files this takes much less time than an ``fsync`` of each.

    Raises:
        OSError: Something could not be written to disk.
    """
    syncfs = _syncfs()
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """Linux's ``syncfs``, which Python does not have; None on other systems."""
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, TypeError, AttributeError):
        return None
