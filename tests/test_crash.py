"""A sweep that is killed at any moment loses no finished run and leaves no wrong one."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from bpexp.reproduce.stored import result_of
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate

pytestmark = pytest.mark.long

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=3000", "engine=numpy",
         "n_jobs=2"]  # fmt: skip
TRACKERS = {
    "bulk": "from bpexp.cli import main; main()",
    "client": "from bpexp.tracking import bulk; bulk.refusal = lambda store: 'asked to'; "
              "from bpexp.cli import main; main()",
}  # fmt: skip
SAID = {"bulk": "", "client": "Runs are written one by one: asked to.\n"}


def start(folder, tracker, *arguments):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
    return subprocess.Popen(
        [sys.executable, "-c", TRACKERS[tracker], *arguments],
        cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def results(folder):
    """(identity, result digest) of every run that is shown as FINISHED, sorted; each is whole."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    finished = [r for r in archive.search("attributes.status = 'FINISHED'") if not r.is_sweep]
    for run in finished:
        assert result_of(run, archive).digest == run.tags["bpexp.result"]
        assert "final_loss" in run.metrics
    return sorted((run.tags["bpexp.identity"], run.tags["bpexp.result"]) for run in finished)


def stored(folder, filter_string=""):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("bpexp")
    return client.search_runs([experiment.experiment_id], filter_string) if experiment else []


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


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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
    left = results(tmp_path) if there and stored(tmp_path) else []
    record_property("finished when killed", len(left))
    assert set(left) <= set(expected)
    assert len(left) == len(set(left))
    if there and (sweeps := stored(tmp_path, "tags.`bpexp.kind` = 'sweep'")):
        arguments = ["resume", sweeps[0].info.run_id]
    else:
        arguments = SWEEP  # killed before there was anything to resume
    again = start(tmp_path, tracker, *arguments)
    out, errors = again.communicate(timeout=170)
    assert (again.returncode, errors) == (0, SAID[tracker]), out
    assert results(tmp_path) == expected
    runs = stored(tmp_path)
    assert len(runs) == 25
    assert {run.info.status for run in runs} == {"FINISHED"}
