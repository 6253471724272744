"""Disturbs the disk and the database of a sweep: a full disk, read-only files, a lock."""

import contextlib
import os
import subprocess
import sys

import pytest
from sweeping import next_line, start_in_session


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """A file system of that size at ``folder``; skips the test if it cannot be mounted."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
        capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"did NOT run: no file system can be mounted ({made.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Create a file that fills the disk."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    return filler


@contextlib.contextmanager
def unwritable(path):
    """Make a file or folder read-only; skips the test if that is not possible."""
    if os.geteuid():
        mode = path.stat().st_mode
        path.chmod(mode & 0o555)
        undo = ["chmod", f"{mode & 0o777:o}", path]
    else:
        made = subprocess.run(["chattr", "+i", path], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"did NOT run: no file can be made immutable ({made.stderr.strip()})")
        undo = ["chattr", "-i", path]
    try:
        yield
    finally:
        subprocess.run(undo, check=True)


LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


def lock(file, seconds):
    """Start a process that locks an SQLite file for some seconds."""
    command = [sys.executable, "-c", LOCK, file, str(seconds)]
    process = start_in_session(command, stdout=subprocess.PIPE, text=True)
    assert next_line(process, process.stdout) == "locked\n"
    return process
