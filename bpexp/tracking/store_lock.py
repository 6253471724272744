"""The lock of an SQLite store: a file beside the database.

MLflow's migrations fail if two processes run them at the same time, and only one process may resume
a sweep.
"""

import errno
import fcntl
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bpexp.fields.checks import ConfigError
from bpexp.tracking import output_directory
from bpexp.tracking.retry import RetryPolicy

NOTICE_SECONDS = 5.0
"""After how many seconds the user learns that another process is waited for."""


@contextmanager
def exclusive(database: Path | None) -> Iterator[None]:
    """Exclude other processes of this machine that take the same lock.

    Args:
        database: The file of the store; None for another store, which has no lock.

    Raises:
        ConfigError: Another process holds the lock for longer than the retry time.
        OSError: The folder of a new store cannot be written, or the lock is a symbolic link.
    """
    if database is None:
        yield
        return
    output_directory.create(database.parent)
    with ExitStack() as stack:
        descriptor = _open(database)
        if descriptor is not None:
            stack.callback(os.close, descriptor)
            _wait(descriptor, _lock_file(database), RetryPolicy().seconds)
        yield


def _lock_file(database: Path) -> Path:
    """The lock beside a database; it has the whole name, because runs.lock may be a database."""
    return database.with_name(f"{database.name}.lock")


def _open(database: Path) -> int | None:
    """Open or create the lock, without changing the content of a file that has its name.

    Returns:
        A file descriptor; None for a store that can only be read, such as one on a DVD.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(_lock_file(database), flags, 0o666)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and database.exists():
            return None
        raise


def _wait(descriptor: int, file: Path, seconds: float) -> None:
    """Lock an open file; say that it is waited for, and for how long at most.

    Raises:
        ConfigError: Another process holds the lock all the time.
    """
    deadline, notice = time.monotonic() + seconds, time.monotonic() + NOTICE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now >= deadline:
                raise ConfigError(
                    f"Another process holds the lock {file}; try again when it has ended."
                ) from None
            if now >= notice:
                notice = math.inf
                print(f"Waiting for another process that holds {file} ...", file=sys.stderr)
            time.sleep(0.05)
        except OSError:
            # Some network file systems have no locks.
            return
        else:
            return
