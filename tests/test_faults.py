"""What happens to the machine or the store costs no finished run and leaves no wrong one."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys

import pytest
from servers import MlflowServer, Proxy, postgresql
from sweeping import (
    Halted,
    carry_out,
    children,
    command_of,
    results,
    resume_as_told,
    runs_of,
    start,
)

from bpexp.tracking import read
from bpexp.tracking.store import connect, locate

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=300", "engine=numpy",
         "n_jobs=1"]  # fmt: skip
FIRST, ALL = 8, 24
"""Runs of the first pack, and of the sweep."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the sweep leaves that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert carry_out(folder, *SWEEP) == (0, "")
    left = results(folder)
    assert len(left) == len(set(left)) == ALL
    return left


def database(folder):
    return folder / "outputs" / "mlflow.db"


def check_whole(expected, folder, uri=None, experiment="bpexp"):
    """The store is that of an undisturbed sweep, and nothing waits any more."""
    assert results(folder, uri, experiment) == expected
    runs = runs_of(folder, uri, experiment)
    assert len(runs) == len(expected) + 1
    assert {run.status for run in runs} == {"FINISHED"}
    assert not list(folder.glob("outputs/spool/*/*"))


def check_nothing_trained_again(folder, uri=None, experiment="bpexp"):
    """All runs are of the start of the first process."""
    runs = read.search(connect(locate(uri, folder, {})), experiment)
    assert len({run.info.start_time for run in runs}) == 1


def check_said(ended, said, all_wait=True):
    """One sentence: what happened, how far it came, and the command. A pack may be tracked whose
    artifacts were on disk before the fault; what is not waits, unless that was not possible either.
    """
    status, text = ended
    assert status == 1
    found = re.fullmatch(
        rf"bpexp: {said}; (?P<tracked>\d+) of {ALL} runs are tracked"
        r"(; (?P<waiting>\d+) wait in outputs/spool/[0-9a-f]{32})?; "
        r"to go on: python -m bpexp resume [0-9a-f]{8}( --\S+ \S+)*\n",
        text,
    )
    assert found, text
    tracked, waiting = int(found["tracked"]), int(found["waiting"] or 0)
    assert tracked in (FIRST, 2 * FIRST), text
    assert tracked + waiting == ALL if all_wait else tracked + waiting < ALL, text


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """A file system of that size at ``folder``; skips, and says so, where none can be had."""
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
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    return filler


