"""Failures of disk, database, server or process lose no finished run and store no wrong one."""

import contextlib
import os
import re
import signal
import sqlite3
import textwrap

import pytest
from disturbances import fill, lock, small_disk, unwritable
from servers import MlflowServer, Proxy, postgresql
from sweeping import (
    Halted,
    children,
    command_of,
    results,
    run_resume_command,
    run_to_end,
    runs_of,
    start,
)

from bpexp.runs import run_tags
from bpexp.tracking.store import connect, locate

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=300", "engine=numpy",
         "n_jobs=1"]  # fmt: skip
FIRST, ALL = 8, 24
"""Runs of the first batch, and of the sweep."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The results of the sweep without failures."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_to_end(folder, *SWEEP) == (0, "")
    left = results(folder)
    assert len(left) == len(set(left)) == ALL
    return left


def database(folder):
    return folder / "outputs" / "mlflow.db"


def check_complete(expected, folder, uri=None, experiment="bpexp"):
    """Assert that the store has the results of an undisturbed sweep, and the spool is empty."""
    assert results(folder, uri, experiment) == expected
    runs = runs_of(folder, uri, experiment)
    assert len(runs) == len(expected) + 1
    assert {run.status for run in runs} == {"FINISHED"}
    assert not list(folder.glob("outputs/spool/*/*"))


def check_no_run_was_trained_twice(folder, uri=None, experiment="bpexp"):
    """Assert that the first process trained all runs."""
    runs = runs_of(folder, uri, experiment)
    processes = {run.tags[run_tags.PROCESS] for run in runs if not run.is_sweep}
    assert len(processes) == 1


def check_message(ended, reason, all_spooled=True):
    """Assert that the message has the reason, the progress, and the command that resumes.

    A batch may be tracked if its artifacts were on disk before the failure. The other runs are
    spooled, unless that failed, too.
    """
    status, text = ended
    assert status == 1
    found = re.fullmatch(
        rf"bpexp: {reason}; (?P<tracked>\d+) of {ALL} runs are tracked"
        r"(; (?P<spooled>\d+) wait in outputs/spool/[0-9a-f]{32})?; "
        r"to go on: bpexp resume [0-9a-f]{8}( --\S+ \S+)*\n",
        text,
    )
    assert found, text
    tracked, spooled = int(found["tracked"]), int(found["spooled"] or 0)
    assert tracked in (FIRST, 2 * FIRST), text
    assert tracked + spooled == ALL if all_spooled else tracked + spooled < ALL, text


def test_runs_are_spooled_on_another_disk_if_that_of_the_store_is_full(expected, tmp_path):
    with small_disk(tmp_path / "disk", 16) as disk:
        uri = f"sqlite:///{disk}/mlflow.db"
        sweep = Halted(tmp_path, *SWEEP, f"tracking.uri={uri}")
        filler = fill(disk)
        ended = sweep.continue_to_end()
        # Artifacts of a batch are written while the previous batch is inserted.
        full = r"An artifact could not be written: \[Errno 28\] No space left on .*"
        check_message(ended, rf"({full}|The store refused: database or disk is full)")
        filler.unlink()
        assert run_resume_command(tmp_path, ended[1]) == (0, "")
        check_complete(expected, tmp_path, uri)
        check_no_run_was_trained_twice(tmp_path, uri)


def test_if_store_and_spool_are_full_only_the_other_runs_are_trained_again(expected, tmp_path):
    with small_disk(tmp_path / "disk", 16) as disk:
        sweep = Halted(disk, *SWEEP)
        filler = fill(disk)
        ended = sweep.continue_to_end()
        # Removing the artifacts of a failed batch may free space for some results.
        message = (
            r"(An artifact|The store refused).*; the spool in .* cannot be written either "
            r"\(.*space.*\)"
        )
        check_message(ended, message, all_spooled=False)
        filler.unlink()
        assert len(results(disk)) == int(re.search(r"(\d+) of 24 runs", ended[1])[1])
        assert run_resume_command(disk, ended[1]) == (0, "")
        check_complete(expected, disk)


@pytest.mark.parametrize("command", [SWEEP, ["epochs=5"]], ids=["sweep", "single run"])
@pytest.mark.parametrize("blocks", [3, 100])
def test_a_disk_that_is_full_at_the_start_is_reported_and_nothing_is_left(
    tmp_path, blocks, command
):
    with small_disk(tmp_path / "disk", 16) as disk:
        filler = fill(disk)
        with open(filler, "r+b") as file:
            file.truncate(filler.stat().st_size - blocks * 4096)
        status, message = run_to_end(disk, *command)
        assert status == 1
        assert message.startswith("bpexp: Cannot open the store 'sqlite:///")
        assert message.count("\n") == 1, message
        assert "disk is full" in message or "No space left" in message
        files = [path.name for path in disk.rglob("*") if path.is_file()]
        assert set(files) == {"filler", ".gitignore", "mlflow.db.lock"}
        filler.unlink()
        assert run_to_end(disk, *command) == (0, "")
        assert all(run.status == "FINISHED" for run in runs_of(disk))


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_a_sweep_waits_for_a_store_that_is_locked_for_30_seconds(expected, tmp_path, tracker):
    sweep = Halted(tmp_path, *SWEEP, tracker=tracker)
    with lock(database(tmp_path), 30) as other:
        assert sweep.continue_to_end()[0] == 0
        assert other.wait(0) == 0
    check_complete(expected, tmp_path)


def test_runs_are_spooled_if_the_store_stays_locked(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP, BPEXP_RETRY_SECONDS="1")
    other = lock(database(tmp_path), 3600)
    ended = sweep.continue_to_end()
    other.kill()
    other.communicate()
    check_message(ended, "The store could not be used after 1 s: database is locked")
    assert run_resume_command(tmp_path, ended[1]) == (0, "")
    check_complete(expected, tmp_path)
    check_no_run_was_trained_twice(tmp_path)


def test_a_read_only_database_is_reported_and_can_be_read(tmp_path):
    assert run_to_end(tmp_path, *SWEEP, "epochs=3") == (0, "")
    with unwritable(database(tmp_path)):
        status, message = run_to_end(tmp_path, *SWEEP)
        assert status == 1
        assert message == "bpexp: The store refused: attempt to write a readonly database.\n"
        assert run_to_end(tmp_path, "runs") == (0, "")
    assert len(runs_of(tmp_path)) == ALL + 1


def test_runs_are_spooled_if_the_database_becomes_read_only(expected, tmp_path):
    if os.geteuid():
        pytest.skip("did NOT run: only root can make an open file read-only")
    sweep = Halted(tmp_path, *SWEEP)
    with unwritable(database(tmp_path)):
        ended = sweep.continue_to_end()
    check_message(ended, "The store refused: .*(readonly database|disk I/O error)")
    assert run_resume_command(tmp_path, ended[1]) == (0, "")
    check_complete(expected, tmp_path)
    check_no_run_was_trained_twice(tmp_path)


def test_a_file_that_is_not_a_database_is_reported_and_not_changed(tmp_path):
    database(tmp_path).parent.mkdir()
    content = b"not a database, for as long as a page of one would be. " * 100
    database(tmp_path).write_bytes(content)
    status, message = run_to_end(tmp_path, *SWEEP)
    assert status == 1
    assert re.fullmatch(r"bpexp: Cannot open the store '.*': .*not an SQLite database\.\n", message)
    assert database(tmp_path).read_bytes() == content


def test_runs_are_spooled_if_the_database_is_damaged_and_written_to_its_backup(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP)
    copy = database(tmp_path).read_bytes()
    with open(database(tmp_path), "r+b") as file:
        file.write(bytes(len(copy)))
    ended = sweep.continue_to_end()
    check_message(ended, "The store refused: (file is not a database|.*malformed)")
    database(tmp_path).write_bytes(copy)
    assert run_resume_command(tmp_path, ended[1]) == (0, "")
    check_complete(expected, tmp_path)
    check_no_run_was_trained_twice(tmp_path)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("0123456789ab", "install the newer MLflow that created it"),
        ("451aebb31d03", "back it up, then run: mlflow db upgrade 'sqlite:///{}'"),
    ],
)
def test_a_store_of_another_mlflow_is_reported_and_not_changed(tmp_path, version, advice):
    connect(locate(None, tmp_path, {}))
    with contextlib.closing(sqlite3.connect(database(tmp_path))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        connection.commit()
    before = database(tmp_path).read_bytes()
    status, message = run_to_end(tmp_path, *SWEEP)
    assert status == 1
    assert message.startswith("bpexp: Cannot open the store '")
    assert f"its tables have version {version}, MLflow " in message
    assert message.endswith(f"; {advice.format(database(tmp_path))}.\n")
    assert message.count("\n") == 1
    assert database(tmp_path).read_bytes() == before


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_runs_are_spooled_if_their_artifacts_cannot_be_written(expected, tmp_path, tracker):
    sweep = Halted(tmp_path, *SWEEP, tracker=tracker)
    artifacts, away = tmp_path / "outputs/artifacts", tmp_path / "away"
    artifacts.rename(away)
    artifacts.write_text("a file instead of a folder")
    status, message = sweep.continue_to_end()
    artifacts.unlink()
    away.rename(artifacts)
    message = message.removeprefix("Runs are written one by one: requested by the test.\n")
    what = {"bulk": "An artifact could not be written", "client": "The store refused"}[tracker]
    check_message((status, message), rf"{what}: \[Errno \d+\] (Not a dir|File exists).*")
    assert run_resume_command(tmp_path, message) == (0, "")
    check_complete(expected, tmp_path)
    check_no_run_was_trained_twice(tmp_path)


def test_a_sweep_whose_plan_cannot_be_written_can_be_resumed(expected, tmp_path):
    assert run_to_end(tmp_path, "epochs=3") == (0, "")
    for run in runs_of(tmp_path):
        connect(locate(None, tmp_path, {})).delete_run(run.run_id)
    artifacts, away = tmp_path / "outputs/artifacts", tmp_path / "away"
    artifacts.rename(away)
    artifacts.write_text("a file instead of a folder")
    status, message = run_to_end(tmp_path, *SWEEP)
    artifacts.unlink()
    assert status == 1
    assert re.fullmatch(r"bpexp: The store refused: \[Errno .*; to go on: bpexp .*\n", message), (
        message
    )
    assert run_resume_command(tmp_path, message) == (0, "")
    check_complete(expected, tmp_path)


def test_a_damaged_spool_file_is_reported_and_its_runs_are_trained_again(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP, BPEXP_RETRY_SECONDS="0")
    other = lock(database(tmp_path), 3600)
    _, message = sweep.continue_to_end()
    other.kill()
    other.communicate()
    _, file = sorted(tmp_path.glob("outputs/spool/*/*.npz"))
    file.write_bytes(file.read_bytes()[:-100])
    status, again = run_resume_command(tmp_path, message)
    name = file.relative_to(tmp_path)
    assert (status, again) == (2, f"bpexp: {name} is damaged; delete it to train the runs in it "
                                  "again.\n")  # fmt: skip
    file.unlink()
    assert run_resume_command(tmp_path, message) == (0, "")
    check_complete(expected, tmp_path)


KILLED_WHILE_SPOOLING = {
    "partly": """
