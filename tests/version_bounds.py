"""Runs core tests with the oldest and the newest versions that pyproject.toml allows; by hand.

    python tests/version_bounds.py oldest newest

Makes a virtual environment for each argument in a temporary folder, installs bpexp there, and
runs one test file for each dependency whose interface has changed before (``FILES``). In the
oldest environment every requirement of bpexp has its lower bound. Needs pip, and some minutes.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = {
    "tests/test_compose.py": "hydra-core, omegaconf, PyYAML",
    "tests/test_executors.py": "joblib, psutil, distributed",
    "tests/test_pinned_results.py": "numpy, llvmlite",
    "tests/test_tracking.py": "mlflow, SQLAlchemy, alembic, requests, psycopg",
    "tests/test_data.py": "pandas, pyarrow, scikit-learn",
    "tests/test_columns.py": "pandas, pyarrow",
    "tests/test_document.py": "rich, matplotlib",
    "tests/test_permutation.py": "scipy",
    "tests/test_environment.py": "threadpoolctl, platformdirs",
}
"""The test files, and the dependencies that each of them uses."""
OF_TESTED_VERSIONS = {
    "tests/test_executors.py::test_the_internals_of_joblib_are_those": "names the tested joblib",
    "tests/test_executors.py::test_a_dying_worker_fails_its_own_run_only":
        "with another MLflow a line says that runs are written one by one",
    "tests/test_tracking.py::TestBulk": "only the tested MLflow is written in bulk",
    "tests/test_tracking.py::test_an_untested_store_is_not_opened": "begins with a tested store",
    "tests/test_tracking.py::test_internals_work_with_the_installed": "names the tested MLflow",
    "tests/test_columns.py::test_parquet_files_have_the_same_types":
        "pandas 2 writes texts as another type than pandas 3",
}  # fmt: skip
"""Tests that are left out, by the beginning of their name, and what they take for granted."""
TOOLS = ("pytest", "hypothesis", "mpmath", "markdown-it-py", "psycopg[binary]", "distributed")
"""What these files need beside the dependencies of bpexp."""


def lower_bounds() -> list[str]:
    """Each requirement of bpexp with its lower bound, as a requirement of exactly that version.

    ``>=1.13`` is 1.13 with any patch, because 1.13.0 need not exist.
    """
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found = [re.match(r"([\w.-]+)>=([\d.]+)", text) for text in project["dependencies"]]
    return [f"{match[1]}=={match[2]}.*" for match in found if match]


def passes(which: str) -> bool:
    """Whether the tests pass in a new environment: ``oldest`` or ``newest``."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin/python"
        bounds = Path(folder) / "bounds.txt"
        bounds.write_text("\n".join(lower_bounds() if which == "oldest" else []))
        install = [python, "-m", "pip", "install", "-q", "-c", bounds, "-e", REPOSITORY, *TOOLS]
        subprocess.run(install, check=True)
        subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True)
        # Old packages use what newer ones, which they do not limit, call deprecated.
        options = ["-q", "-p", "no:cacheprovider", "-W", "default"]
        options += [f"--deselect={name}" for name in OF_TESTED_VERSIONS]
        tests = [python, "-m", "pytest", *options, *FILES]
        return subprocess.run(tests, cwd=REPOSITORY).returncode == 0


if __name__ == "__main__":
    results = {which: passes(which) for which in sys.argv[1:] or ["oldest", "newest"]}
    print(", ".join(f"{which}: {'passed' if ok else 'FAILED'}" for which, ok in results.items()))
    sys.exit(0 if all(results.values()) else 1)
