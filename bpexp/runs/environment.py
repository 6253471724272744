"""The software and hardware that runs are trained with: commit, package versions, CPU, BLAS.

>>> from bpexp.runs import environment, run_tags
>>> environment.tags()[run_tags.PYTHON].startswith("3.")
True
"""

import json
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from bpexp.runs import run_tags

PACKAGES = ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib")
"""Packages whose versions are tags of every run."""
MAX_DIFF_BYTES = 2**24
"""``git.diff`` is truncated to this size."""


@cache
def tags() -> dict[str, str]:
    """Tags of every run: versions of Python and packages, processor, Git commit."""
    found = {
        run_tags.PYTHON: platform.python_version(),
        run_tags.PLATFORM: platform.platform(),
        run_tags.PROCESSOR: _processor(),
    }
    for package in PACKAGES:
        try:
            found[run_tags.VERSION + package] = version(package)
        except PackageNotFoundError:
            found[run_tags.VERSION + package] = "not installed"
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["mlflow.source.git.commit"] = commit
        found[run_tags.GIT_COMMIT] = commit
        found[run_tags.GIT_DIRTY] = "true" if _git("status", "--porcelain") else "false"
    return found


@cache
def hardware_tags() -> dict[str, str]:
    """Tags of a sweep, or of a single run: CPU features and BLAS, on which native results depend.

    Separate from ``tags`` because the runs of a sweep do not repeat them.
    """
    return {run_tags.CPU_FEATURES: cpu_features(), run_tags.BLAS: blas()}


def cpu_features() -> str:
    """Instruction sets that NumPy uses, without those in ``NPY_DISABLE_CPU_FEATURES``."""
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join(features["baseline"] + features["found"])


def blas() -> str:
    """The BLAS library of NumPy, or all loaded BLAS libraries if NumPy's cannot be identified.

    SciPy loads another BLAS, which must not appear here only because SciPy was imported.
    """
    loaded = [library for library in _libraries() if library["user_api"] == "blas"]
    of_numpy = [one for one in loaded if "numpy" in str(Path(one["filepath"]).parent)]
    return ", ".join(
        f"{one['internal_api']} {one['version']} {one.get('architecture', '')}".strip()
        for one in of_numpy or loaded
    )


def _libraries() -> list[dict[str, str]]:
    """The loaded libraries with thread pools, such as BLAS, as threadpoolctl describes them."""
    return threadpool_info()  # type: ignore[no-any-return]


def artifacts() -> dict[str, bytes]:
    """``environment.json``, and ``git.diff`` if there are uncommitted changes."""
    document = {
        **tags(),
        **hardware_tags(),
        "packages": _packages(),
        "libraries": _libraries(),
    }
    files = {"environment.json": json.dumps(document, indent=2).encode()}
    if tags().get(run_tags.GIT_DIRTY) == "true":
        files["git.diff"] = _git("diff", "--binary", "HEAD").encode()[:MAX_DIFF_BYTES]
    return files


def _packages() -> dict[str, str]:
    """Versions of all installed packages, by name.

    Taken from the names of their metadata folders: ``importlib.metadata`` opens every file.
    """
    found = [entry.stem.split("-") for path in sys.path for entry in Path(path).glob("*.dist-info")]
    return dict(sorted((name, number) for name, number, *_ in found))


def _processor() -> str:
    """The model name of the CPU; ``platform.processor`` does not know it on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """Run git in the repository of this package, or else in that of the working directory.

    Returns:
        The output; empty if neither is a repository or git is not installed.
    """
    for folder in (Path(__file__).parent, Path.cwd()):
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True, text=True, errors="replace", timeout=10,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if done.returncode == 0:
            return done.stdout.strip()
    return ""
