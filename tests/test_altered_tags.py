"""Altered tags, statuses and times of runs: no command uses the runs, and resume mends them."""

import re
import sqlite3
from contextlib import chdir, closing
from pathlib import Path

import pytest

import bpexp
from bpexp.runs import record_digests
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate

SETTINGS = ("lr=0.1,1", "epochs=4")


@pytest.fixture(scope="module")
def original(put_store, tmp_path_factory):
    """A folder with two sweeps; the second one has another number of epochs."""
    folder = tmp_path_factory.mktemp("original")
    put_store(folder)
    with chdir(folder):
        Path("rows.csv").write_text("x1,x2\n0,1\n")
        bpexp.sweep(*SETTINGS)
        bpexp.sweep("lr=0.1,1", "epochs=5")
    return folder


@pytest.fixture
def archive(original, copy_store, inside):
    """The two sweeps in the working directory."""
    return open_archive(copy_store(original), "bpexp")


@pytest.fixture
def sweep(archive):
    """The first sweep."""
    return [run for run in archive.search() if run.is_sweep][-1]


@pytest.fixture
def run(archive, sweep):
    """Its best run."""
    return archive.get(sweep.tags["bpexp.best_run"])


def execute(statement, run_id):
    """Execute an SQL statement, which must change something, for a run."""
    with closing(sqlite3.connect("outputs/mlflow.db")) as database, database:
        assert database.execute(f"{statement} AND run_uuid = ?", [run_id]).rowcount > 0


def set_tag(run, key, value):
    execute(f"UPDATE tags SET value = '{value}' WHERE key = '{key}'", run.run_id)


def uses(sweep):
    """Commands that use the runs of a sweep, but do not train."""
    return [["report", sweep.run_id], ["bundle", sweep.run_id, "-o", "sweep.zip"]]


def check_refused(inside, commands, said):
    for command in commands:
        done = inside(*command)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert re.search(said, done.stderr), done.stderr
    assert not Path("sweep.zip").exists()


def check_mended(inside, sweep, commands):
    """Resuming the sweep mends it."""
    done = inside("resume", sweep.run_id)
    assert done.returncode == 0, done.stderr
    assert inside("verify", sweep.run_id).stdout == "2 of 2 runs match their digests.\n"
    for command in commands:
        assert inside(*command).returncode == 0, command


@pytest.mark.parametrize("value", ["other", "worst", "none"])
def test_the_best_run_is_that_of_the_ranking(inside, archive, sweep, run, value):
    others = archive.search(Query(statuses=["FINISHED"], are_sweeps=False))
    other = next(one for one in others if one.parent != sweep.run_id)
    worst = next(one for one in others if one.parent == sweep.run_id and one.run_id != run.run_id)
    set_tag(
        sweep, "bpexp.best_run", {"other": other.run_id, "worst": worst.run_id}.get(value, value)
    )
    predict = ["predict", sweep.run_id, "rows.csv"]
    check_refused(inside, [predict, ["export", sweep.run_id]], f"bpexp resume {sweep.short_id}")
    assert "The tag bpexp.best_run" in inside("verify", sweep.run_id).stdout
    check_mended(inside, sweep, [predict])


def test_a_best_run_that_was_deleted_or_moved_is_not_taken(inside, archive, sweep, run):
    predict = ["predict", sweep.run_id, "rows.csv"]
    execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE 1", run.run_id)
    check_refused(inside, [predict], "is deleted, moved")
    execute("UPDATE runs SET lifecycle_stage = 'active' WHERE 1", run.run_id)
    assert inside(*predict).returncode == 0
    set_tag(run, "mlflow.parentRunId", "5c1d")
    check_refused(inside, [predict], "is deleted, moved")
    check_mended(inside, sweep, [predict])


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("bpexp.config", "replace(value, '4', '7')", "does not match the run"),
        ("bpexp.config", "'{'", "not valid JSON"),
        ("bpexp.identity", "'00'", "does not match the run"),
        ("bpexp.arithmetic", "'99'", "does not match the run"),
        ("bpexp.outcome", "'diverged'", "result digest"),
        ("bpexp.digests", "'[1,2'", "bpexp.digests was altered"),
    ],
)
def test_a_run_with_an_altered_tag_is_not_used(inside, sweep, run, key, change, said):
    execute(f"UPDATE tags SET value = {change} WHERE key = '{key}'", run.run_id)
    check_refused(inside, uses(sweep), said)
    done = inside("-m", *SETTINGS, "reuse=true")
    assert done.returncode == 0
    assert run.run_id[:8] not in done.stdout.split("Predictions")[0].split("rank")[1]
    check_mended(inside, sweep, uses(sweep))


