"""The wheel, used from a folder far from the checkout."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs Python where the wheel alone provides bpexp; its dependencies are this venv's."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT]
    subprocess.run([*pip, *build], check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, cwd=folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}

    def python(cwd, *arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=cwd, env=environment | {"PYTHONPATH": str(site)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    python.site = site
    return python


def test_the_wheel_and_not_the_checkout_is_what_runs(installed, tmp_path):
    done = installed(tmp_path, "-c", "import bpexp, hydra_plugins.bpexp as p; print(bpexp, p)")
    assert done.stdout.count(str(installed.site)) == 2, done.stdout + done.stderr
    shipped = installed.site / "bpexp" / "conf"
    ours = CHECKOUT / "conf"
    assert {p.relative_to(shipped) for p in shipped.rglob("*.yaml")} == {
        p.relative_to(ours) for p in ours.rglob("*.yaml")
    }


def git(folder, *arguments):
    """What git says in a folder, with an author of its own."""
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", folder, *author, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_wheel_sweeps_in_any_folder_and_leaves_a_repository_clean(installed, tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "notes.txt").write_text("before\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    done = installed(tmp_path, "-m", "bpexp", "-m", "epochs=5,6", "data=parity")
    assert done.returncode == 0, done.stderr
    assert "2 runs over epochs (2 values)" in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {".git", "notes.txt", "outputs"}
    assert git(tmp_path, "status", "--porcelain") == ""
    (tmp_path / "notes.txt").write_text("after\n")
    assert installed(tmp_path, "-m", "bpexp", "epochs=5").returncode == 0

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    found = client.get_experiment_by_name("bpexp")
    changed, *clean = client.search_runs([found.experiment_id])
    assert len(clean) == 3
    commit = git(tmp_path, "rev-parse", "HEAD")
    for run in (changed, *clean):
        tags = run.data.tags
        assert (tags["mlflow.source.git.commit"], tags["bpexp.git.commit"]) == (commit, commit)
        for package in ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib"):
            assert tags[f"bpexp.version.{package}"] == version(package)
        assert tags["bpexp.processor"].strip()
    assert changed.data.tags["bpexp.git.dirty"] == "true"
    for run in clean:
        assert run.data.tags["bpexp.git.dirty"] == "false"
        assert "git.diff" not in {f.path for f in client.list_artifacts(run.info.run_id)}
    diff = Path(client.download_artifacts(changed.info.run_id, "git.diff")).read_text()
    assert "\n-before\n+after" in diff


def test_the_wheel_brings_its_help_and_its_script(installed, tmp_path):
    done = installed(tmp_path, "-m", "bpexp", "--help")
    assert done.returncode == 0, done.stderr
    assert "breast_cancer" in done.stdout
    by_script = installed(tmp_path, str(installed.site / "bin" / "bpexp"), "--help")
    assert by_script.stdout == done.stdout
    assert list(tmp_path.iterdir()) == []
