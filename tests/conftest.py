"""Shared: the program as a user starts it."""

import os
import subprocess
import sys

import pytest
from hypothesis import settings

# Machines are shared and slow at times; an example's time says nothing.
settings.register_profile("bpexp", deadline=None)
settings.load_profile("bpexp")


def pytest_addoption(parser):
    """How many times the crash test kills a sweep; where the browser test writes its times."""
    parser.addoption("--kills", type=int, default=6, help="sweeps killed by test_crash.py (6)")
    parser.addoption("--pages", help="file for the times that test_browser.py's pages took")


def pytest_generate_tests(metafunc):
    """The kills of the crash test, each a test of its own."""
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(metafunc.config.getoption("kills")))


@pytest.fixture
def bpexp(tmp_path):
    """Runs ``python -m bpexp ...`` in an empty folder; returns the finished process."""
    return program(tmp_path)


def program(folder):
    """The program started in ``folder``."""

    def run(*arguments, preexec_fn=None, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
        return subprocess.run(
            [sys.executable, "-m", "bpexp", *arguments],
            cwd=folder, env=clean | environment, capture_output=True, text=True, timeout=170,
            stdin=subprocess.DEVNULL, preexec_fn=preexec_fn,
        )  # fmt: skip

    return run
