"""After a power loss every visible run is complete, and a finished sweep is finished.

The sweeps write to an ext4 file system in a file. A copy of that file, made without flushing
anything, is what the disk would hold after a power loss at that moment. Needs root.
"""

import contextlib
import shutil
import subprocess

import pytest
from sweeping import Halted, results, run_to_end, runs_of

from bpexp.cli import verify

pytestmark = pytest.mark.long

SWEEP = ["-m", "seed=range(0,7)", "lr=0.1,0.5,1", "epochs=300"]
RUNS = 21


def run(*program):
    return subprocess.run(list(map(str, program)), capture_output=True, text=True)


@contextlib.contextmanager
def mounted(image, folder):
    """Mount the file system in ``image`` at ``folder``; skips the test if that is impossible."""
    folder.mkdir(exist_ok=True)
    done = run("mount", "-o", "loop", image, folder)
    if done.returncode:
        pytest.skip(f"did NOT run: no file system can be mounted ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        # MLflow keeps its database open until the process ends.
        run("umount", "--lazy", folder)


@pytest.fixture
def image(tmp_path):
    """An empty ext4 file system, in a file."""
    file = tmp_path / "disk.ext4"
    with open(file, "wb") as out:
        out.truncate(64 * 2**20)
    made = run("mkfs.ext4", "-q", "-F", file)
    if made.returncode:
        pytest.skip(f"did NOT run: {made.stderr.strip()}")
    return file


def check_intact(folder):
    """Assert that every visible finished run has its artifacts, bit by bit."""
    assert results(folder)
    with contextlib.chdir(folder):
        assert verify.main(["--all"]) == 0


@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_a_finished_sweep_survives_a_power_loss_right_after_its_end(image, tmp_path, tracker):
    after = tmp_path / "after.ext4"
    with mounted(image, tmp_path / "disk") as disk:
        assert run_to_end(disk, *SWEEP, tracker=tracker)[0] == 0
        shutil.copyfile(image, after)
        expected = results(disk)
    with mounted(after, tmp_path / "left") as left:
        runs = runs_of(left)
        assert len(runs) == RUNS + 1
        assert {run.status for run in runs} == {"FINISHED"}
        assert results(left) == expected
        check_intact(left)
        (parent,) = [run for run in runs if run.is_sweep]
        files = left / "outputs/artifacts" / parent.run_id / "artifacts"
        assert all(file.stat().st_size for file in files.iterdir())
        assert all(file.stat().st_size for file in left.glob("outputs/sweeps/**/results.csv"))


@pytest.mark.parametrize("at", ["planned", "tracked"])
def test_a_sweep_is_resumed_after_a_power_loss(image, tmp_path, at):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert run_to_end(undisturbed, *SWEEP) == (0, "")
    after = tmp_path / "after.ext4"
    with mounted(image, tmp_path / "disk") as disk:
        sweep = Halted(disk, *SWEEP, "engine=numpy", "n_jobs=1", at=at)
        shutil.copyfile(image, after)
        sweep.kill()
    # At the same place: in another folder a store must be relocated first.
    with mounted(after, tmp_path / "disk") as left:
        (parent,) = [run for run in runs_of(left) if run.is_sweep]
        if at == "tracked":
            assert results(left)
        assert run_to_end(left, "resume", parent.run_id) == (0, "")
        assert results(left) == results(undisturbed)