@contextlib.contextmanager
def unwritable(path):
    """A file or folder that nobody can change; skips, and says so, where none can be made."""
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
    """A process that keeps an SQLite file locked for so long."""
    command = [sys.executable, "-c", LOCK, file, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_results_of_a_full_store_wait_on_another_disk(expected, tmp_path):
    with small_disk(tmp_path / "disk", 16) as disk:
        uri = f"sqlite:///{disk}/mlflow.db"
        sweep = Halted(tmp_path, *SWEEP, f"tracking.uri={uri}")
        filler = fill(disk)
        ended = sweep.go_on()
        # Of a pack the artifacts are written while the database takes the one before it.
        full = r"An artifact could not be written: \[Errno 28\] No space left on .*"
        check_said(ended, rf"({full}|The store refused: database or disk is full)")
        filler.unlink()
        assert resume_as_told(tmp_path, ended[1]) == (0, "")
        check_whole(expected, tmp_path, uri)
        check_nothing_trained_again(tmp_path, uri)


def test_where_all_is_full_what_is_tracked_is_kept_and_the_rest_trained_again(expected, tmp_path):
    with small_disk(tmp_path / "disk", 16) as disk:
        sweep = Halted(disk, *SWEEP)
        filler = fill(disk)
        ended = sweep.go_on()
        # What a pack's artifacts leave when they are taken back may be room for its results.
        said = r"(An artifact|The store refused).* it could not be kept in .* either \(.*space.*\)"
        check_said(ended, said, all_wait=False)
        filler.unlink()
        assert len(results(disk)) == int(re.search(r"(\d+) of 24 runs", ended[1])[1])
        assert resume_as_told(disk, ended[1]) == (0, "")
        check_whole(expected, disk)


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_a_store_that_is_locked_for_30_seconds_is_waited_for(expected, tmp_path, tracker):
    sweep = Halted(tmp_path, *SWEEP, tracker=tracker)
    with lock(database(tmp_path), 30) as other:
        assert sweep.go_on()[0] == 0
        assert other.wait(0) == 0
    check_whole(expected, tmp_path)


def test_results_of_a_store_that_stays_locked_wait(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP, BPEXP_RETRY_SECONDS="1")
    other = lock(database(tmp_path), 3600)
    ended = sweep.go_on()
    other.kill()
    other.communicate()
    check_said(ended, "The store could not be used after 1 s: database is locked")
    assert resume_as_told(tmp_path, ended[1]) == (0, "")
    check_whole(expected, tmp_path)
    check_nothing_trained_again(tmp_path)


def test_a_database_that_is_read_only_is_one_sentence_and_can_be_read(tmp_path):
    assert carry_out(tmp_path, *SWEEP, "epochs=3") == (0, "")
    with unwritable(database(tmp_path)):
        status, said = carry_out(tmp_path, *SWEEP)
        assert status == 1
        assert said == "bpexp: The store refused: attempt to write a readonly database.\n"
        assert carry_out(tmp_path, "runs") == (0, "")
    assert len(runs_of(tmp_path)) == ALL + 1


def test_results_of_a_database_that_becomes_read_only_wait(expected, tmp_path):
    if os.geteuid():
        pytest.skip("did NOT run: only root can take away what is open for writing")
    sweep = Halted(tmp_path, *SWEEP)
    with unwritable(database(tmp_path)):
        ended = sweep.go_on()
    check_said(ended, "The store refused: .*(readonly database|disk I/O error)")
    assert resume_as_told(tmp_path, ended[1]) == (0, "")
    check_whole(expected, tmp_path)
    check_nothing_trained_again(tmp_path)


def test_a_database_that_is_none_is_one_sentence_and_left_alone(tmp_path):
    database(tmp_path).parent.mkdir()
    content = b"not a database, for as long as a page of one would be. " * 100
    database(tmp_path).write_bytes(content)
    status, said = carry_out(tmp_path, *SWEEP)
    assert status == 1
    assert re.fullmatch(r"bpexp: tracking.uri must be a store that opens, got '.*': The store "
                        r"refused: file is not a database\.\n", said), said  # fmt: skip
    assert database(tmp_path).read_bytes() == content


def test_results_of_a_database_that_breaks_wait_for_its_copy(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP)
    copy = database(tmp_path).read_bytes()
    with open(database(tmp_path), "r+b") as file:
        file.write(bytes(len(copy)))
    ended = sweep.go_on()
    check_said(ended, "The store refused: (file is not a database|.*malformed)")
    database(tmp_path).write_bytes(copy)
    assert resume_as_told(tmp_path, ended[1]) == (0, "")
    check_whole(expected, tmp_path)
    check_nothing_trained_again(tmp_path)


@pytest.mark.parametrize(
    ("version", "mend"),
    [
        ("0123456789ab", "the MLflow that made it, a newer one, is needed"),
        ("451aebb31d03", "'mlflow db upgrade' makes it one, after a copy was taken"),
    ],
)
def test_a_store_of_another_mlflow_is_named_and_left_alone(tmp_path, version, mend):
    connect(locate(None, tmp_path, {}))
    with contextlib.closing(sqlite3.connect(database(tmp_path))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        connection.commit()
    before = database(tmp_path).read_bytes()
    status, said = carry_out(tmp_path, *SWEEP)
    assert status == 1
    assert said.startswith("bpexp: tracking.uri must be a store that opens, got ")
    assert said.endswith(f"got version {version}; {mend}.\n")
    assert said.count("\n") == 1
    assert database(tmp_path).read_bytes() == before


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_results_whose_artifacts_cannot_be_written_wait(expected, tmp_path, tracker):
    sweep = Halted(tmp_path, *SWEEP, tracker=tracker)
    artifacts, away = tmp_path / "outputs/artifacts", tmp_path / "away"
    artifacts.rename(away)
    artifacts.write_text("a file, not a folder")
    status, said = sweep.go_on()
    artifacts.unlink()
    away.rename(artifacts)
    said = said.removeprefix("Runs are written one by one: asked to.\n")
    what = {"bulk": "An artifact could not be written", "client": "The store refused"}[tracker]
    check_said((status, said), rf"{what}: \[Errno \d+\] (Not a dir|File exists).*")
    assert resume_as_told(tmp_path, said) == (0, "")
    check_whole(expected, tmp_path)
    check_nothing_trained_again(tmp_path)


def test_a_plan_that_cannot_be_written_is_told_with_the_command(expected, tmp_path):
    assert carry_out(tmp_path, "epochs=3") == (0, "")
    for run in runs_of(tmp_path):
        connect(locate(None, tmp_path, {})).delete_run(run.run_id)
    artifacts, away = tmp_path / "outputs/artifacts", tmp_path / "away"
    artifacts.rename(away)
    artifacts.write_text("a file, not a folder")
    status, said = carry_out(tmp_path, *SWEEP)
    artifacts.unlink()
    assert status == 1
    assert re.fullmatch(r"bpexp: The store refused: \[Errno .*; to go on: python .*\n", said), said
    assert resume_as_told(tmp_path, said) == (0, "")
    check_whole(expected, tmp_path)


def test_a_broken_spool_is_named_and_trained_again_without_it(expected, tmp_path):
    sweep = Halted(tmp_path, *SWEEP, BPEXP_RETRY_SECONDS="0")
    other = lock(database(tmp_path), 3600)
    _, said = sweep.go_on()
    other.kill()
    other.communicate()
    _, file = sorted(tmp_path.glob("outputs/spool/*/*.npz"))
    file.write_bytes(file.read_bytes()[:-100])
    status, again = resume_as_told(tmp_path, said)
    name = file.relative_to(tmp_path)
    assert (status, again) == (2, f"bpexp: {name} must hold finished runs, got a broken file; "
                                  "without it they are trained again.\n")  # fmt: skip
    file.unlink()
    assert resume_as_told(tmp_path, said) == (0, "")
    check_whole(expected, tmp_path)


def test_two_sweeps_write_to_one_store_at_once(expected, tmp_path):
    other = [*SWEEP[:2], "seed=range(4,8)", *SWEEP[3:]]
    first, second = Halted(tmp_path, *SWEEP), Halted(tmp_path, *other)
    second.let_go()
    assert first.go_on() == (0, "")
    assert second.go_on() == (0, "")
    runs = runs_of(tmp_path)
    assert {run.status for run in runs} == {"FINISHED"}
    assert len(runs) == 2 * (ALL + 1)
    assert set(expected) < set(results(tmp_path))
    parents = {run.run_id for run in runs if run.is_sweep}
    for parent in parents:
        assert sum(run.parent == parent for run in runs) == ALL


def test_a_sweep_is_resumed_by_one_process_only(expected, tmp_path):
    Halted(tmp_path, *SWEEP).kill()
    (sweep,) = [run.run_id for run in runs_of(tmp_path) if run.is_sweep]
    both = [start(tmp_path, "bulk", "resume", sweep) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=170)
        if process.returncode:
            assert process.returncode == 2
            assert re.search(r"SWEEP must have ended, got .* which process \d+ is at\.\n$", said)
        else:
            assert said == ""
    assert 0 in [process.returncode for process in both]
    check_whole(expected, tmp_path)


BACKWARDS = """
import itertools, time
began, ticks = time.time_ns(), itertools.count()
time.time_ns = lambda: began - 3_600_000_000_000 * next(ticks)
time.time = lambda: time.time_ns() / 1e9
"""


def test_a_clock_that_goes_backwards_changes_nothing(expected, tmp_path):
    assert Halted(tmp_path, *SWEEP, before=BACKWARDS).go_on() == (0, "")
    check_whole(expected, tmp_path)
    for run in read.search(connect(locate(None, tmp_path, {})), "bpexp"):
        assert run.info.end_time >= run.info.start_time


def test_a_sweep_is_resumed_before_it_began_where_the_clock_was_set_back(expected, tmp_path):
    Halted(tmp_path, *SWEEP).kill()
    (sweep,) = [run.run_id for run in runs_of(tmp_path) if run.is_sweep]
    process = start(tmp_path, "bulk", "resume", sweep, before=BACKWARDS)
    assert (process.communicate(timeout=170)[1], process.returncode) == ("", 0)
    check_whole(expected, tmp_path)


def test_a_worker_that_is_killed_costs_nothing(expected, tmp_path):
    # Ended as the kernel does for want of memory; its runs are trained again in another.
    sweep = Halted(tmp_path, *SWEEP[:-1], "n_jobs=2")
    workers = [pid for pid in children(sweep.process.pid) if "popen_loky" in command_of(pid)]
    assert workers
    os.kill(workers[-1], signal.SIGKILL)
    assert sweep.go_on() == (0, "")
    check_whole(expected, tmp_path)


def test_a_study_that_is_killed_is_closed_and_trained_again(tmp_path):
    study = ["-m", "+study=seed_lottery", "study.trials=20", "epochs=300", "n_jobs=1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    assert carry_out(whole, *study) == (0, "")
    Halted(cut, *study, at="planned").kill()
    assert carry_out(cut, "epochs=3") == (0, "")
    (sweep,) = [run for run in runs_of(cut) if run.is_sweep]
    assert sweep.status == "KILLED"
    assert carry_out(cut, "resume", sweep.run_id) == (0, "")
    tables = []
    for folder in (whole, cut):
        (parent,) = [run for run in runs_of(folder) if run.is_sweep]
        assert parent.status == "FINISHED"
        files = folder / "outputs/artifacts" / parent.run_id / "artifacts"
        tables.append([(files / name).read_text() for name in ("results.csv", "study.md")])
    assert tables[0] == tables[1]
    assert tables[0][0].count("\n") == 41


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server that can be ended and started again."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxy(server):
    """A proxy before it that fails on command."""
    made = Proxy(server.port)
    yield made
    made.close()


def at(uri, experiment):
    """Settings that keep a sweep in a store under an experiment of its own."""
    return f"tracking.uri='{uri}'", f"tracking.experiment={experiment}"


def test_a_server_that_restarts_is_waited_for(expected, tmp_path, server):
    sweep = Halted(tmp_path, *SWEEP, *at(server.url, "restart"))
    server.stop()
    sweep.let_go()  # and find nobody
    server.start()
    assert sweep.go_on() == (0, "")
    check_whole(expected, tmp_path, server.url, "restart")


def test_a_server_that_answers_500_for_a_while_is_waited_for(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "broken"))
    before, proxy.status, proxy.failing = proxy.failed, 500, 25
    assert sweep.go_on() == (0, "")
    assert proxy.failed - before == 25
    check_whole(expected, tmp_path, proxy.url, "broken")


def test_results_of_a_server_that_stays_broken_wait(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "stays"), BPEXP_RETRY_SECONDS="1")
    proxy.status, proxy.failing = 503, 10**9
    ended = sweep.go_on()
    proxy.failing = 0
    check_said(ended, "The store could not be used after 1 s: too many 503 error responses")
    assert resume_as_told(tmp_path, ended[1]) == (0, "")
    check_whole(expected, tmp_path, proxy.url, "stays")
    check_nothing_trained_again(tmp_path, proxy.url, "stays")


def test_a_server_that_refuses_is_not_waited_for(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "refuses"))
    before, proxy.status, proxy.failing = proxy.failed, 403, 10**9
    ended = sweep.go_on()
    proxy.failing = 0
    # Eight runs are under way at once when the first is refused, and all are offered again.
    assert proxy.failed - before <= 16
    check_said(ended, "The store refused: .*403.*")
    assert resume_as_told(tmp_path, ended[1]) == (0, "")
    check_whole(expected, tmp_path, proxy.url, "refuses")


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_postgresql_that_restarts_is_waited_for(expected, tmp_path, tracker):
    with postgresql() as database:
        sweep = Halted(tmp_path, *SWEEP, *at(database.uri, "restart"), tracker=tracker)
        database.stop()
        sweep.let_go()
        database.start()
        assert sweep.go_on()[0] == 0
        check_whole(expected, tmp_path, database.uri, "restart")


def test_a_run_whose_creation_was_not_heard_of_is_not_made_twice(expected, tmp_path, proxy):
    sweep = Halted(tmp_path, *SWEEP, *at(proxy.url, "unheard"))
    before, proxy.losing = proxy.failed, 12
    assert sweep.go_on() == (0, "")
    assert proxy.failed - before == 12
    check_whole(expected, tmp_path, proxy.url, "unheard")
