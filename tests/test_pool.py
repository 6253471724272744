"""One run's end is not another's."""

import os
import signal

import pytest

from bpexp.config import Data, Model, Stop, TrainConfig
from bpexp.results import Failure, TrainResult
from bpexp.sweeps import pool

DEADLY = 13


def make(seed):
    return TrainConfig(
        seed=seed, lr=0.1, epochs=10, hidden=(2,), data=Data(name="xor"), model=Model(), stop=Stop()
    )


def sometimes(index, config):
    if config.seed == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return ORIGINAL(index, config)


ORIGINAL = pool.attempt


@pytest.fixture
def deadly(monkeypatch):
    monkeypatch.setattr(pool, "attempt", sometimes)


@pytest.mark.usefixtures("deadly")
@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_dying_worker_costs_its_own_run_only():
    configs = [make(seed) for seed in range(20)]
    results = dict(pool.train_all(configs, 2))
    assert sorted(results) == list(range(20))
    failed = {i: r for i, r in results.items() if isinstance(r, Failure)}
    assert list(failed) == [DEADLY]
    assert "worker process died" in failed[DEADLY].reason
    assert all(isinstance(results[i], TrainResult) for i in range(20) if i != DEADLY)


def test_an_error_is_a_value():
    broken = make(1)
    object.__setattr__(broken, "hidden", (-1,))
    index, result = pool.attempt(5, broken)
    assert index == 5
    assert isinstance(result, Failure)
    assert result.reason.startswith("ValueError")
