"""A first start in a fresh folder, many workers at once, loses no run."""

import mlflow
import pytest

pytestmark = pytest.mark.long


def test_a_start_in_a_fresh_folder_has_no_failed_run(start, bpexp, tmp_path):
    # Threads of the compiled engine and processes of the other, in turn.
    engine = ("auto", "numpy")[start % 2]
    done = bpexp("-m", "seed=range(0,12)", "epochs=50", "n_jobs=4", f"engine={engine}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "12 runs over seed (12 values) on 4 workers" in done.stdout
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "bpexp"]
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 13
