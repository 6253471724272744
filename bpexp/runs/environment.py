"""The software and hardware that runs are trained with: commit, package versions, CPU.

>>> from bpexp.runs import environment, run_tags
>>> environment.tags()[run_tags.PYTHON].startswith("3.")
True
"""

import getpass
import json
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from bpexp.runs import masked_patch, run_tags

PACKAGES = ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib")
"""Packages whose versions are tags of every run."""
MAX_DIFF_BYTES = 2**24
"""Larger changes are not stored as ``git.diff``."""
MAX_UNTRACKED = 1000
"""Untracked files that ``environment.json`` lists."""


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
    found["mlflow.source.name"] = "bpexp"
    found["mlflow.source.type"] = "LOCAL"
    with suppress(KeyError, OSError, ImportError):
        # What getpass raises for a user without a name.
        found["mlflow.user"] = getpass.getuser()
    commit = _git_text("rev-parse", "HEAD")
    if commit:
        found["mlflow.source.git.commit"] = commit
        found[run_tags.GIT_COMMIT] = commit
        found[run_tags.GIT_DIRTY] = "true" if _git_text("status", "--porcelain") else "false"
    return found


@cache
def hardware_tags() -> dict[str, str]:
    """Tags of a sweep, or of a single run: the CPU features.

    Separate from ``tags`` because the runs of a sweep do not repeat them.
    """
    return {run_tags.CPU_FEATURES: cpu_features()}


def cpu_features() -> str:
    """Instruction sets that NumPy uses, without those in ``NPY_DISABLE_CPU_FEATURES``."""
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join(features["baseline"] + features.get("found", []))


def _libraries() -> list[dict[str, str]]:
    """The loaded libraries with thread pools, such as BLAS, as threadpoolctl describes them."""
    return threadpool_info()  # type: ignore[no-any-return]


def artifacts() -> dict[str, bytes]:
    """``environment.json``, and ``git.diff`` if there are uncommitted changes."""
    document: dict[str, object] = {
        **tags(),
        **hardware_tags(),
        "packages": _packages(),
        "libraries": _libraries(),
    }
    is_dirty = tags().get(run_tags.GIT_DIRTY) == "true"
    if is_dirty:
        document["untracked_files"] = untracked_files()[:MAX_UNTRACKED]
    files = {"environment.json": json.dumps(document, indent=2).encode()}
    if is_dirty:
        diff = git_diff()
        # A part of a patch does not apply.
        if len(diff) > MAX_DIFF_BYTES:
            files["git.diff"] = (
                f"The changes have {len(diff)} bytes and were not stored.\n".encode()
            )
        else:
            files["git.diff"] = masked_patch.without_passwords(diff)
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


def _git_text(*arguments: str) -> str:
    """The output of git as text, without white space at its ends."""
    return _git(*arguments).decode(errors="replace").strip()


def _git(*arguments: str) -> bytes:
    """The output of git in this package's repository, or else in that of the working directory.

    Empty if neither is a repository or git is not installed. A repository may name a program as
    its file system monitor, which git would start.
    """
    for folder in (Path(__file__).parent, Path.cwd()):
        try:
            done = subprocess.run(
                ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
                capture_output=True, timeout=10, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return b""
        if done.returncode == 0:
            return done.stdout
    return b""


def git_diff() -> bytes:
    """Uncommitted changes of tracked files, as a patch from the top of the repository.

    ``git apply`` reproduces the files on a clean checkout of the commit. Options of the user's
    configuration that change the format are overridden.
    """
    return _git(
        "-c", "core.quotePath=true", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false",
        "-c", "diff.submodule=short", "-c", "diff.relative=false",
        "-c", "diff.suppressBlankEmpty=false", "diff", "--binary", "--unified=3",
        "--no-color", "--no-ext-diff", "--no-textconv",
        "--src-prefix=a/", "--dst-prefix=b/", "HEAD",
    )  # fmt: skip


def untracked_files() -> list[str]:
    """Names of the files that git neither tracks nor ignores, from the top of the repository."""
    listed = _git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    entries = listed.decode(errors="replace").split("\0")
    return [entry[3:] for entry in entries if entry.startswith("?? ")]
