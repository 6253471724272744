"""Runs the tests with the oldest and the newest versions that pyproject.toml allows; by hand.

    python tests/version_bounds.py                                # both, the quick tests
    python tests/version_bounds.py oldest tests/test_engines.py tests/test_data.py
    python tests/version_bounds.py newest -m "slow and not long" -n 2
    python3.13 tests/version_bounds.py newest                     # with another Python

Makes a virtual environment of the Python that runs the script, installs bpexp there with all that
its tests need, and runs pytest. In the oldest environment every dependency of bpexp and of its
extras (``EXTRAS``) has exactly the lower bound of pyproject.toml. Other arguments are given to
pytest. ``--environments FOLDER`` keeps the environments there and uses those that it finds. Needs
pip, and for each environment three minutes of processor time to install and ten for the tests.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
EXTRAS = ("dask", "onnx", "postgresql", "search")
"""The extras that bpexp itself imports. The versions of all other tools are not limited."""
LEFT_OUT = {
    "tests/test_bulk.py::test_searches_return_equal_runs_in_the_same_order"
    "[postgresql_store-attributes.start_time":
        "MLflow 3.10 compares times as texts, which psycopg 3 refuses",
    "tests/test_restricted_user.py::test_a_sweep_needs_no_home_no_cache_no_entry_of_the_user":
        "matplotlib 3.8 cannot be imported by a user without a home",
}  # fmt: skip
"""Tests that are left out with the oldest versions, by the beginning of their name, and why."""


def lower_bounds() -> dict[str, str]:
    """The lower bound of each dependency of bpexp and of its ``EXTRAS``, by requirement."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in extras[extra])]
    found = [re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", text) for text in texts]
    return {match[1]: match[2] for match in found if match}


def make_environment(which: str, folder: Path) -> Path:
    """Make the environment ``oldest`` or ``newest``, unless it is there; return its Python."""
    python = folder / "bin/python"
    finished = folder / "finished"
    if finished.exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    bounds = folder / "bounds.txt"
    bounds.write_text(
        "".join(f"{name}=={version}\n" for name, version in lower_bounds().items())
        if which == "oldest"
        else ""
    )
    install = [python, "-m", "pip", "install", "-q", "-c", bounds, "-e", f"{REPOSITORY}[test]"]
    subprocess.run(install, check=True)
    finished.touch()
    return python


def versions(python: Path) -> str:
    """The installed versions of the packages that have a lower bound, on one line."""
    code = """if True:
        import sys
        from importlib.metadata import version
        print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))"""
    command = [python, "-c", code, *lower_bounds()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def passes(which: str, python: Path, arguments: Sequence[str]) -> bool:
    """Run pytest; return whether all tests passed."""
    options = ["-p", "no:cacheprovider"]
    if which == "oldest":
        # Old packages use what newer ones, which they do not limit, call deprecated.
        options += ["-W", "default", "--disable-warnings"]
        options += [f"--deselect={name}" for name in LEFT_OUT]
    done = subprocess.run([python, "-m", "pytest", *options, *arguments], cwd=REPOSITORY)
    return done.returncode == 0


def test(which: str, folder: Path, arguments: Sequence[str]) -> tuple[bool, str]:
    """Test one environment; return whether it passed, and a line that says what was tested."""
    started = time.monotonic()
    python = make_environment(which, folder)
    installed = time.monotonic()
    print(f"{which}, Python {platform.python_version()}: {versions(python)}", flush=True)
    passed = passes(which, python, arguments)
    minutes = (installed - started) / 60, (time.monotonic() - installed) / 60
    return passed, (
        f"{which}, Python {platform.python_version()}: {'passed' if passed else 'FAILED'}; "
        f"{minutes[0]:.1f} min to install, {minutes[1]:.1f} min for pytest "
        f"{' '.join(arguments) or 'of all quick tests'}"
    )


def main() -> None:
    """Run the tests that are given on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="?", choices=["oldest", "newest", "both"], default="both")
    parser.add_argument("--environments", type=Path, metavar="FOLDER",
                        help="keep the environments there (default: remove them)")  # fmt: skip
    args, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.environments or Path(temporary)
        results = [
            test(which, (folder / which).resolve(), arguments)
            for which in (["oldest", "newest"] if args.which == "both" else [args.which])
        ]
    for _, line in results:
        print(line)
    sys.exit(0 if all(passed for passed, _ in results) else 1)


if __name__ == "__main__":
    main()
