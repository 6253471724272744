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
    "tests/test_document.py": "rich, matplotlib",
    "tests/test_permutation.py": "scipy",
    "tests/test_environment.py": "threadpoolctl, platformdirs",
}
"""The test files, and the dependencies that each of them uses."""
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
        tests = [python, "-m", "pytest", *options, *FILES]
        return subprocess.run(tests, cwd=REPOSITORY).returncode == 0


if __name__ == "__main__":
    results = {which: passes(which) for which in sys.argv[1:] or ["oldest", "newest"]}
    print(", ".join(f"{which}: {'passed' if ok else 'FAILED'}" for which, ok in results.items()))
    sys.exit(0 if all(results.values()) else 1)
