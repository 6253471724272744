"""What a start does not import, so that it is quick."""

import re

import pytest

HEAVY = ("numpy", "mlflow", "numba", "matplotlib", "pandas", "sklearn", "scipy", "joblib",
         "sqlalchemy", "rich", "threadpoolctl", "distributed", "dask")  # fmt: skip


def imported(done):
    """The packages that a program imported which was started with PYTHONPROFILEIMPORTTIME."""
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^import time: .*\| +(\w+)", done.stderr, re.M))


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--info", "searchpath"]])
def test_help_and_what_only_shows_import_no_heavy_package(bpexp, arguments):
    found = imported(bpexp(*arguments, PYTHONPROFILEIMPORTTIME="1"))
    assert {"hydra", "bpexp"} <= found
    assert found.isdisjoint(HEAVY)


def test_a_short_run_imports_only_what_it_needs(bpexp):
    found = imported(bpexp("epochs=5", PYTHONPROFILEIMPORTTIME="1"))
    assert {"mlflow", "numpy"} <= found
    assert found.isdisjoint(("matplotlib", "numba", "sklearn", "distributed", "dask"))
