"""A sweep that is killed at any moment loses no finished run and leaves no wrong one."""

import contextlib
import os
import random
import signal
import subprocess
import time

import pytest
from sweeping import TRACKERS, children, results, runs_of, start

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=3000", "engine=numpy",
         "n_jobs=2"]  # fmt: skip
SAID = {"bulk": "", "client": "Runs are written one by one: asked to.\n"}


def await_plan(process, folder):
    """Until the sweep's plan is kept, or the process has ended."""
    while process.poll() is None and not list(folder.glob("outputs/artifacts/*/*/plan.jsonl.gz")):
        pass


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a sweep leaves that nothing happens to; and how long each tracker took from the first
    line to the plan, and from there to the end.
    """
    seconds, left = {}, {}
    for tracker in TRACKERS:
        folder = tmp_path_factory.mktemp(tracker)
        process = start(folder, tracker, *SWEEP)
        process.stdout.readline()
        begun = time.monotonic()
        await_plan(process, folder)
        planned = time.monotonic()
        _, errors = process.communicate(timeout=170)
        seconds[tracker] = planned - begun, time.monotonic() - planned
        assert (process.returncode, errors) == (0, SAID[tracker])
        left[tracker] = results(folder)
    assert left["bulk"] == left["client"]
    assert len(left["bulk"]) == len(set(left["bulk"])) == 24
    return left["bulk"], seconds


def test_a_killed_sweep_is_resumed_to_what_it_would_have_been(
    kill, undisturbed, tmp_path, record_property
):
    expected, seconds = undisturbed
    tracker = list(TRACKERS)[kill % 2]
    rng = random.Random(kill)
    process = start(tmp_path, tracker, *SWEEP)
    process.stdout.readline()  # it has read its configuration
    before, after = seconds[tracker]
    if kill % 5:
        await_plan(process, tmp_path)
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
    there = (tmp_path / "outputs/mlflow.db").exists()
    left = results(tmp_path) if there else []
    record_property("finished when killed", len(left))
    assert set(left) <= set(expected)
    assert len(left) == len(set(left))
    if there and (sweeps := runs_of(tmp_path, filter_string="tags.`bpexp.kind` = 'sweep'")):
        arguments = ["resume", sweeps[0].run_id]
    else:
        arguments = SWEEP  # killed before there was anything to resume
    again = start(tmp_path, tracker, *arguments)
    out, errors = again.communicate(timeout=170)
    assert (again.returncode, errors) == (0, SAID[tracker]), out
    assert results(tmp_path) == expected
    runs = runs_of(tmp_path)
    assert len(runs) == 25
    assert {run.status for run in runs} == {"FINISHED"}