@pytest.mark.parametrize("change", ["UPDATE tags SET value = 'run'", "DELETE FROM tags"])
def test_a_sweep_of_another_kind_is_still_a_sweep(inside, sweep, change):
    execute(f"{change} WHERE key = 'bpexp.kind'", sweep.run_id)
    said = f"bpexp.kind was altered: .*bpexp resume {sweep.short_id}"
    exports = [["export", sweep.run_id], ["predict", sweep.run_id, "rows.csv"]]
    check_refused(inside, [*uses(sweep), *exports], said)
    for arguments in (["verify", sweep.run_id], ["verify", "--all"], ["reproduce", sweep.run_id]):
        done = inside(*arguments)
        assert done.returncode == 1, arguments
        assert re.search(said, done.stdout), done.stdout
        assert re.search(r"(\d) of \1 runs .*; 1 sweep altered", done.stdout), done.stdout
    assert "2 of 2 runs" in inside("runs", "--sweep", sweep.run_id).stdout
    assert "configuration of the first run" in inside("show", sweep.run_id).stdout
    check_mended(inside, sweep, uses(sweep))


def test_the_objective_of_a_sweep_is_checked(inside, sweep):
    set_tag(sweep, "bpexp.objective", "accuracy")
    check_refused(inside, uses(sweep), f"bpexp resume {sweep.short_id}")
    check_mended(inside, sweep, uses(sweep))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE params SET value = '7' WHERE key = 'epochs'", "parameter epochs was altered"),
        ("DELETE FROM params WHERE 1", "The parameters were deleted"),
    ],
)
def test_a_run_with_altered_parameters_is_not_used(inside, sweep, run, statement, said):
    execute(statement, run.run_id)
    # The report of one sweep that has ended takes the settings from its table.
    check_refused(inside, [["report"], uses(sweep)[1], ["explain", run.run_id]], said)
    for command in ("verify", "reproduce"):
        done = inside(command, sweep.run_id)
        assert (done.returncode, said in done.stdout) == (1, True), command
    done = inside("-m", *SETTINGS, "reuse=true")
    assert run.run_id[:8] not in done.stdout.split("Predictions")[0].split("rank")[1]
    check_mended(inside, sweep, uses(sweep))


def test_a_run_with_another_outcome_is_altered_for_commands_on_its_network(inside, run):
    set_tag(run, "bpexp.outcome", "failed")
    commands = [["predict", run.run_id, "rows.csv"], ["export", run.run_id]]
    check_refused(inside, commands, "is altered: .*bpexp resume")


def test_files_are_not_blamed_for_damaged_digests_of_a_sweep(inside, sweep):
    set_tag(sweep, "bpexp.digests", "{}")
    compare = ["compare", sweep.run_id, sweep.run_id]
    commands = [compare, ["resume", sweep.run_id], ["report", sweep.run_id]]
    check_refused(inside, commands, "The tag bpexp.digests was altered")
    done = inside("show", sweep.run_id)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "Not shown: " in done.stderr
    assert "The tag bpexp.digests was altered" in done.stderr


@pytest.mark.parametrize(
    ("status", "said"), [("'FAILED'", "FAILED"), ("'RUNNING'", "RUNNING"), ("NULL", "empty")]
)
def test_a_finished_run_with_another_status_is_named(inside, sweep, run, status, said):
    execute(f"UPDATE runs SET status = {status} WHERE 1", run.run_id)
    said = f"it is {said}, but the run is completed"
    check_refused(inside, uses(sweep), said)
    check_refused(inside, [["predict", run.run_id, "rows.csv"]], said)
    for arguments in ([sweep.run_id], [run.run_id], ["--all"]):
        for command in ("verify", "reproduce"):
            done = inside(command, *arguments)
            assert (done.returncode, said in done.stdout) == (1, True), (command, arguments)
    check_mended(inside, sweep, uses(sweep))


