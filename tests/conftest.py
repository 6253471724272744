"""Fixtures: the program, started as a user starts it, an empty store, and a temporary folder."""

import fcntl
import gc
import io
import os
import pickle
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from sweeping import clean_environment, end_programs
from unsynced import leave_writes_to_the_system
from warm import WarmServer

from bpexp.cli import main
from bpexp.config.paths import conf_dir
from bpexp.tracking.relocation import relocate
from bpexp.tracking.store import connect, get_or_create_experiment, locate

pytest.register_assert_rewrite("contract", "reader_contract")

leave_writes_to_the_system()

DRAW = Figure.savefig

# Shells let background processes ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Shared machines are slow at times, so examples have no deadline.
settings.register_profile("quick", deadline=None, max_examples=20)
# For --hypothesis-profile. Tests with expensive examples draw a fraction of the number.
settings.register_profile("full", deadline=None, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("quick")

DESELECTED = pytest.StashKey[Counter]()
"""How many tests each of the markers ``slow`` and ``long`` has left out."""


def pytest_addoption(parser):
    """Add options for the number of kills, starts and fuzzed inputs, and for a file of times."""
    parser.addoption("--kills", type=int, default=6, help="sweeps that test_crash.py kills (6)")
    parser.addoption("--starts", type=int, default=5,
                     help="starts in new folders by test_starts.py (5)")  # fmt: skip
    parser.addoption("--fuzz", type=int, default=10_000,
                     help="inputs of the long tests in test_fuzz.py (10000)")  # fmt: skip
    parser.addoption("--pages", help="file for the times that test_browser.py measures")


def pytest_generate_tests(metafunc):
    """Parametrize the tests that are repeated, and the fuzz tests with few and many inputs."""
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(metafunc.config.getoption("kills")))
    if "start" in metafunc.fixturenames:
        metafunc.parametrize("start", range(metafunc.config.getoption("starts")))
    if "fuzzed" in metafunc.fixturenames:
        many = metafunc.config.getoption("fuzz")
        amounts = [
            pytest.param(30, id="quick"),
            pytest.param(150, id="few", marks=pytest.mark.slow),
            pytest.param(many, id="many", marks=pytest.mark.long),
        ]
        metafunc.parametrize("fuzzed", amounts)


def pytest_deselected(items):
    """Count the tests that a marker has left out."""
    for item in items:
        for marker in ("slow", "long"):
            if item.get_closest_marker(marker) is not None:
                item.config.stash.setdefault(DESELECTED, Counter())[marker] += 1