def write_file(file, content):
    file.with_name(f"{file.name}.1f.new").write_bytes(content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

durable.write_file = write_file
""",
    # The content is written, and not yet under its name.
    "unnamed": "kill_at(os, 'fsync', 1)",
    # The file is there, its name not yet on disk.
    "unsynced": "kill_at(os, 'fsync', 2)",
    "second file": "kill_at(os, 'fsync', 3)",
}
KILLED_WHILE_STORING = {
    # Of the two files: the artifacts of the first one are written.
    "staged": "kill_at(bulk.BulkStagedRuns, 'commit', 1)",
    "stored": "kill_at(spool, 'remove', 1)",
    "stored twice": "kill_at(spool, 'remove', 2)",
    "removed": "kill_at(spool, 'remove_empty_folders', 1)",
}
KILL_AT = """
import os, signal
from bpexp.tracking import bulk, durable, spool

def kill_at(owner, name, number):
    original, calls = getattr(owner, name), []

    def counted(*arguments):
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(owner, name, counted)

"""
WHEN_SPOOLING = """
original_write = spool.write

def write(*arguments):
    spool.write = original_write
    start_counting()
    return original_write(*arguments)

spool.write = write

def start_counting():
"""


@pytest.mark.parametrize("at", KILLED_WHILE_SPOOLING)
def test_a_sweep_killed_while_it_spools_runs_is_resumed(expected, tmp_path, at):
    before = KILL_AT + WHEN_SPOOLING + textwrap.indent(KILLED_WHILE_SPOOLING[at], "    ")
    sweep = Halted(tmp_path, *SWEEP, before=before, BPEXP_RETRY_SECONDS="0")
    other = lock(database(tmp_path), 3600)
    assert sweep.continue_to_end() == (-signal.SIGKILL, "")
    other.kill()
    other.communicate()
    complete = len(list(tmp_path.glob("outputs/spool/*/*.npz")))
    assert complete == {"partly": 0, "unnamed": 0, "unsynced": 1, "second file": 1}[at]
    (parent,) = [run for run in runs_of(tmp_path) if run.is_sweep]
    assert run_to_end(tmp_path, "resume", parent.run_id) == (0, "")
    check_complete(expected, tmp_path)
    assert not (tmp_path / "outputs/spool").exists()


@pytest.mark.parametrize("at", KILLED_WHILE_STORING)
def test_a_resume_killed_while_it_stores_spooled_runs_is_repeated(expected, tmp_path, at):
    sweep = Halted(tmp_path, *SWEEP, BPEXP_RETRY_SECONDS="0")
    other = lock(database(tmp_path), 3600)
    sweep.continue_to_end()
    other.kill()
    other.communicate()
    assert len(list(tmp_path.glob("outputs/spool/*/*.npz"))) == 2
    (parent,) = [run for run in runs_of(tmp_path) if run.is_sweep]
    resume = ["resume", parent.run_id]
    process = start(tmp_path, "bulk", *resume, before=KILL_AT + KILLED_WHILE_STORING[at])
    process.communicate(timeout=170)
    assert process.returncode == -signal.SIGKILL
    assert run_to_end(tmp_path, *resume) == (0, "")
    check_complete(expected, tmp_path)
    check_no_run_was_trained_twice(tmp_path)
    assert not (tmp_path / "outputs/spool").exists()


def test_two_sweeps_write_to_one_store_at_the_same_time(expected, tmp_path):
    other = [*SWEEP[:2], "seed=range(4,8)", *SWEEP[3:]]
    first, second = Halted(tmp_path, *SWEEP), Halted(tmp_path, *other)
    second.continue_in_background()
    assert first.continue_to_end() == (0, "")
    assert second.continue_to_end() == (0, "")
    runs = runs_of(tmp_path)
    assert {run.status for run in runs} == {"FINISHED"}
    assert len(runs) == 2 * (ALL + 1)
    assert set(expected) < set(results(tmp_path))
    parents = {run.run_id for run in runs if run.is_sweep}
    for parent in parents:
        assert sum(run.parent == parent for run in runs) == ALL


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_only_one_process_resumes_a_sweep(expected, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        uri = stack.enter_context(postgresql()).uri if kind == "postgresql" else None
        check_that_one_process_resumes(expected, tmp_path, uri)


def check_that_one_process_resumes(expected, tmp_path, uri):
    at_uri, option = ([f"tracking.uri='{uri}'"], ["--uri", uri]) if uri else ([], [])
    Halted(tmp_path, *SWEEP, *at_uri).kill()
    (sweep,) = [run.run_id for run in runs_of(tmp_path, uri) if run.is_sweep]
    both = [start(tmp_path, "bulk", "resume", sweep, *option) for _ in range(2)]
    for process in both:
        _, message = process.communicate(timeout=170)
        if process.returncode:
            assert process.returncode == 2
            assert re.search(r"is still running, in process \d+|is being resumed by", message)
        else:
            # On a busy machine, a process says that it waits for the other.
            assert re.fullmatch(r"(Waiting for another process that holds .*\n)?", message)
    assert 0 in [process.returncode for process in both]
    check_complete(expected, tmp_path, uri)


BACKWARDS = """
import itertools, time
began, ticks = time.time_ns(), itertools.count()
time.time_ns = lambda: began - 3_600_000_000_000 * next(ticks)
time.time = lambda: time.time_ns() / 1e9
"""


def test_a_clock_that_goes_backwards_does_not_affect_a_sweep(expected, tmp_path):
    assert Halted(tmp_path, *SWEEP, before=BACKWARDS).continue_to_end() == (0, "")
    check_complete(expected, tmp_path)
    for run in runs_of(tmp_path):
        assert run.ended >= run.started


def test_a_sweep_is_resumed_after_the_clock_was_set_back(expected, tmp_path):
    Halted(tmp_path, *SWEEP).kill()
    (sweep,) = [run.run_id for run in runs_of(tmp_path) if run.is_sweep]
    process = start(tmp_path, "bulk", "resume", sweep, before=BACKWARDS)
    assert (process.communicate(timeout=170)[1], process.returncode) == ("", 0)
    check_complete(expected, tmp_path)


def test_the_runs_of_a_killed_worker_are_trained_again(expected, tmp_path):
    # SIGKILL is what the kernel sends when memory runs out.
    sweep = Halted(tmp_path, *SWEEP[:-1], "n_jobs=2")
    workers = [pid for pid in children(sweep.process.pid) if "popen_loky" in command_of(pid)]
    assert workers
    os.kill(workers[-1], signal.SIGKILL)
    assert sweep.continue_to_end() == (0, "")
    check_complete(expected, tmp_path)


def test_a_killed_study_is_closed_and_can_be_resumed(tmp_path):
    study = ["-m", "+study=seed_lottery", "study.trials=20", "epochs=300", "n_jobs=1"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    assert run_to_end(undisturbed, *study) == (0, "")
    Halted(killed, *study, at="planned").kill()
    assert run_to_end(killed, "epochs=3") == (0, "")
    (sweep,) = [run for run in runs_of(killed) if run.is_sweep]
    assert sweep.status == "KILLED"
    assert run_to_end(killed, "resume", sweep.run_id) == (0, "")
    tables = []
    for folder in (undisturbed, killed):
        (parent,) = [run for run in runs_of(folder) if run.is_sweep]
        assert parent.status == "FINISHED"
        files = folder / "outputs/artifacts" / parent.run_id / "artifacts"
        tables.append([(files / name).read_text() for name in ("results.csv", "study.md")])
    assert tables[0] == tables[1]
    assert tables[0][0].count("\n") == 41


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server that can be stopped and restarted."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxy(server):
    """A proxy of that server that fails on request."""
    made = Proxy(server.port)
    yield made
    made.close()


def at(uri, experiment):
    """Overrides for a store and an experiment."""
    return f"tracking.uri='{uri}'", f"tracking.experiment={experiment}"


def test_a_sweep_waits_for_a_restart_of_the_server(expected, tmp_path, server):
    sweep = Halted(tmp_path, *SWEEP, *at(server.url, "restart"))
    server.stop()
    sweep.continue_in_background()  # the server does not answer
    server.start()
    assert sweep.continue_to_end() == (0, "")
    check_complete(expected, tmp_path, server.url, "restart")


def test_a_sweep_waits_for_a_server_that_answers_500_for_a_while(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "broken"))
    before, proxy.status, proxy.failing = proxy.failed, 500, 25
    assert sweep.continue_to_end() == (0, "")
    assert proxy.failed - before == 25
    check_complete(expected, tmp_path, proxy.url, "broken")


def test_runs_are_spooled_if_a_server_keeps_failing(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "stays"), BPEXP_RETRY_SECONDS="1")
    proxy.status, proxy.failing = 503, 10**9
    ended = sweep.continue_to_end()
    proxy.failing = 0
    check_message(ended, "The store could not be used after 1 s: too many 503 error responses")
    assert run_resume_command(tmp_path, ended[1]) == (0, "")
    check_complete(expected, tmp_path, proxy.url, "stays")
    check_no_run_was_trained_twice(tmp_path, proxy.url, "stays")


def test_a_request_that_a_server_refuses_is_not_retried(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "refuses"))
    before, proxy.status, proxy.failing = proxy.failed, 403, 10**9
    ended = sweep.continue_to_end()
    proxy.failing = 0
    # Eight requests run at the same time, and each is made at most twice.
    assert proxy.failed - before <= 16
    check_message(ended, "The store refused: .*permission.*")
    assert run_resume_command(tmp_path, ended[1]) == (0, "")
    check_complete(expected, tmp_path, proxy.url, "refuses")


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_a_sweep_waits_for_a_restart_of_postgresql(expected, tmp_path, tracker):
    with postgresql() as database:
        sweep = Halted(tmp_path, *SWEEP, *at(database.uri, "restart"), tracker=tracker)
        database.stop()
        sweep.continue_in_background()
        database.start()
        assert sweep.continue_to_end()[0] == 0
        check_complete(expected, tmp_path, database.uri, "restart")


def test_a_run_is_not_created_twice_if_the_response_is_lost(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "lost"))
    before, proxy.losing = proxy.failed, 12
    assert sweep.continue_to_end() == (0, "")
    assert proxy.failed - before == 12
    check_complete(expected, tmp_path, proxy.url, "lost")