def test_a_single_run_with_another_status_is_named_among_all(inside, a_store, tmp_path):
    assert inside("lr=0.7", "epochs=4").returncode == 0
    (run,) = open_archive(locate(None, tmp_path, {}), "bpexp").search()
    execute("UPDATE runs SET status = 'KILLED' WHERE 1", run.run_id)
    for command, state in (
        ("verify", "match their digests"),
        ("reproduce", "identical to the bit"),
    ):
        done = inside(command, "--all")
        assert (done.returncode, done.stdout) == (
            1,
            f"altered: {run.label}: The status was altered: it is KILLED, but the run is "
            f"completed.\n0 of 1 runs {state}, 1 altered.\n",
        )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("start_time", "NULL", "The start time was altered: it is empty"),
        ("start_time", "99999999999999999", "The start time was altered: it is 99999999999999999"),
        ("end_time", "'yesterday'", "The end time was altered: it is empty"),
    ],
)
def test_a_run_without_a_time_is_not_used(inside, sweep, run, column, value, said):
    execute(f"UPDATE runs SET {column} = {value} WHERE 1", run.run_id)
    commands = [["export", run.run_id], ["predict", run.run_id, "rows.csv"], uses(sweep)[1]]
    check_refused(inside, commands, said)
    for command in ("verify", "reproduce"):
        done = inside(command, sweep.run_id)
        assert (done.returncode, said in done.stdout) == (1, True), command
    assert inside("show", run.run_id).returncode == 0
    check_mended(inside, sweep, [uses(sweep)[1]])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE tags SET value = 'stalled' WHERE key = 'bpexp.outcome'",
            "The outcome was altered",
        ),
        ("UPDATE params SET value = '7' WHERE key = 'epochs'", "parameter epochs was altered"),
        ("UPDATE tags SET value = '{}' WHERE key = 'bpexp.digests'", "bpexp.digests was altered"),
        ("UPDATE runs SET lifecycle_stage = 'deleted' WHERE 1", "is deleted, or moved"),
    ],
)
def test_reproduce_finds_what_verify_finds(inside, sweep, run, statement, said):
    execute(statement, run.run_id)
    assert inside("verify", sweep.run_id).returncode == 1
    done = inside("reproduce", sweep.run_id)
    assert done.returncode == 1
    assert said in done.stdout


def test_a_run_that_was_moved_into_a_sweep_is_named(inside, archive, sweep, run):
    other = next(one for one in archive.search() if one.is_sweep and one.run_id != sweep.run_id)
    set_tag(run, "mlflow.parentRunId", other.run_id)
    for wanted in (other.run_id, "sweep.zip"):
        done = inside("verify", wanted)
        assert done.returncode == 1
        assert f"is not in results.csv: {run.label}" in done.stdout
        assert f"is not in results.csv: {run.label}" in inside(*uses(other)[1]).stdout


def test_a_metric_with_a_new_digest_is_not_blamed_on_the_table(inside, archive, sweep, run):
    execute("UPDATE latest_metrics SET value = 1e-9 WHERE key = 'final_loss'", run.run_id)
    digests = dict(record_digests.parse(run.tags["bpexp.digests"]))
    altered = archive.get(run.run_id)
    digests["metrics"] = record_digests.of_metrics(altered.tags, altered.metrics)
    set_tag(run, "bpexp.digests", record_digests.as_tag(digests))
    done = inside("report", sweep.run_id)
    assert done.returncode == 2
    assert f"{run.label} is altered: final_loss of" in done.stderr
    assert "results.parquet" not in done.stderr


def test_an_altered_single_run_says_what_to_type(inside, a_store, tmp_path):
    assert inside("lr=0.7", "epochs=4", "seed=77").returncode == 0
    (run,) = open_archive(locate(None, tmp_path, {}), "bpexp").search()
    weights = Path("outputs", "artifacts", run.run_id, "artifacts", "weights.npz")
    weights.write_bytes(b"")
    commands = (["explain", run.run_id], ["report"], ["bundle", run.run_id, "-o", "run.zip"])
    for command in commands:
        done = inside(*command)
        assert done.returncode == 2
        assert "bpexp lr=0.7 epochs=4 seed=77 trains it again" in done.stderr
    weights.unlink()
    weights.mkdir()
    for command in commands:
        assert "bpexp lr=0.7 epochs=4 seed=77 trains it again" in inside(*command).stderr
