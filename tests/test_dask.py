"""Sweeps on a real Dask cluster: a scheduler and two worker processes on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import dask
import pytest
from distributed.cli import dask_scheduler, dask_worker
from disturbances import fill, lock, small_disk
from servers import dask_cluster, free_port
from slurm_rehearsal import batch_script
from sweeping import (
    Halted,
    next_line,
    results,
    run_resume_command,
    run_to_end,
    runs_of,
    start,
    wait_until,
)
from test_docs import ROOT

SWEEP = ["-m", "seed=range(0,20)", "lr=0.1,1", "hidden=2,3,[3,2]", "epochs=1000", "engine=numpy"]
DEADLY = """
import os, signal
from bpexp.sweeps.executors import base, dask_worker

def deadly(configs, *others):
    if any((c.seed, c.lr, c.hidden) == (13, 1.0, (2,)) for c in configs.values()):
        os.kill(os.getpid(), signal.SIGKILL)
    return base.train_runs(configs, *others)

dask_worker.train_runs = deadly
"""
OTHER = """
from bpexp.nn import arithmetic

arithmetic.VERSION = 0
"""


def on(cluster):
    return ["backend=dask", f"backend.address={cluster.address}"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def preloaded(tmp_path):
    """A cluster whose workers run a Python text first."""
    with ExitStack() as running:

        def start(text):
            folder = tmp_path / "cluster"
            folder.mkdir()
            (folder / "preload.py").write_text(text)
            return running.enter_context(dask_cluster(folder, folder / "preload.py"))

        yield start


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """What the sweep gives on this machine alone."""
    folder = tmp_path_factory.mktemp("local")
    assert run_to_end(folder, *SWEEP) == (0, "")
    return results(folder)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_cluster_gives_the_bits_of_one_machine(tmp_path, cluster, local, engine):
    assert run_to_end(tmp_path, *SWEEP[:-1], f"engine={engine}", *on(cluster)) == (0, "")
    assert len(local) == 120
    assert results(tmp_path) == local


@pytest.mark.long
def test_workers_need_no_file_of_the_users(tmp_path, cluster):
    rows = [f"{i % 7},{i % 5},{i % 3}\n" for i in range(60)]
    found = []
    for folder, where in ((tmp_path / "here", []), (tmp_path / "there", on(cluster))):
        folder.mkdir()
        (folder / "my.csv").write_text("".join(["a,b,y\n", *rows]))
        ended = run_to_end(
            folder, "-m", "seed=range(0,6)", "data=file", "data.path=my.csv", "data.target=y",
            "data.task=classification", "data.test_fraction=0.2", "data.validation_fraction=0.2",
            "data.standardize=true", "model=classifier", "optimizer=adam", "hidden=4,[5,3]",
            "batch_size=8", "stop.patience=5", "epochs=60", *where,
        )  # fmt: skip
        assert ended == (0, "")
        found.append(results(folder))
        measured = [run.metrics for run in runs_of(folder) if not run.is_sweep]
        assert all({"test_accuracy", "lowest_validation_loss"} <= set(m) for m in measured)
    assert found[0] == found[1]
    assert len(found[0]) == 12


@pytest.mark.long
def test_a_worker_killed_mid_sweep_costs_a_retry_and_no_bit(tmp_path, cluster, local):
    sweep = Halted(tmp_path, *SWEEP, *on(cluster))
    held = {address: set(keys) for address, keys in cluster.client.processing().items()}
    for address, keys in cluster.client.has_what().items():
        held[address] |= set(keys)
    victim = max(held, key=lambda address: len(held[address]))
    assert any("bpexp-batch" in key for key in held[victim])
    os.kill(cluster.client.run(os.getpid, workers=[victim])[victim], signal.SIGKILL)
    assert sweep.continue_to_end() == (0, "")
    assert results(tmp_path) == local
    # Its nanny starts another.
    cluster.client.wait_for_workers(2, timeout=90)


@pytest.mark.long
def test_a_run_that_kills_its_workers_again_and_again_fails_alone(tmp_path, preloaded, local):
    status, errors = run_to_end(tmp_path, *SWEEP, *on(preloaded(DEADLY)))
    assert (status, errors) == (1, "")
    failed = runs_of(tmp_path, filter_string="attributes.status = 'FAILED'")
    (deadly,) = [run for run in failed if not run.is_sweep]
    assert deadly.name == "lr=1 hidden=2 seed=13"
    assert deadly.tags["bpexp.reason"] == "its worker process died repeatedly"
    finished = results(tmp_path)
    assert len(finished) == 119
    assert set(finished) < set(local)


@pytest.mark.long
def test_ctrl_c_keeps_finished_runs_and_frees_the_workers(tmp_path, cluster):
    long = ["-m", "seed=1,2,3", "epochs=20,400000000", "engine=numpy"]
    sweep = Halted(tmp_path, *long, *on(cluster))
    os.kill(sweep.process.pid, signal.SIGINT)
    status, errors = sweep.continue_to_end()
    assert (status, errors) == (130, "")
    runs = [run for run in runs_of(tmp_path) if not run.is_sweep]
    assert len(runs) == 6
    assert {run.status for run in runs if "epochs=400000000" in run.name} == {"KILLED"}
    assert "FINISHED" in {run.status for run in runs}
    # Workers that still trained those epochs would never come to these.
    assert run_to_end(tmp_path, "-m", "seed=1,2", "epochs=5", *on(cluster)) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize("settings", [[], ["data=iris", "model=classifier", "batch_size=1"]])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_sweep_after_one_that_was_ended_is_trained_at_once(tmp_path, cluster, name, settings):
    # Without being interrupted, a call of the engine would take minutes.
    long = ["-m", "seed=1,2,3,4", "epochs=400000000", "engine=numpy", *settings]
    process = start(tmp_path, "bulk", *long, *on(cluster))
    wait_until(lambda: all(cluster.executing()), process)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    wait_until(lambda: not any(cluster.executing()), seconds=60)
    status, errors = run_to_end(tmp_path, "-m", "seed=1,2", "epochs=5", *on(cluster))
    assert (status, errors) == (0, "")


@pytest.mark.long
def test_a_sweep_says_that_it_waits_for_other_tasks(tmp_path, cluster):
    tasks = [cluster.client.submit(time.sleep, 100 + task) for task in range(2)]
    wait_until(lambda: all(cluster.executing()))
    process = start(tmp_path, "bulk", "-m", "seed=1,2", "epochs=5", *on(cluster))
    notice = next_line(process, process.stderr)
    assert notice == f"The workers of {cluster.address} execute other tasks; the runs wait.\n"
    cluster.client.cancel(tasks)
    # Nannies replace killed workers; a thread that sleeps is not ended otherwise.
    for worker in cluster.client.run(os.getpid).values():
        os.kill(worker, signal.SIGKILL)
    assert process.communicate(timeout=170)[1] == ""
    assert process.returncode == 0


@pytest.mark.long
def test_a_worker_that_does_not_answer_is_waited_for(tmp_path, cluster):
    (stopped,) = list(cluster.client.run(os.getpid).values())[:1]
    os.kill(stopped, signal.SIGSTOP)
    try:
        limit = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
        process = start(tmp_path, "bulk", "-m", "seed=1,2", "epochs=5", *on(cluster), **limit)
        notice = next_line(process, process.stderr)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert notice == f"Waiting for workers of {cluster.address} that do not answer ...\n"
    assert process.communicate(timeout=170)[1] == ""
    assert process.returncode == 0


@pytest.mark.long
def test_data_that_change_meanwhile_are_not_trained(tmp_path, cluster):
    settings = ["-m", "seed=range(0,8)", "hidden=2,3", "data=file", "data.path=my.csv",
                "data.target=y", "model=regressor", "epochs=200", "engine=numpy"]  # fmt: skip
    found = []
    for change in (None, b"a,b,y\n1,2,3\n", b""):
        folder = tmp_path / f"after {change}"
        folder.mkdir()
        file = folder / "my.csv"
        file.write_text("".join(["a,b,y\n", *(f"{i % 7},{i % 5},{i % 3}\n" for i in range(60))]))
        sweep = Halted(folder, *settings, *on(cluster), at="planned")
        if change is not None:
            file.write_bytes(change)
        assert sweep.continue_to_end() == (0, "")
        found.append(results(folder))
    assert len(found[0]) == 16
    assert found == [found[0]] * 3


@pytest.mark.long
def test_runs_are_spooled_while_the_store_is_locked(tmp_path, cluster, local):
    sweep = Halted(tmp_path, *SWEEP, *on(cluster), BPEXP_RETRY_SECONDS="0")
    other = lock(tmp_path / "outputs/mlflow.db", 3600)
    status, message = sweep.continue_to_end()
    other.kill()
    other.communicate()
    assert status == 1
    assert " wait in outputs/spool/" in message
    assert run_resume_command(tmp_path, message) == (0, "")
    assert results(tmp_path) == local
    assert len({run.tags["bpexp.process"] for run in runs_of(tmp_path) if not run.is_sweep}) == 1


@pytest.mark.long
def test_a_full_disk_loses_no_finished_run(tmp_path, cluster, local):
    with small_disk(tmp_path / "disk", 16) as disk:
        sweep = Halted(disk, *SWEEP, *on(cluster))
        tracked = len(results(disk))
        filler = fill(disk)
        status, message = sweep.continue_to_end()
        filler.unlink()
        assert status == 1
        assert "No space left" in message or "is full" in message
        assert len(results(disk)) >= tracked > 0
        assert run_resume_command(disk, message) == (0, "")
        assert results(disk) == local


@pytest.mark.long
def test_a_scheduler_that_dies_leaves_a_sweep_that_is_resumed_here(tmp_path, preloaded, local):
    cluster = preloaded("")
    sweep = Halted(tmp_path, *SWEEP, *on(cluster), DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="3s")
    cluster.kill_scheduler()
    status, errors = sweep.continue_to_end()
    assert (status, errors) == (1, "")
    (parent,) = [run for run in runs_of(tmp_path) if run.is_sweep]
    cut = runs_of(tmp_path, filter_string="attributes.status = 'FAILED'")
    reasons = {run.tags["bpexp.reason"] for run in cut if not run.is_sweep}
    assert reasons == {f"the dask scheduler at {cluster.address} is gone, or has no workers"}
    assert 0 < len(results(tmp_path)) < 120
    status, errors = run_to_end(tmp_path, "resume", parent.run_id,
                             DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s")  # fmt: skip
    assert status == 2
    assert "answers within 1 s" in errors
    assert run_to_end(tmp_path, "resume", parent.run_id, "--backend", "local") == (0, "")
    assert results(tmp_path) == local


@pytest.mark.long
def test_workers_of_another_arithmetic_are_refused_before_anything_is_trained(tmp_path, preloaded):
    status, errors = run_to_end(tmp_path, *SWEEP, *on(preloaded(OTHER)))
    assert status == 1
    assert "version 0 of the arithmetic instead of" in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["backend=dask"], "backend.address must be given with backend=dask: "),
        (["backend=dask", "backend.address=nowhere"],
         "backend.address must be that of a dask scheduler, such as tcp://127.0.0.1:8786, got "
         "'nowhere': "),
        (["backend=dask", f"backend.address=tcp://127.0.0.1:{free_port()}"],
         "backend.address must be a dask scheduler that answers within 1 s, got 'tcp:"),
        (["backend.address=tcp://127.0.0.1:8786"],
         "backend.address is a setting of backend=dask; add backend=dask."),
        (["backend=nothing"], "backend must be one of dask, local, serial, got 'nothing'."),
    ],
    ids=["no address", "no address of a scheduler", "nobody there", "local", "unknown"],
)  # fmt: skip
def test_an_unreachable_cluster_is_reported_in_one_sentence(inside, tmp_path, settings, sentence):
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        check_refused(inside("-m", "seed=1,2", *settings), sentence, tmp_path)


def test_a_missing_dask_package_is_reported_in_one_sentence(inside, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "bpexp.sweeps.executors.dask_cluster", raising=False)
    check_refused(
        inside("-m", "seed=1,2", "backend=dask"),
        "backend=dask needs the package distributed: pip install -e '.[dask]'",
        tmp_path,
    )


def check_refused(done, sentence, folder):
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"bpexp: {sentence}")
    assert done.stderr.count("\n") == 1
    assert os.listdir(folder) == []


def test_the_batch_script_of_the_documentation_is_the_one_that_is_rehearsed(tmp_path):
    script = batch_script()
    assert script in (ROOT / "docs/how-to/cluster.md").read_text()
    (tmp_path / "sweep.sbatch").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "sweep.sbatch"], check=True)
    # Dask's commands have these options.
    for role, command in (("scheduler", dask_scheduler.main), ("worker", dask_worker.main)):
        (words,) = re.findall(rf"dask {role} .*?&>", script.replace("\\\n", ""))
        used = set(re.findall(r" (--[a-z-]+)", words))
        assert used
        assert used <= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
