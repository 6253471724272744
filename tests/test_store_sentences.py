"""What commands say about stores that are empty, read-only or deleted."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bpexp.tracking.archive import open_archive
from bpexp.tracking.bulk import BulkTracker
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import locate

READING = ("runs", "verify --all", "show latest", "resume latest", "report", "export latest")


def put_folder(database):
    database.unlink()
    database.mkdir()


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda database: os.truncate(database, 0), "is an empty file"), (put_folder, "be a file")],
    ids=["empty", "folder"],
)
def test_an_empty_file_or_a_folder_is_no_store_without_runs(inside, a_store, change, said):
    database = Path("outputs/mlflow.db")
    change(database)
    for command in READING:
        done = inside(*command.split())
        assert (done.returncode, done.stdout) == (2, ""), command
        assert said in done.stderr, command
    assert database.is_dir() or not database.stat().st_size


def execute(statement):
    with closing(sqlite3.connect("outputs/mlflow.db")) as database, database:
        assert database.execute(statement).rowcount > 0


@pytest.fixture
def sweep(inside, a_store):
    """The id of a sweep."""
    done = inside("-m", "seed=1,2", "epochs=3")
    return re.search(r"Sweep (\w+)", done.stdout)[1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET lifecycle_stage = 'deleted'",
        "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'bpexp'",
    ],
)
def test_commands_say_that_a_sweep_is_deleted_and_how_to_restore_it(inside, sweep, statement):
    execute(statement)
    for command in ("show", "report", "bundle", "verify", "export"):
        done = inside(command, sweep, "--experiment", "Default")
        assert (done.returncode, done.stdout) == (2, ""), command
        assert f"bpexp resume {sweep} --restore" in done.stderr, command
    assert "add --restore" in inside("resume", sweep).stderr
    done = inside("resume", sweep, "--restore")
    assert done.returncode == 0, done.stderr
    assert inside("verify", sweep).stdout == "2 of 2 runs match their digests.\n"


def test_the_latest_sweep_is_not_taken_if_only_its_parent_run_is_deleted(inside, sweep):
    execute(f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid LIKE '{sweep}%'")
    for command in ("show", "report", "verify"):
        done = inside(command, "latest")
        assert (done.returncode, done.stdout) == (2, ""), command
        assert f"bpexp resume {sweep} --restore" in done.stderr, command


def test_a_run_without_an_experiment_is_named(inside, sweep, tmp_path):
    runs = open_archive(locate(None, tmp_path, {}), "bpexp").search()
    run = next(run for run in runs if run.name == "seed=1")
    execute("UPDATE runs SET experiment_id = NULL, name = NULL WHERE name = 'seed=1'")
    for command in ("show", "verify", "explain", "export"):
        done = inside(command, run.run_id)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr == (
            f"bpexp: {run.short_id} is altered: it belongs to no experiment of this store.\n"
        )


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'seed=1'", "runs restore"),
        (
            "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'bpexp'",
            "experiments restore --experiment-id 1",
        ),
    ],
)
def test_a_deleted_run_is_not_used(inside, sweep, tmp_path, statement, said):
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    run = next(run for run in archive.search() if run.name == "seed=1")
    Path("rows.csv").write_text("x1,x2\n0,1\n")
    execute(statement)
    for command, *rest in (["predict", "rows.csv"], ["explain"], ["export"], ["show"], ["verify"]):
        done = inside(command, run.run_id, *rest)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert f"restore it with: mlflow {said}" in done.stderr, command


@pytest.mark.parametrize("name", ["results.parquet", "summary.png"])
def test_a_folder_in_place_of_a_file_is_replaced_unless_it_has_files(inside, bpexp, sweep, name):
    (file,) = Path("outputs/artifacts").glob(f"*/artifacts/{name}")
    file.unlink()
    file.mkdir()
    (file / "mine").write_text("mine")
    refused = bpexp("resume", sweep)
    assert refused.returncode != 0
    assert name in refused.stderr
    assert (file / "mine").read_text() == "mine"
    (file / "mine").unlink()
    assert inside("verify", sweep).returncode == 1
    assert inside("resume", sweep).returncode == 0
    assert inside("verify", sweep).stdout == "2 of 2 runs match their digests.\n"


def test_a_report_that_cannot_be_logged_is_written_and_says_so(inside, sweep, monkeypatch):
    def refuse(*arguments):
        raise TrackingError("The store refused: attempt to write a readonly database.")

    monkeypatch.setattr(BulkTracker, "add_files", refuse)
    done = inside("report", sweep, "-o", "mine")
    assert (done.returncode, "Written: mine/report.html" in done.stdout) == (2, True)
    assert "readonly database" in done.stderr
    assert Path("mine/report.html").is_file()
