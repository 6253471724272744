"""The program deletes its temporary files."""

import os

import pytest


@pytest.mark.filterwarnings("ignore:.*AnyType:UserWarning")  # by MLflow while it logs a model
@pytest.mark.usefixtures("a_store")
def test_commands_leave_no_temporary_files(inside, temporary_folder):
    before = os.listdir(temporary_folder)
    for arguments in (
        ["-m", "seed=1,2", "epochs=5", "engine=numpy", "n_jobs=1"],
        ["show", "seed=1"],
        ["compare", "seed=1", "seed=2"],
        ["report"],
        ["reproduce", "--all", "--engine", "numpy", "--n-jobs", "1"],
        ["export", "seed=1"],
    ):
        done = inside(*arguments)
        assert done.returncode == 0, done.stderr
        assert os.listdir(temporary_folder) == before, arguments
