"""The program for a user who may write nothing but the working directory, and in ``python -O``."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sweeping import clean_environment

USER = 54321
"""A user id without an entry in the list of users."""


@pytest.fixture
def folder():
    """A folder that the user owns; pytest's own are for the user who runs the tests."""
    with tempfile.TemporaryDirectory(prefix="bpexp-", dir="/tmp") as name:
        yield Path(name)


def as_user(folder, *arguments, options=(), **environment):
    """Run ``python -m bpexp`` in ``folder``, as the user if that is possible.

    Args:
        folder: The working directory.
        arguments: Those of the program.
        options: Options of Python.
        environment: Variables; None removes one.
    """
    command = [sys.executable, *options, "-m", "bpexp", *arguments]
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, USER)
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
    variables = clean_environment() | environment
    variables = {key: value for key, value in variables.items() if value is not None}
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=170,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


UNUSABLE = {"HOME": "/proc/none", "TMPDIR": "/proc/none", "XDG_CACHE_HOME": "/proc/none",
            "BPEXP_CACHE_DIR": "/proc/none"}  # fmt: skip


@pytest.mark.slow
def test_a_sweep_needs_no_home_no_cache_no_entry_of_the_user_and_no_assertions(put_store, folder):
    put_store(folder)
    done = as_user(folder, "-m", "seed=1,2", "epochs=5", options=["-O"],
                   **UNUSABLE | {"HOME": None})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 combination by median final loss" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["outputs"]


SWEEP, SINGLE = ("-m", "seed=1,2", "epochs=5"), ("epochs=5",)
INSIDE = [
    ("outputs", SWEEP),
    ("outputs", SINGLE),
    ("outputs/sweeps", SWEEP),
    ("outputs/artifacts", SWEEP),
    ("outputs/artifacts", SINGLE),
]
UNWRITABLE = [(".", SWEEP, False), (".", SINGLE, False)]
UNWRITABLE += [(*case, exists) for case in INSIDE for exists in (False, True)]
"""A folder, a command that writes to it, and whether there is a store."""


@pytest.mark.long
@pytest.mark.parametrize(("name", "arguments", "exists"), UNWRITABLE)
def test_a_folder_that_cannot_be_written_is_reported_in_one_sentence(
    put_store, folder, name, arguments, exists
):
    if exists:
        put_store(folder)
    (folder / name).mkdir(parents=True, exist_ok=True)
    before = written(folder)
    locked = folder / name
    locked.chmod(0o555)
    try:
        done = as_user(folder, *arguments)
        reading = as_user(folder, "runs")
    finally:
        locked.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith("bpexp: ")
    assert done.stderr.count("\n") == 1, done.stderr
    reasons = ("Permission denied", "not a folder that can be written", "readonly database")
    assert any(reason in done.stderr for reason in reasons), done.stderr
    if exists:
        assert (reading.returncode, reading.stderr) == (0, "")
    if name != "outputs/artifacts":
        # Nothing was written before.
        assert written(folder) == before


def written(folder):
    """All folders, and files with the time of their last change."""
    return {path: path.is_file() and path.stat().st_mtime_ns for path in folder.rglob("*")}
