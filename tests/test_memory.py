"""The memory of a container limits what is read and how many workers start; the OOM killer."""

import contextlib
import os
import re
import resource
import shlex
from pathlib import Path

import numpy as np
import pytest
from sweeping import results, run_to_end, runs_of, start, wait_until

from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.fields.checks import ConfigError
from bpexp.guards import memory_limit
from bpexp.sweeps.executors import processes


@pytest.fixture
def limits():
    """Forgets the limits that were read before, and those of the test."""
    memory_limit.memory_limit.cache_clear()
    yield
    memory_limit.memory_limit.cache_clear()


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        # Version 2, in a container that sees its own group only.
        ("0::/\n", {"memory.max": "300\n"}, [300]),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "200", "memory.max": "9"},
         [200, 9]),
        # Version 1; the path of the host does not exist in a container.
        ("4:cpu,memory:/docker/x\n3:cpu:/\n0::/\n", {"memory/memory.limit_in_bytes": "100"}, [100]),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "50"}, [50]),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "50"}, []),
        ("0::/../x:y\n", {"memory.max": "7"}, [7]),
    ],
)  # fmt: skip
def test_the_limits_of_control_groups_are_read(tmp_path, groups, files, expected):
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(text)
    assert list(memory_limit._group_limits(tmp_path / "groups", tmp_path / "mounted")) == expected


def test_without_control_groups_the_memory_is_that_of_the_machine(tmp_path, limits):
    assert list(memory_limit._group_limits(tmp_path / "none", tmp_path)) == []
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory_limit.memory_limit() <= machine


def test_a_limited_process_starts_fewer_workers_and_reads_smaller_files(
    tmp_path, limits, monkeypatch
):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10**9, 10**9))
    assert memory_limit.memory_limit() == 10**9
    assert processes.count_that_fit() == 5
    file = tmp_path / "rows.csv"
    row = "0,1\n"
    file.write_text("a,y\n" + row * 300_000)
    config = FileConfig(name="file", path=str(file), target=("y",))
    assert load(config).X.shape == (300_000, 1)
    # 16 bytes for each row of 4 bytes: 5 * 60 MB are more than 250 MB.
    file.write_text("a,y\n" + row * 15_000_000)
    with pytest.raises(ConfigError, match=r"fits into a quarter of .*, 0\.2 GB, got about 0.3 GB"):
        load(config)


SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "lr=0.1,1", "epochs=300", "engine=numpy"]
FILL = """
def fill_the_memory():
    taken = []
    while True:
        taken.append(b"x" * 2**24)
"""
GREEDY_WORKER = """
from bpexp.sweeps.executors import local
original = local.train_in_worker

def greedy(parent, configs, *others):
    if any((config.seed, config.hidden, config.lr) == (2, (3,), 1.0) for config in configs):
        fill_the_memory()
    return original(parent, configs, *others)

local.train_in_worker = greedy
"""
GREEDY_SWEEP = """
from bpexp.tracking.bulk import BulkStagedRuns
original, commits = BulkStagedRuns.commit, []

def commit(staged):
    commits.append(staged)
    if len(commits) == 3:  # The first one is that of the parent run.
        fill_the_memory()
    return original(staged)

BulkStagedRuns.commit = commit
"""


@contextlib.contextmanager
def limited_memory(megabytes):
    """Python code that moves its process into a control group with that much memory."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = [path for _, names, path in (line.split(":", 2) for line in lines) if "memory" in names]
    if not paths:
        pytest.skip("did NOT run: no control group of version 1 limits memory")
    group = Path("/sys/fs/cgroup/memory") / paths[0].lstrip("/") / f"bpexp-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"did NOT run: no control group can be made ({error})")
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes * 10**6))
        yield f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    finally:
        # Processes that were killed leave the group a moment later.
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_to_end(folder, *SWEEP, "n_jobs=2") == (0, "")
    return results(folder)


@pytest.mark.long
def test_a_run_whose_worker_takes_all_memory_fails_alone(tmp_path, expected):
    with limited_memory(1000) as joining:
        before = joining + FILL + GREEDY_WORKER
        process = start(tmp_path, "bulk", *SWEEP, "n_jobs=2", before=before)
        out, errors = process.communicate(timeout=170)
    assert (process.returncode, errors) == (1, "")
    (failed,) = [run for run in runs_of(tmp_path) if run.status == "FAILED" and not run.is_sweep]
    assert failed.name == "lr=1 hidden=3 seed=2"
    assert "excessive memory usage" in failed.tags["bpexp.reason"]
    assert "failed: lr=1 hidden=3 seed=2: its worker process died: " in out
    command = re.search(r"^Resume: bpexp (.*)$", out, re.M)[1]
    assert len(results(tmp_path)) == 23
    assert run_to_end(tmp_path, *shlex.split(command)) == (0, "")
    assert results(tmp_path) == expected


@pytest.mark.long
def test_a_sweep_that_is_killed_for_its_memory_keeps_its_finished_runs(tmp_path, expected):
    with limited_memory(1000) as joining:
        before = joining + FILL + GREEDY_SWEEP
        process = start(tmp_path, "bulk", *SWEEP, "n_jobs=1", before=before)
        _, errors = process.communicate(timeout=170)
    assert (process.returncode, errors) == (-9, "")
    kept = results(tmp_path)
    assert len(kept) == 8
    assert set(kept) < set(expected)
    (sweep,) = [run for run in runs_of(tmp_path) if run.is_sweep]
    assert run_to_end(tmp_path, "resume", sweep.run_id) == (0, "")
    assert results(tmp_path) == expected
    runs = runs_of(tmp_path)
    assert {run.status for run in runs} == {"FINISHED"}
    # The finished runs were not trained again.
    assert len({run.tags["bpexp.process"] for run in runs if not run.is_sweep}) == 2


@pytest.mark.long
def test_a_table_of_200_megabytes_is_trained_in_a_limited_memory(tmp_path):
    numbers = np.random.default_rng(0).random((10_000, 12)).round(6)
    block = "".join(",".join(map(str, row)) + "\n" for row in numbers.tolist())
    with open(tmp_path / "large.csv", "w") as file:
        file.write(",".join([*(f"x{place}" for place in range(11)), "y"]) + "\n")
        while file.tell() < 200_000_000:
            file.write(block)
    arguments = ["-m", "seed=1,2", "epochs=2", "lr=1e-4", "batch_size=1000", "data=file",
                 "data.path=large.csv", "data.target=y", "data.test_fraction=0.2",
                 "data.standardize=true", "model=regressor"]  # fmt: skip
    process = start(tmp_path, "bulk", *arguments)
    with process.stdin, process.stdout, process.stderr:
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, process.stderr.read()
    process.returncode = 0
    assert used.ru_maxrss < 2_000_000, "more than 2 GB"
    runs = [run for run in runs_of(tmp_path) if not run.is_sweep]
    assert [run.status for run in runs] == ["FINISHED"] * 2
    assert all("test_rmse" in run.metrics for run in runs), runs[0].metrics
