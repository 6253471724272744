"""A data file that changes while a sweep runs changes neither its results nor their identities."""

import os
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from sweeping import runs_of

from bpexp import app
from bpexp.cli.terminal import TerminalReporter
from bpexp.config.compose import compose_settings
from bpexp.data import load
from bpexp.fields.checks import ConfigError
from bpexp.reporter import SilentReporter
from bpexp.runs import identity
from bpexp.sweeps import plan_file
from bpexp.sweeps.executors.shared_data import SharedDatasets, open_dataset
from bpexp.sweeps.plan import StudyRows, make_plan
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate
from bpexp.tracking.stored_results import result_of

ROWS = 12
DATA = {"name": "file", "path": "table.csv", "target": "y", "test_fraction": 0.25}


def table(seed, rows=ROWS):
    """A CSV file of two inputs and a target."""
    values = np.random.default_rng(seed).random((rows, 3)).tolist()
    return "\n".join(["a,b,y", *(",".join(map(repr, row)) for row in values)])


CHANGES = {
    "other values": lambda file: file.write_text(table(2)),
    "fewer rows": lambda file: file.write_text(table(2, 5)),
    "more rows": lambda file: file.write_text(table(2, 30)),
    "another file": lambda file: (
        file.with_suffix(".new").write_text(table(2)), os.replace(file.with_suffix(".new"), file)
    ),
    "no file": lambda file: file.unlink(),
    "no table": lambda file: file.write_text("nothing"),
}  # fmt: skip


class Changing(SilentReporter):
    """Changes the file when the sweep is announced, before anything is trained."""

    def __init__(self, change):
        self.change = change

    def announce(self, *arguments):
        self.change()


@pytest.fixture
def file(a_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(table(1))
    return tmp_path / "table.csv"


def plan_of(**settings):
    base = {"data": DATA, "lr": 0.1, "hidden": 2, "epochs": 3, "n_jobs": 2, **settings}
    return make_plan([compose_settings({**base, "seed": seed}) for seed in range(3)])


WORKERS = {
    "threads": {},
    "processes": {"engine": "numpy"},
    "serial": {"backend": "serial", "engine": "numpy"},
}
QUICK = [("threads", "other values"), ("processes", "no file"), ("serial", "fewer rows")]


@pytest.mark.parametrize(
    ("workers", "change"),
    [
        pytest.param(workers, change, marks=[] if (workers, change) in QUICK else pytest.mark.long)
        for workers in WORKERS
        for change in CHANGES
    ],
)
def test_runs_are_those_of_the_data_that_the_sweep_started_with(file, tmp_path, change, workers):
    settings = WORKERS[workers]
    original = plan_of(**settings)
    expected = {identity.of_run(job.config, job.dataset) for job in original.jobs}
    finished = app.run_sweep(plan_of(**settings), Changing(lambda: CHANGES[change](file)))
    assert finished.status == "FINISHED"
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    runs = [run for run in runs_of(tmp_path) if not run.is_sweep]
    assert {run.tags["bpexp.identity"] for run in runs} == expected
    for run in runs:
        assert original.jobs[0].dataset.digest.startswith(run.data)
        assert result_of(run, archive).digest == run.tags["bpexp.result"]
        assert result_of(run, archive).predictions.shape == (9, 1)
    # The results are those of a sweep on data that did not change.
    file.write_text(table(1))
    again = app.run_sweep(plan_of(**settings), SilentReporter())
    assert [row.metrics for row in again.rows] == [row.metrics for row in finished.rows]


def test_the_next_generation_has_the_data_of_the_first(file):
    plan = plan_of()
    CHANGES["other values"](file)
    later = [compose_settings({"data": DATA, "hidden": 2, "epochs": 3, "n_jobs": 2, "seed": 7})]
    extended = plan.with_generation(later)
    assert len({job.dataset for job in extended.jobs}) == 1
    assert extended.jobs[-1].dataset is plan.jobs[0].dataset


def test_the_stored_plan_has_the_identities_of_the_data_that_were_loaded(file):
    plan = plan_of()
    CHANGES["other values"](file)
    content = plan_file.to_bytes(plan)
    with pytest.raises(ConfigError, match="data have changed"):
        plan_file.from_bytes(content)
    file.write_text(table(1))
    assert plan_file.from_bytes(content).configs == plan.configs


def test_data_that_no_longer_fit_a_stored_study_are_reported_with_its_row(file):
    settings = {"data": DATA, "model__output": "identity", "hidden": 2, "epochs": 3}
    study = StudyRows({"name": "demo"}, ["first", "second"])
    composed = [compose_settings({**settings, "model__output": "sigmoid"} if one else settings)
                for one in range(2)]  # fmt: skip
    content = plan_file.to_bytes(make_plan(composed, study=study))
    changed = pd.read_csv(file)
    changed["y"] *= 100
    changed.to_csv(file, index=False)
    with pytest.raises(ConfigError, match=r"^study row second: .*sigmoid"):
        plan_file.from_bytes(content)


def test_results_are_printed_with_the_data_that_the_sweep_started_with(file, capsys):
    reporter = TerminalReporter()
    plan = plan_of()
    CHANGES["no file"](file)
    app.run_sweep(plan, reporter)
    printed = capsys.readouterr().out
    assert "Task: regression of y" in printed
    assert "predicted y" in printed


def test_a_data_set_cannot_be_changed(file):
    dataset = plan_of().jobs[0].dataset
    for name in ("X", "Y", "X_test", "Y_test"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0, 0] = 1.0
    # Attributes that are computed at first use would be added while another thread pickles it.
    assert not hasattr(dataset, "__dict__")


def test_a_data_set_is_pickled_while_other_threads_use_it(file):
    dataset = plan_of().jobs[0].dataset
    ended = threading.Event()

    def use():
        while not ended.is_set():
            assert dataset.digest
            assert dataset.threshold is not None

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            assert pickle.loads(pickle.dumps(dataset)).digest == dataset.digest
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_workers_receive_a_reference_to_the_data_not_the_data():
    dataset = load(plan_of_digits().data)
    with SharedDatasets() as datasets:
        shared = datasets.share(dataset)
        assert datasets.share(dataset) is shared
        assert len(pickle.dumps(shared)) < 1000 < dataset.X.nbytes
        received = open_dataset(shared)
    for name in ("X", "Y", "X_test", "X_validation"):
        found = getattr(received, name)
        assert found.shape == getattr(dataset, name).shape
        assert np.array_equal(found, getattr(dataset, name))
        assert not found.flags.writeable
    assert (received.digest, received.inputs) == (dataset.digest, dataset.inputs)


def plan_of_digits():
    return make_plan([compose_settings({"data": "digits"})]).configs[0]
