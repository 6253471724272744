"""One run's end is not another's."""

import os
import signal
from dataclasses import replace

import pytest
from sweeping import runs_of
from threadpoolctl import threadpool_info, threadpool_limits

from bpexp.config.schema import Logic, Model, Optimizer, Schedule, Stop, TrainConfig
from bpexp.runs.result import Failure, TrainResult
from bpexp.sweeps.executors import local
from bpexp.training.batching import RunBatch as Pack
from bpexp.training.batching import load_engine
from bpexp.training.engine import interruptible
from bpexp.training.loop import train_batch

DEADLY = 7


def make(seed):
    return TrainConfig(
        seed=seed, lr=0.1, epochs=10, hidden=(2,), numerics="exact", data=Logic(name="xor"),
        model=Model(), optimizer=Optimizer(name="gradient_descent"),
        schedule=Schedule(name="constant"), stop=Stop(),
    )  # fmt: skip


def sometimes(runs, configs, engine, dataset):
    if any(config.seed == DEADLY for config in configs):
        os.kill(os.getpid(), signal.SIGKILL)
    return ORIGINAL(runs, configs, engine, dataset)


ORIGINAL = local._in_worker


@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_dying_worker_costs_its_own_run_only(a_store, inside, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_in_worker", sometimes)
    done = inside("-m", "seed=range(0,10)", "epochs=10", "engine=numpy", "n_jobs=2")
    assert (done.returncode, done.stderr) == (1, "")
    runs = {run.name: run for run in runs_of(tmp_path) if not run.is_sweep}
    failed = runs.pop(f"seed={DEADLY}")
    assert failed.status == "FAILED"
    reason = failed.tags["bpexp.reason"]
    assert reason.startswith("its worker process died: ")
    assert f"failed: seed={DEADLY}: {reason}" in done.stdout.splitlines()
    assert {name: run.status for name, run in runs.items()} == {
        f"seed={seed}": "FINISHED" for seed in range(10) if seed != DEADLY
    }


def threads(runs, configs, engine, dataset):
    """In place of results, how many threads BLAS has while they are trained."""
    attempt = local.attempt

    def count(places, *_):
        found = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
        return [(place, Failure(f"{os.getpid()} {found}")) for place in places]

    local.attempt = count
    try:
        return ORIGINAL(runs, configs, engine, dataset)
    finally:
        local.attempt = attempt


def test_workers_are_the_parallelism_and_blas_has_one_thread_in_each(monkeypatch):
    monkeypatch.setattr(local, "_in_worker", threads)
    packs, configs = [Pack((0,), "numpy"), Pack((1,), "numpy")], [make(0), make(1)]
    results = dict(pair for pack in local.train_all(packs, configs, 2) for pair in pack)
    said = [results[run].reason.split(" ", 1) for run in (0, 1)]
    assert [found for _, found in said] == ["{1}", "{1}"]
    assert str(os.getpid()) not in [pid for pid, _ in said]


def test_native_runs_have_one_blas_thread_wherever_they_are_trained():
    found = []

    def record_threads():
        found.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    watched = interruptible(load_engine("numpy"), record_threads)

    with threadpool_limits(2, user_api="blas"):
        assert len(list(train_batch([replace(make(0), numerics="native")], watched))) == 1
        left = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
    assert (set(found), left) == ({1}, {2})


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_an_error_is_a_value_and_its_runs_own(engine):
    configs = [make(seed) for seed in range(5)]
    object.__setattr__(configs[3], "seed", -1)
    results = dict(local.attempt(range(5), configs, load_engine(engine)))
    assert isinstance(results[3], Failure)
    assert results[3].reason.startswith("ValueError")
    assert [isinstance(results[i], TrainResult) for i in range(5)] == [True] * 3 + [False, True]


def test_training_waits_for_what_is_written(monkeypatch):
    """Else the results of short runs, which are written more slowly, would fill the memory."""
    begun, attempt = [], local.attempt

    def counted(runs, *more):
        begun.append(runs)
        return attempt(runs, *more)

    monkeypatch.setattr(local, "attempt", counted)
    configs = [make(seed) for seed in range(60)]
    results = local.train_all([Pack((i,), "compiled") for i in range(60)], configs, 2)
    for taken, _ in enumerate(results):
        allowed = min(60, taken + 2 * local.AHEAD)
        # The workers go as far as they may, and no further.
        while len(begun) < allowed:
            pass
        assert len(begun) == allowed
    assert taken == 59
