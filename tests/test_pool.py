"""One run's end is not another's."""

import os
import signal

import pytest

from bpexp.config import Logic, Model, Optimizer, Schedule, Stop, TrainConfig
from bpexp.engines.choose import Pack, load_engine
from bpexp.results import Failure, TrainResult
from bpexp.sweeps import pool

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


ORIGINAL = pool._in_worker


@pytest.fixture
def deadly(monkeypatch):
    monkeypatch.setattr(pool, "_in_worker", sometimes)


@pytest.mark.usefixtures("deadly")
@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_dying_worker_costs_its_own_run_only():
    configs = [make(seed) for seed in range(10)]
    packs = [Pack((start, start + 1), "numpy") for start in range(0, 10, 2)]
    results = dict(pair for pack in pool.train_all(packs, configs, 2) for pair in pack)
    assert sorted(results) == list(range(10))
    failed = {i: r for i, r in results.items() if isinstance(r, Failure)}
    assert list(failed) == [DEADLY]
    assert "worker process died" in failed[DEADLY].reason
    assert all(isinstance(results[i], TrainResult) for i in range(10) if i != DEADLY)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_an_error_is_a_value_and_its_runs_own(engine):
    configs = [make(seed) for seed in range(5)]
    object.__setattr__(configs[3], "seed", -1)
    results = dict(pool.attempt(range(5), configs, load_engine(engine)))
    assert isinstance(results[3], Failure)
    assert results[3].reason.startswith("ValueError")
    assert [isinstance(results[i], TrainResult) for i in range(5)] == [True] * 3 + [False, True]


def test_training_waits_for_what_is_written(monkeypatch):
    """Else the results of short runs, which are written more slowly, would fill the memory."""
    begun, attempt = [], pool.attempt

    def counted(runs, *more):
        begun.append(runs)
        return attempt(runs, *more)

    monkeypatch.setattr(pool, "attempt", counted)
    configs = [make(seed) for seed in range(60)]
    results = pool.train_all([Pack((i,), "compiled") for i in range(60)], configs, 2)
    for taken, _ in enumerate(results):
        allowed = min(60, taken + 2 * pool.AHEAD)
        # The workers go as far as they may, and no further.
        while len(begun) < allowed:
            pass
        assert len(begun) == allowed
    assert taken == 59
