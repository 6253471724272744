"""The start of the program imports no package that it does not need."""

import re

import pytest

import bpexp as package

HEAVY = ("mlflow", "matplotlib", "pandas", "sklearn", "scipy", "joblib",
         "sqlalchemy", "rich", "threadpoolctl", "distributed", "dask")  # fmt: skip


def imported(done):
    """Return the packages that were imported by a program with PYTHONPROFILEIMPORTTIME=1."""
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^import time: .*\| +(\w+)", done.stderr, re.M))


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--info", "searchpath"]])
def test_commands_that_only_print_import_neither_numpy_nor_a_heavy_package(new_process, arguments):
    found = imported(new_process(*arguments, PYTHONPROFILEIMPORTTIME="1"))
    assert {"hydra", "bpexp"} <= found
    assert found.isdisjoint({*HEAVY, "numpy"})


def test_help_imports_neither_hydra_nor_a_heavy_package(new_process):
    # NumPy is imported with the formulas that the settings are declared beside.
    found = imported(new_process("--help", PYTHONPROFILEIMPORTTIME="1"))
    assert "bpexp" in found
    assert found.isdisjoint({*HEAVY, "hydra", "omegaconf"})


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_training_with_an_existing_store_imports_only_what_it_needs(new_process, kind, engine):
    package.train(epochs=5, engine=engine)
    typed = {"run": ["epochs=5"], "sweep": ["-m", "seed=1,2", "epochs=5"]}[kind]
    done = new_process(*typed, f"engine={engine}", PYTHONPROFILEIMPORTTIME="1")
    found = imported(done)
    needed = {"run": {"numpy", "sqlalchemy"}, "sweep": {"numpy", "sqlalchemy", "pyarrow"}}[kind]
    assert needed <= found
    unneeded = {"mlflow", "pandas", "sklearn", "distributed", "dask"}
    if kind == "run":
        unneeded.add("matplotlib")
        of_sweeps = r"bpexp\.(app\.(sweep|resuming)|sweeps\.(search|race|resume|forecast))\b"
        assert not re.search(of_sweeps, done.stderr)
    assert found.isdisjoint(unneeded)
    # The medians at the end of a sweep have intervals, which need another part of SciPy.
    assert "scipy.stats" not in done.stderr


@pytest.mark.usefixtures("a_store")
def test_commands_on_a_store_do_not_import_hydra(new_process):
    assert "hydra" not in imported(new_process("runs", PYTHONPROFILEIMPORTTIME="1"))


def test_dir_lists_the_functions_of_the_package():
    assert [name for name in dir(package) if not name.startswith("_")] == package.__all__
    assert "__version__" in dir(package)
    for name in package.__all__:
        assert getattr(package, name).__doc__
    with pytest.raises(package.ConfigError):
        package.train(lr=0)
