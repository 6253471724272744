"""Copied and moved SQLite stores: whose tables name the folder of the original."""

import os
import shutil
from pathlib import Path

import pytest
from read_back import client_of

from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate

# MLflow warns about its own type hints when its model classes are imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")


@pytest.fixture
def sweep(inside, a_store, tmp_path):
    """The id of a sweep in a store in the working directory."""
    assert inside("-m", "lr=0.1,1", "epochs=4").returncode == 0
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    return next(run.run_id for run in archive.search() if run.is_sweep)


def snapshot(folder):
    """The content of each file below a folder, but for locks."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path: path.read_bytes() for path in files}


def writing(sweep):
    """Commands that write artifacts."""
    return [("extend", sweep, "lr=3"), ("resume", sweep), ("export", sweep)]


@pytest.mark.parametrize("keep_original", [True, False])
def test_a_copied_or_moved_store_writes_to_its_own_folder_only(inside, sweep, keep_original):
    original = snapshot("outputs")
    (shutil.copytree if keep_original else os.rename)("outputs", "copied")
    uri = ("--uri", "sqlite:///copied/mlflow.db")
    assert inside("verify", sweep, *uri).stdout == "2 of 2 runs match their digests.\n"
    for command in writing(sweep):
        done = inside(*command, *uri)
        assert done.returncode == 2, command
        assert f"bpexp relocate --uri '{locate(uri[1], Path.cwd(), {}).uri}'" in done.stderr
    refused = inside("lr=2", "epochs=3", "tracking.uri=sqlite:///copied/mlflow.db")
    assert (refused.returncode, "bpexp relocate" in refused.stderr) == (1, True)
    done = inside("report", sweep, *uri)
    assert (done.returncode, "Not logged to the sweep: " in done.stdout) == (0, True)
    shutil.rmtree("outputs/reports")

    done = inside("relocate", *uri)
    assert (done.returncode, done.stdout.startswith("3 runs of ")) == (0, True), done.stderr
    for command in writing(sweep):
        assert inside(*command, *uri).returncode == 0, command
    assert inside("verify", sweep, *uri).stdout == "3 of 3 runs match their digests.\n"
    archive = open_archive(locate(uri[1], Path.cwd(), {}), "bpexp")
    own = Path("copied/artifacts").resolve().as_uri()
    assert all(run.artifact_uri.startswith(f"{own}/") for run in archive.search())
    if keep_original:
        assert snapshot("outputs") == original
    assert Path("outputs/artifacts").exists() == keep_original
    assert "nothing is to change" in inside("relocate", *uri).stdout


def test_a_database_that_was_copied_alone_says_what_is_missing(inside, sweep):
    Path("copied").mkdir()
    shutil.copy("outputs/mlflow.db", "copied")
    uri = ("--uri", "sqlite:///copied/mlflow.db")
    assert inside("runs", *uri).returncode == 0
    for command in ("verify", "reproduce", "report", "show", "bundle", "resume"):
        done = inside(command, sweep, *uri)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert f"Copy the folder {Path('outputs/artifacts').resolve()}" in done.stderr, command
    assert "copy the folder" in inside("relocate", *uri).stderr
    assert not Path("copied/artifacts").exists()


def test_an_experiment_whose_artifacts_the_user_put_elsewhere_is_not_relocated(inside, a_store):
    place = Path("elsewhere").resolve()
    client_of().create_experiment("mine", artifact_location=place.as_uri())
    for _ in range(2):
        assert inside("epochs=3", "tracking.experiment=mine").returncode == 0
    assert len(list(place.iterdir())) == 2
    assert "nothing is to change" in inside("relocate").stdout


def test_a_file_that_must_not_be_read_is_not_altered(inside, sweep, monkeypatch):
    """Root may read every file, so that the system's answer is given here."""
    open_file = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith("/losses.npz"):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    for command in ("verify", "reproduce"):
        done = inside(command, sweep)
        assert (done.returncode, done.stderr) == (2, ""), command
        assert done.stdout.count("cannot be read: Permission denied.\n") == 2, command
        assert "0 of 2 runs" in done.stdout, command
    for command in ("resume", "export", "report"):
        done = inside(command, sweep)
        assert done.returncode == 2, command
        assert "losses.npz of run" in done.stderr, command
        assert "cannot be read: Permission denied" in done.stderr, command
        assert "trained again" not in done.stdout, command