def pytest_sessionfinish(session):
    """Send the counts from a worker process, which selects the tests, to the main process."""
    if hasattr(session.config, "workeroutput"):
        counts = session.config.stash.get(DESELECTED, Counter())
        session.config.workeroutput["deselected"] = dict(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Receive the counts from a worker process; all workers select the same tests."""
    counts = getattr(node, "workeroutput", {}).get("deselected", {})
    node.config.stash[DESELECTED] = Counter(counts)


def pytest_terminal_summary(terminalreporter, config):
    """Print the number of fuzzed inputs, and of the tests that were left out."""
    for marker, count in config.stash.get(DESELECTED, Counter()).items():
        terminalreporter.write_line(f"{count} {marker} tests did not run: pytest -m {marker}")
    reports = terminalreporter.stats.get("passed", [])
    properties = [p for report in reports for p in getattr(report, "user_properties", [])]
    count = sum(value for name, value in properties if name == "inputs fuzzed")
    if count:
        terminalreporter.write_line(f"{count} inputs fuzzed")


def pytest_collection_finish():
    """Exclude the million objects of the imported packages from garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _mlflow_settings(monkeypatch):
    """Restore the environment, to which MLflow writes its tracking URI."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory):
    """TMPDIR of the tests and of the programs that they start; pytest removes it at the end."""
    folder = tmp_path_factory.mktemp("temporary", numbered=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield folder


@pytest.fixture(scope="session")
def put_store(tmp_path_factory):
    """Copies an empty store into a folder, and returns it: MLflow takes seconds to create one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # That of the main process: the first worker process creates the store for all.
        folder = folder.parent
    template = locate(None, folder / "template", {})
    with open(folder / "template.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        get_or_create_experiment(connect(template), template, "bpexp")

    def put(folder):
        store = locate(None, folder, {})
        store.artifacts.mkdir(parents=True)
        database = store.artifacts.with_name("mlflow.db")
        shutil.copy(template.artifacts.with_name("mlflow.db"), database)
        with closing(sqlite3.connect(database)) as db, db:
            location = "UPDATE experiments SET artifact_location = ? WHERE name = 'bpexp'"
            db.execute(location, [store.artifacts.as_uri()])
        return store

    from mlflow.store.db import utils

    with pytest.MonkeyPatch.context() as patch:
        # MLflow reads all its migrations whenever it opens a store.
        revision = cache(utils._get_latest_schema_revision)
        patch.setattr(utils, "_get_latest_schema_revision", revision)
        yield put


@pytest.fixture
def a_store(put_store, tmp_path):
    """Puts an empty store into the folder in which the program starts."""
    put_store(tmp_path)


@pytest.fixture
def copy_store(tmp_path):
    """Copies a folder with a store into the one in which the program starts; returns the store.

    A module whose tests alter equal sweeps trains them once.
    """

    def copy(folder):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        store = locate(None, tmp_path, {})
        relocate(store)
        return store

    return copy


@pytest.fixture(autouse=True)
def _ended_programs():
    """No program trains on after a failed test."""
    yield
    end_programs()


@pytest.fixture(scope="session", autouse=True)
def _parsed_options():
    """Parse each YAML file of the package once: Hydra parses them for every configuration.

    They are copied by pickling, which takes a quarter of the time of ``copy.deepcopy``.
    """
    original, parsed = OmegaConf.load, {}

    def load(file):
        name = str(getattr(file, "name", ""))
        if not name.startswith(f"{conf_dir()}/"):
            return original(file)
        if name not in parsed:
            parsed[name] = pickle.dumps(original(file))
        return pickle.loads(parsed[name])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", load)
        yield


@pytest.fixture(scope="session", autouse=True)
def _blank_pictures():
    """Make all plots, but write blank PNG files: drawing takes most of the time of a report."""
    blank = io.BytesIO()
    DRAW(Figure(figsize=(1, 1)), blank, format="png", dpi=10)

    def save(figure, file, *, format, **options):
        if format == "png":
            file.write(blank.getvalue())
        else:
            DRAW(figure, file, format=format, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture
def pictures(monkeypatch):
    """Draw the PNG files of plots in a test that looks at them."""
    monkeypatch.setattr(Figure, "savefig", DRAW)


@pytest.fixture(scope="session")
def warm():
    """Starts programs without the time that importing takes."""
    server = WarmServer()
    yield server
    server.close()


@pytest.fixture
def bpexp(warm, tmp_path):
    """Runs ``bpexp ...`` in ``tmp_path`` in a process of its own; returns the completed process."""

    def run(*arguments, **environment):
        environment = clean_environment() | environment
        program = warm.start(tmp_path, *arguments, environment=environment)
        output, errors = program.communicate()
        return subprocess.CompletedProcess(arguments, program.returncode, output, errors)

    return run


@pytest.fixture
def new_process(tmp_path):
    """Runs ``python -m bpexp ...`` in ``tmp_path``; returns the completed process."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "bpexp", *arguments],
            cwd=tmp_path, env=clean_environment() | environment,
            capture_output=True, text=True, timeout=170, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture
def inside(tmp_path, monkeypatch, capsys):
    """Does the same as ``bpexp`` inside this process, which is the fastest way."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bpexp", *arguments])
        capsys.readouterr()
        status = 0
        try:
            main.main()
        except SystemExit as ended:
            status = ended.code or 0
        finally:
            GlobalHydra.instance().clear()
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


@pytest.fixture
def eight_gigabytes():
    """Limits the memory of this process, and of those it starts, to 8 GB more than it has."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def refused(inside):
    """Runs a program that has to refuse its arguments in one sentence; returns the sentence."""

    def run(*arguments):
        done = inside(*arguments)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    return run
