"""No run fails in the first sweep in an empty folder, with several workers."""

import pytest
from read_back import client_of

pytestmark = pytest.mark.long


def test_a_first_start_in_an_empty_folder_has_no_failed_run(start, new_process, tmp_path):
    # The compiled engine uses threads, the NumPy engine processes.
    engine = ("auto", "numpy")[start % 2]
    done = new_process("-m", "seed=range(0,12)", "epochs=50", "n_jobs=4", f"engine={engine}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "12 runs over seed (12 values) on 4 workers" in done.stdout
    client = client_of(tmp_path)
    (experiment,) = [e for e in client.search_experiments() if e.name == "bpexp"]
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 13
