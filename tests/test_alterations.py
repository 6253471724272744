"""``verify`` names what was altered in a store, on SQLite and on PostgreSQL."""

import shutil
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy
from servers import postgresql

import bpexp
from bpexp.cli import commands
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import FINISHED, Query
from bpexp.tracking.store import locate

SEEDS = count()
"""Equal runs would have equal artifacts."""


@pytest.fixture(scope="module")
def sqlite_uri(put_store, tmp_path_factory):
    return put_store(tmp_path_factory.mktemp("store")).uri


@pytest.fixture(scope="module")
def postgresql_uri():
    with postgresql() as server:
        yield server.uri


@pytest.fixture(params=["sqlite_uri", pytest.param("postgresql_uri", marks=pytest.mark.slow)])
def uri(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.getfixturevalue(request.param)


@pytest.fixture
def runs(uri, tmp_path):
    """The two runs of a new sweep."""
    bpexp.sweep(seed=[next(SEEDS), next(SEEDS)], epochs=6, engine="numpy", tracking={"uri": uri})
    archive = open_archive(locate(uri, tmp_path, {}), "bpexp")
    sweep = next(run for run in archive.search() if run.is_sweep)
    return archive.search(Query(statuses=FINISHED.statuses, sweep=sweep.run_id))


@pytest.fixture
def verify(runs, uri, capsys):
    """Verifies the sweep; returns the exit status and what was printed."""

    def call():
        with pytest.raises(SystemExit) as ended:
            commands.main(["verify", runs[0].parent, "--uri", uri])
        return ended.value.code, capsys.readouterr().out

    return call


def artifact(run, name):
    return Path(run.artifact_uri.removeprefix("file://"), name)


def executed(uri, statement, **values):
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        done = connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()
    assert done.rowcount == 1


def renamed(run, other):
    artifact(run, "losses.npz").rename(artifact(run, "losses2.npz"))


def predictions_of_another_run(run, other):
    shutil.copy(artifact(other, "predictions.csv"), artifact(run, "predictions.csv"))


def losses_of_another_run(run, other):
    shutil.copy(artifact(other, "losses.npz"), artifact(run, "losses.npz"))


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (renamed, "has no artifact losses.npz"),
        (predictions_of_another_run, "(predictions.csv)"),
        (losses_of_another_run, "(losses.npz)"),
    ],
)
def test_an_altered_file_is_named(runs, verify, alter, said):
    assert verify() == (0, "2 of 2 runs match their digests.\n")
    alter(*runs)
    status, printed = verify()
    assert status == 1
    assert f"altered: {runs[0].label}: " in printed
    assert said in printed
    assert runs[1].label not in printed


@pytest.mark.parametrize(
    ("statement", "status", "said"),
    [
        ("DELETE FROM latest_metrics WHERE key = 'epochs_run'", 1, "metric epochs_run is missing"),
        ("UPDATE latest_metrics SET value = 1 WHERE key = 'accuracy'", 1, "accuracy was altered"),
        ("DELETE FROM latest_metrics WHERE key = 'accuracy'", 1, "metric accuracy is missing"),
        (
            "UPDATE latest_metrics SET key = 'test_accuracy' WHERE key = 'accuracy'",
            1,
            "metric test_accuracy was added",
        ),
        ("UPDATE metrics SET value = 1 WHERE key = 'loss' AND step = 3", 1, "loss at step 3"),
        ("UPDATE metrics SET step = 9 WHERE key = 'loss' AND step = 6", 1, "at step 9, which"),
        ("UPDATE params SET value = '7' WHERE key = 'epochs'", 1, "parameter epochs was altered"),
        ("DELETE FROM params WHERE key = 'model.loss'", 1, "parameter model.loss was altered"),
        ("UPDATE tags SET value = 'stalled' WHERE key = 'bpexp.outcome'", 1, "result digest"),
        (
            "UPDATE tags SET value = replace(value, '6,', '7,') WHERE key = 'bpexp.config'",
            2,
            "does not match the run",
        ),
        ("UPDATE tags SET value = '0' WHERE key = 'bpexp.arithmetic'", 2, "does not match the run"),
        ("UPDATE tags SET value = 'x' WHERE key = 'bpexp.identity'", 2, "does not match the run"),
        ("DELETE FROM tags WHERE key = 'bpexp.result'", 1, "has no result digest"),
    ],
)
def test_an_altered_value_is_named(runs, verify, uri, statement, status, said):
    executed(uri, f"{statement} AND run_uuid = :run", run=runs[0].run_id)
    found, printed = verify()
    assert found == status
    assert f": {runs[0].label}: " in printed
    assert said in printed
    assert runs[1].label not in printed


def test_without_digests_of_files_all_numbers_are_compared(runs, verify, uri):
    statement = "DELETE FROM tags WHERE key = 'bpexp.digests' AND run_uuid = :run"
    executed(uri, statement, run=runs[0].run_id)
    assert verify() == (0, "2 of 2 runs match their digests.\n")
    predictions_of_another_run(*runs)
    assert verify()[0] == 1


@pytest.mark.parametrize("digests", ["not JSON", "{}", '{"metrics": 1}'])
def test_damaged_digests_are_named(runs, verify, uri, digests):
    statement = "UPDATE tags SET value = :value WHERE key = 'bpexp.digests' AND run_uuid = :run"
    for run_id in (runs[0].run_id, runs[0].parent):
        executed(uri, statement, run=run_id, value=digests)
    status, printed = verify()
    assert status == 1
    assert printed.count("The tag bpexp.digests was altered") == 2
    assert f"altered: {runs[0].label}: " in printed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = :run",
        "UPDATE tags SET value = '5c1d' WHERE key = 'mlflow.parentRunId' AND run_uuid = :run",
    ],
)
@pytest.mark.parametrize("sweep_status", ["FINISHED", "FAILED"])
def test_a_run_that_is_deleted_or_moved_is_named(runs, verify, uri, statement, sweep_status):
    executed(uri, statement, run=runs[0].run_id)
    # Also of a sweep in which a run failed.
    executed(uri, "UPDATE runs SET status = :status WHERE run_uuid = :run",
             run=runs[0].parent, status=sweep_status)  # fmt: skip
    status, printed = verify()
    assert status == 1
    assert "altered: sweep" in printed
    assert "1 run of results.csv is" in printed
    assert runs[0].label in printed
    assert runs[1].label not in printed
    assert "1 of 1 runs match their digests; 1 sweep altered." in printed


def test_a_linked_run_that_is_deleted_is_named(runs, uri, tmp_path, capsys):
    seeds = [int(run.params["seed"]) for run in runs]
    bpexp.sweep(seed=seeds, epochs=6, engine="numpy", tracking={"uri": uri}, reuse=True)
    for stage, status, said in (
        ("active", 0, "2 of 2 runs match their digests.\n"),
        ("deleted", 1, f"moved to another sweep: {runs[0].label}"),
    ):
        statement = "UPDATE runs SET lifecycle_stage = :stage WHERE run_uuid = :run"
        executed(uri, statement, stage=stage, run=runs[0].run_id)
        with pytest.raises(SystemExit) as ended:
            commands.main(["verify", "latest", "--uri", uri])
        assert ended.value.code == status
        assert said in capsys.readouterr().out


def test_another_file_of_a_user_is_no_alteration(runs, verify):
    artifact(runs[0], "notes.txt").write_text("mine")
    assert verify() == (0, "2 of 2 runs match their digests.\n")
