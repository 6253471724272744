"""A sweep that is killed at any moment loses no finished run and leaves no wrong one."""

import contextlib
import os
import random
import signal
import subprocess
import time

import pytest
from servers import MlflowServer, postgresql
from sweeping import children, results, runs_of, start

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=3000", "engine=numpy",
         "n_jobs=2"]  # fmt: skip
WAYS = [("sqlite", "bulk"), ("sqlite", "client"), ("postgresql", "bulk"), ("http", "client")]
"""Stores and trackers, which the kills take in turn."""
SAID = {("sqlite", "client"): "Runs are written one by one: asked to.\n"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Addresses of servers, by what they are; None for the file that a sweep makes itself."""
    folder = tmp_path_factory.mktemp("server")
    server = MlflowServer(folder)
    server.start()
    try:
        with postgresql() as database:
            yield {"sqlite": None, "postgresql": database.uri, "http": server.url}
    finally:
        server.stop()


class Place:
    """Where one sweep is kept: a folder, and an experiment of its own in a store."""

    def __init__(self, stores, way, folder, experiment):
        (self.store, self.tracker), self.folder = way, folder
        self.uri, self.experiment = stores[self.store], experiment
        self.said = SAID.get(way, "")

    def sweep(self):
        more = [f"tracking.uri='{self.uri}'"] if self.uri else []
        return self._start(*SWEEP, f"tracking.experiment={self.experiment}", *more)

    def resume(self, sweep):
        more = ["--uri", self.uri] if self.uri else []
        return self._start("resume", sweep, "--experiment", self.experiment, *more)

    def _start(self, *arguments):
        # Over HTTP there is only one tracker.
        tracker = "bulk" if self.store == "http" else self.tracker
        return start(self.folder, tracker, *arguments)

    def is_there(self):
        return self.uri is not None or (self.folder / "outputs/mlflow.db").exists()

    def runs(self):
        return runs_of(self.folder, self.uri, self.experiment) if self.is_there() else []

    def results(self):
        return results(self.folder, self.uri, self.experiment) if self.runs() else []

    def await_plan(self, process):
        """Until the sweep's plan is kept, or the process has ended."""
        if self.store == "http":
            # Its files are the server's; asking it all the time would keep it from working.
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
    """What a sweep leaves that nothing happens to; and how long each way took from the first
    line to the plan, and from there to the end.
    """
    seconds, left = {}, []
    for way in WAYS:
        place = Place(stores, way, tmp_path_factory.mktemp("undisturbed"), f"undisturbed-{way[1]}")
        process = place.sweep()
        process.stdout.readline()
        begun = time.monotonic()
        place.await_plan(process)
        planned = time.monotonic()
        _, errors = process.communicate(timeout=170)
        seconds[way] = planned - begun, time.monotonic() - planned
        assert (process.returncode, errors) == (0, place.said)
        left.append(place.results())
    assert left == [left[0]] * len(WAYS)
    assert len(left[0]) == len(set(left[0])) == 24
    return left[0], seconds


def test_a_killed_sweep_is_resumed_to_what_it_would_have_been(
    kill, stores, undisturbed, tmp_path, record_property
):
    expected, seconds = undisturbed
    way = WAYS[kill % len(WAYS)]
    place = Place(stores, way, tmp_path, f"kill-{kill}")
    rng = random.Random(kill)
    process = place.sweep()
    process.stdout.readline()  # it has read its configuration
    before, after = seconds[way]
    if kill % 5:
        place.await_plan(process)
    try:
        process.wait(rng.uniform(0.0, after if kill % 5 else before))
    except subprocess.TimeoutExpired:
        workers = children(process.pid)
        # Of every three one loses a worker, if it has any at that moment.
        victim = rng.choice(workers) if kill % 3 == 2 and workers else process.pid
        os.kill(victim, signal.SIGKILL)
    process.wait(170)
    # A dead parent's idle workers would wait for minutes.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left = place.results()
    record_property("finished when killed", len(left))
    assert set(left) <= set(expected)
    assert len(left) == len(set(left))
    sweeps = [run for run in place.runs() if run.is_sweep]
    # Killed before there was anything to resume, it is started again.
    again = place.resume(sweeps[0].run_id) if sweeps else place.sweep()
    out, errors = again.communicate(timeout=170)
    assert (again.returncode, errors) == (0, place.said), out
    assert place.results() == expected
    runs = place.runs()
    assert len(runs) == 25
    assert {run.status for run in runs} == {"FINISHED"}
