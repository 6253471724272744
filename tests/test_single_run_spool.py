"""A single run whose store fails is kept, and stored later."""

import re
from pathlib import Path

import pytest

from bpexp.sweeps import live_run
from bpexp.sweeps.runner import SweepRunner
from bpexp.tracking import process
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate
from bpexp.training import loop

ARTIFACTS = Path("outputs", "artifacts")


@pytest.fixture
def failing(inside, a_store, request):
    """Trains a run that cannot be stored; returns the arguments of the command that stores it."""

    def run(*arguments):
        ended = inside(*arguments)
        assert ended.returncode == 1
        command = re.search(r"the run waits in (\S+); to go on: bpexp (.*)", ended.stderr)
        assert command, ended.stderr
        assert list(Path(command[1]).glob("*.npz"))
        return command[2].split()

    return run


def break_artifacts():
    """Put a file where the folder of the artifacts would be."""
    for folder in [*ARTIFACTS.glob("*/*"), *ARTIFACTS.glob("*"), ARTIFACTS]:
        folder.rmdir()
    ARTIFACTS.write_text("not a folder")


def stored_runs():
    return open_archive(locate(None, Path.cwd(), {}), "bpexp").search()


def check_stored(inside, command):
    """Assert that the command stores the run, once, and removes it from the spool."""
    assert inside(*command).returncode == 0
    assert not Path("outputs", "spool").exists()
    (run,) = stored_runs()
    assert (run.status, run.outcome) == ("FINISHED", "completed")
    assert inside("verify", "latest").returncode == 0
    assert inside("reproduce", "latest").returncode == 0
    return run


def test_a_run_is_stored_later(inside, failing, a_store):
    break_artifacts()
    command = failing("epochs=30", "seed=3")
    assert not stored_runs()
    again = inside(*command)
    assert (again.returncode, f"bpexp {' '.join(command)}" in again.stderr) == (2, True)
    ARTIFACTS.unlink()
    run = check_stored(inside, command)
    assert run.params["seed"] == "3"
    assert run.metrics["epochs_run"] == 30


def test_a_run_that_was_written_before_is_not_written_again(inside, failing, a_store):
    break_artifacts()
    command = failing("epochs=30")
    (file,) = Path("outputs/spool", command[1]).glob("*.npz")
    content = file.read_bytes()
    ARTIFACTS.unlink()
    first = check_stored(inside, command)
    # As after a kill between the two steps.
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert check_stored(inside, command).run_id == first.run_id


def test_a_run_that_was_shown_is_ended_where_it_was_shown(inside, failing, monkeypatch, a_store):
    monkeypatch.setattr(live_run, "SECONDS_BETWEEN_POINTS", 0.0)
    monkeypatch.setattr(loop, "MAX_CHUNK_LOSSES", 10)
    show = SweepRunner._show

    def then_break(runner, points):
        _ = runner._writer.sweep
        taken = show(runner, points)
        runner._writer._showing.result(60)
        if ARTIFACTS.is_dir():
            break_artifacts()
        return taken

    monkeypatch.setattr(SweepRunner, "_show", then_break)
    command = failing("epochs=60")
    (shown,) = stored_runs()
    assert shown.status == "RUNNING"
    assert shown.tags["bpexp.process"] == process.current()
    ARTIFACTS.unlink()
    assert check_stored(inside, command).run_id == shown.run_id
