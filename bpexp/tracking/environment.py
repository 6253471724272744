"""What a run was made with: commit, packages, processor."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("bpexp", "numpy", "hydra-core", "mlflow", "joblib")


@cache
def tags() -> dict[str, str]:
    """Tags that describe this process's surroundings."""
    found = {
        "bpexp.python": platform.python_version(),
        "bpexp.platform": platform.platform(),
        "bpexp.processor": _processor(),
    }
    for package in PACKAGES:
        try:
            found[f"bpexp.version.{package}"] = version(package)
        except PackageNotFoundError:
            found[f"bpexp.version.{package}"] = "not installed"
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["mlflow.source.git.commit"] = commit
        found["bpexp.git.commit"] = commit
        found["bpexp.git.dirty"] = "true" if _git("status", "--porcelain") else "false"
    return found


def _processor() -> str:
    """The processor's name as Linux gives it, elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
