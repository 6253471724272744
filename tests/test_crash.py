"""A sweep that is killed at any time loses no finished run and stores no incomplete one."""

import contextlib
import os
import random
import signal
import subprocess
import time

import psycopg
import pytest
from servers import mlflow_server, postgresql
from sweeping import children, next_line, results, run_to_end, runs_of, start

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=3000", "engine=numpy",
         "n_jobs=2"]  # fmt: skip
COMBINATIONS = [
    ("sqlite", "bulk"),
    ("sqlite", "client"),
    ("postgresql", "bulk"),
    ("http", "client"),
]
"""Combinations of store and tracker; each kill uses the next one."""
MESSAGES = {("sqlite", "client"): "Runs are written one by one: requested by the test.\n"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """URIs by kind of store; None for the SQLite file that a sweep creates."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(folder) as server, postgresql() as database:
        yield {"sqlite": None, "postgresql": database.uri, "http": server}


class SweepLocation:
    """A folder and an experiment for one sweep."""

    def __init__(self, stores, combination, folder, experiment):
        (self.store, self.tracker), self.folder = combination, folder
        self.uri, self.experiment = stores[self.store], experiment
        self.message = MESSAGES.get(combination, "")

    def sweep(self):
        more = [f"tracking.uri='{self.uri}'"] if self.uri else []
        return self._start(*SWEEP, f"tracking.experiment={self.experiment}", *more)

    def resume(self, sweep):
        more = ["--uri", self.uri] if self.uri else []
        return self._start("resume", sweep, "--experiment", self.experiment, *more)

    def _start(self, *arguments):
        # On a server the client tracker is the only one.
        tracker = "bulk" if self.store == "http" else self.tracker
        return start(self.folder, tracker, *arguments)

    def exists(self):
        return self.uri is not None or (self.folder / "outputs/mlflow.db").exists()

    def runs(self):
        return runs_of(self.folder, self.uri, self.experiment) if self.exists() else []

    def results(self):
        return results(self.folder, self.uri, self.experiment) if self.runs() else []

    def await_plan(self, process):
        """Wait until the plan of the sweep is stored, or the process has ended."""
        if self.store == "http":
            # The files are on the server; polling it faster would slow it down.
            while process.poll() is None and not any(run.is_sweep for run in self.runs()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
            return
        plan = "outputs/artifacts/*/*/plan.jsonl.gz"
        while process.poll() is None and not list(self.folder.glob(plan)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, stores):
    """The results of a sweep that is not killed, and durations for each combination.

    Durations are those from the first line of output to the stored plan, and from there to the
    end.
    """
    seconds, left = {}, []
    for combination in COMBINATIONS:
        location = SweepLocation(
            stores,
            combination,
            tmp_path_factory.mktemp("undisturbed"),
            f"undisturbed-{combination[1]}",
        )
        process = location.sweep()
        next_line(process, process.stdout)
        first_line = time.monotonic()
        location.await_plan(process)
        planned = time.monotonic()
        _, errors = process.communicate(timeout=170)
        seconds[combination] = planned - first_line, time.monotonic() - planned
        assert (process.returncode, errors) == (0, location.message)
        left.append(location.results())
    assert left == [left[0]] * len(COMBINATIONS)
    assert len(left[0]) == len(set(left[0])) == 24
    return left[0], seconds


def test_a_killed_and_resumed_sweep_has_the_results_of_an_undisturbed_one(
    kill, stores, undisturbed, tmp_path, record_property
):
    expected, seconds = undisturbed
    combination = COMBINATIONS[kill % len(COMBINATIONS)]
    location = SweepLocation(stores, combination, tmp_path, f"kill-{kill}")
    rng = random.Random(kill)
    process = location.sweep()
    next_line(process, process.stdout)  # the configuration is parsed
    before, after = seconds[combination]
    if kill % 5:
        location.await_plan(process)
    try:
        process.wait(rng.uniform(0.0, after if kill % 5 else before))
    except subprocess.TimeoutExpired:
        workers = children(process.pid)
        # Every third kill hits a worker process, if there is one.
        victim = rng.choice(workers) if kill % 3 == 2 and workers else process.pid
        os.kill(victim, signal.SIGKILL)
    process.wait(170)
    # Idle workers of a dead parent would run for minutes.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left = location.results()
    record_property("finished when killed", len(left))
    assert set(left) <= set(expected)
    assert len(left) == len(set(left))
    sweeps = [run for run in location.runs() if run.is_sweep]
    # If it was killed before the sweep was stored, it is started again.
    again = location.resume(sweeps[0].run_id) if sweeps else location.sweep()
    out, errors = again.communicate(timeout=170)
    # Where all runs were stored, nothing is written one by one.
    assert again.returncode == 0, errors
    assert errors in ("", location.message), out
    assert location.results() == expected
    runs = location.runs()
    assert len(runs) == 25
    assert {run.status for run in runs} == {"FINISHED"}


SMALL = ["-m", "seed=1,2", "epochs=5"]
AT_STATEMENT = """
import atexit, os, signal
from sqlalchemy import event
from sqlalchemy.engine import Engine

statements = []

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *others):
    statements.append(statement)
    if len(statements) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)

atexit.register(lambda: print(len(statements)))
"""
"""Kills the program at the SQL statement with this number, or prints how many there were."""
PARTS = 4
"""In how many places of the creation of a store the program is killed."""


@pytest.fixture
def new_store(request, tmp_path, stores):
    """Arguments for a store that does not exist yet, and the URI; by the kind of database."""
    if request.param == "sqlite":
        return [], None
    name = f"new_{abs(hash(tmp_path))}"
    with psycopg.connect(stores["postgresql"], autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    uri = stores["postgresql"].replace("/postgres?", f"/{name}?")
    return [f"tracking.uri='{uri}'"], uri


@pytest.fixture(scope="module")
def statements():
    """How many statements an undisturbed start executes, by the kind of database."""
    return {}


@pytest.mark.parametrize("part", range(PARTS + 1))
@pytest.mark.parametrize("new_store", ["sqlite", "postgresql"], indirect=True)
def test_a_start_that_is_killed_while_it_creates_the_store_is_repeated(
    new_store, part, statements, tmp_path
):
    at, uri = new_store
    kind = "sqlite" if uri is None else "postgresql"
    number = statements.get(kind, 0) * part // PARTS - random.Random(part).randrange(5)
    process = start(tmp_path, "bulk", *SMALL, *at, before=AT_STATEMENT.format(number=number))
    out, _ = process.communicate(timeout=170)
    if part == 0:
        assert process.returncode == 0
        statements[kind] = int(out.split()[-1])
        assert statements[kind] > 100
        return
    assert process.returncode == -signal.SIGKILL
    assert run_to_end(tmp_path, *SMALL, *at) == (0, "")
    runs = runs_of(tmp_path, uri)
    finished = [run for run in runs if run.status == "FINISHED"]
    # The last kills come when the sweep is complete.
    assert sum(run.is_sweep for run in finished) in (1, 2)
    assert sum(not run.is_sweep for run in finished) in (2, 4)
    # What was killed after the store was created is closed by the second start.
    assert {run.status for run in runs} <= {"FINISHED", "KILLED"}
    assert [path.name for path in (tmp_path / "outputs").iterdir() if "new" in path.name] == []
