"""Runs the tests with the oldest and the newest versions that pyproject.toml allows; by hand.

    python tests/version_bounds.py                       # both, the whole quick suite
    python tests/version_bounds.py oldest tests/test_engines.py tests/test_data.py

Makes a virtual environment, installs bpexp there with all that its tests need, and runs each test
file in a process of its own. In the oldest environment every dependency of bpexp and of its extras
(``EXTRAS``) has exactly the lower bound of pyproject.toml. Needs pip, and most of an hour.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
EXTRAS = ("dask", "onnx", "postgresql", "search")
"""The extras that bpexp itself imports. The versions of all other tools are not limited."""
OF_TESTED_VERSIONS = {
    "tests/test_executors.py::test_the_internals_of_joblib_are_those": "names the tested joblib",
    "tests/test_executors.py::test_a_dying_worker_fails_its_own_run_only":
        "with another MLflow a line says that runs are written one by one",
    "tests/test_tracking.py::TestBulk": "only the tested MLflow is written in bulk",
    "tests/test_tracking.py::TestReadingOfSqliteTables": "only its tables are read directly",
    "tests/test_tracking.py::TestReadingOfPostgresqlTables": "only its tables are read directly",
    "tests/test_tracking.py::test_an_untested_store_is_not_opened": "begins with a tested store",
    "tests/test_tracking.py::test_internals_work_with_the_installed": "names the tested MLflow",
    "tests/test_bulk.py::test_runs_with_equal_start_are_listed_in_the_order_of_writing":
        "MLflow's client chooses the ids of runs",
    "tests/test_bulk.py::test_an_unknown_schema_is_written_by_the_client":
        "begins with a tested store",
    "tests/test_bulk.py::test_searches_return_equal_runs_in_the_same_order":
        "MLflow 3.10 compares times as texts, which psycopg 3 refuses",
    "tests/test_report.py::test_sweeps_with_ids_of_the_same_beginning":
        "MLflow's client chooses the ids of runs",
    "tests/test_columns.py::test_parquet_files_have_the_same_types":
        "pandas 2 writes texts as another type than pandas 3",
}  # fmt: skip
"""Tests that are left out, by the beginning of their name, and what they take for granted."""


def lower_bounds() -> dict[str, str]:
    """The lower bound of each dependency of bpexp and of its ``EXTRAS``, by requirement."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in extras[extra])]
    found = [re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", text) for text in texts]
    return {match[1]: match[2] for match in found if match}


def make_environment(which: str, folder: Path) -> Path:
    """Make the environment ``oldest`` or ``newest`` and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    bounds = folder / "bounds.txt"
    bounds.write_text(
        "".join(f"{name}=={version}\n" for name, version in lower_bounds().items())
        if which == "oldest"
        else ""
    )
    install = [python, "-m", "pip", "install", "-q", "-c", bounds, "-e", f"{REPOSITORY}[test]"]
    subprocess.run(install, check=True)
    subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True)
    return python


def failures(python: Path, files: Sequence[str]) -> list[str]:
    """Run test files; return those that fail."""
    # Old packages use what newer ones, which they do not limit, call deprecated.
    options = ["-q", "-p", "no:cacheprovider", "-W", "default"]
    options += [f"--deselect={name}" for name in OF_TESTED_VERSIONS]
    failed = []
    for file in files:
        done = subprocess.run([python, "-m", "pytest", *options, file], cwd=REPOSITORY)
        if done.returncode not in (0, 5):  # 5: all tests of the file are left out
            failed.append(file)
    return failed


def main() -> None:
    """Run the tests that are given on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="?", choices=["oldest", "newest", "both"], default="both")
    parser.add_argument("files", nargs="*", help="test files (default: all)")
    args = parser.parse_args()
    files = args.files or sorted(f"tests/{f.name}" for f in REPOSITORY.glob("tests/test_*.py"))
    failed = {}
    for which in ["oldest", "newest"] if args.which == "both" else [args.which]:
        with tempfile.TemporaryDirectory() as folder:
            failed[which] = failures(make_environment(which, Path(folder)), files)
    for which, names in failed.items():
        print(f"{which}: {'FAILED: ' + ' '.join(names) if names else 'passed'}")
    sys.exit(1 if any(failed.values()) else 0)


if __name__ == "__main__":
    main()
