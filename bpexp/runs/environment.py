"""What a run was made with: commit, packages, processor, BLAS."""

import importlib
import json
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib")
LARGEST_DIFF = 2**24
"""Bytes of a diff that is kept; a longer one is cut."""


@cache
def tags() -> dict[str, str]:
    """Tags that describe this process's surroundings, for every run."""
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


@cache
def details() -> dict[str, str]:
    """Tags for a sweep's parent and for a run that stands alone: what native bits hang on."""
    return {"bpexp.cpu_features": cpu_features(), "bpexp.blas": blas()}


def cpu_features() -> str:
    """What NumPy found the processor to have, and was not told to leave alone."""
    # NumPy has no public name for what is enabled; only for what could be.
    umath = importlib.import_module("numpy._core._multiarray_umath")
    known: dict[str, bool] = getattr(umath, "__cpu_features__", {})
    return " ".join(name for name, there in known.items() if there)


def blas() -> str:
    """The BLAS that NumPy trains with, on one thread; all that are loaded where its own cannot be
    told. SciPy brings another, which is there as soon as something has imported it.
    """
    loaded = [one for one in _libraries() if one["user_api"] == "blas"]
    own = [one for one in loaded if "numpy" in str(Path(one["filepath"]).parent)]
    return ", ".join(
        f"{one['internal_api']} {one['version']} {one.get('architecture', '')}".strip()
        for one in own or loaded
    )


def _libraries() -> list[dict[str, str]]:
    from threadpoolctl import threadpool_info

    return threadpool_info()  # type: ignore[no-any-return]


def artifacts() -> dict[str, bytes]:
    """``environment.json``, and ``git.diff`` where the checkout differs from its commit."""
    document = {
        **tags(),
        **details(),
        "packages": _packages(),
        "libraries": _libraries(),
    }
    files = {"environment.json": json.dumps(document, indent=2).encode()}
    if tags().get("bpexp.git.dirty") == "true":
        files["git.diff"] = _git("diff", "--binary", "HEAD").encode()[:LARGEST_DIFF]
    return files


def _packages() -> dict[str, str]:
    """All installed packages by the names of their folders: reading each one's text is slow."""
    found = [entry.stem.split("-") for path in sys.path for entry in Path(path).glob("*.dist-info")]
    return dict(sorted((name, number) for name, number, *_ in found))


def _processor() -> str:
    """The processor's name as Linux gives it, elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """What git says of the checkout this package is in, else of the working folder."""
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
