"""Budgets: what a sweep trains before it ends, and what ``resume`` trains after it."""

import time
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import Halted

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import BudgetConfig
from bpexp.sweeps.budget import Budget
from bpexp.sweeps.job import JobResult
from bpexp.sweeps.plan import make_plan
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate

SWEEP = ["-m", "lr=0.1,1", "seed=range(0,4)", "epochs=50"]


def stored(folder, sweep=None):
    """Learning rate and seed of the finished runs of a sweep, and the result digest of each."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    runs = archive.search(Query("attributes.status = 'FINISHED'", sweep=sweep, are_sweeps=False))
    return {(run.params["lr"], int(run.params["seed"])): run.tags["bpexp.result"] for run in runs}


def order(n):
    return [(lr, seed) for lr in ("0.1", "1.0") for seed in range(4)][:n]


class Result:
    """A result of which only the number of epochs counts."""

    def __init__(self, epochs_run):
        self.epochs_run = epochs_run


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(9, 60), st.data(),
    st.integers(1, 3),
)  # fmt: skip
def test_a_budget_of_epochs_is_never_exceeded_and_trains_a_prefix(limits, budget, data, workers):
    jobs = make_plan(
        [compose_settings({"epochs": n, "seed": i}) for i, n in enumerate(limits)]
    ).jobs
    left, spent, done = Budget(BudgetConfig(epochs=budget)), 0, 0
    while jobs_now := left.next_round(jobs[done:], workers):
        assert jobs_now == jobs[done : done + len(jobs_now)]
        epochs = [data.draw(st.integers(1, job.config.epochs)) for job in jobs_now]
        left.spend([JobResult(job, Result(n)) for job, n in zip(jobs_now, epochs, strict=True)])
        spent, done = spent + sum(epochs), done + len(jobs_now)
    assert spent <= budget
    # Not one more run fits for certain.
    assert done == len(jobs) or spent + jobs[done].config.epochs > budget


def test_a_budget_of_seconds_ends_after_the_round_in_which_it_is_spent(monkeypatch):
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    jobs = make_plan([compose_settings({"seed": seed}) for seed in range(100)]).jobs
    left, sizes = Budget(BudgetConfig(seconds=5.0)), []
    while now := left.next_round(jobs[sum(sizes) :], n_workers=2):
        sizes.append(len(now))
        left.end_round()
    assert set(sizes) == {16}
    assert 1 <= len(sizes) < 5


def test_a_sweep_ends_when_its_budget_is_spent_and_resume_goes_on(a_store, inside, tmp_path):
    done = inside(*SWEEP, "budget.epochs=175", "confirm=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The budget is spent: 5 of 8 runs are left out." in done.stdout
    assert "Resume: bpexp resume " in done.stdout
    assert sorted(stored(tmp_path)) == order(3)
    done = inside("resume", "latest", "budget.runs=2")
    assert "The budget is spent: 3 of 8 runs are left out." in done.stdout
    assert sorted(stored(tmp_path)) == order(5)
    done = inside("resume", "latest", "budget.seconds=100")
    assert "budget" not in done.stdout
    assert "on 2 fresh seeds" in done.stdout
    found = {run: digest for run, digest in stored(tmp_path).items() if run in order(8)}
    assert sorted(found) == order(8)
    # The same bits as those of a sweep without a budget.
    inside(*SWEEP, "backend=serial", "tracking.name=whole")
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    (whole,) = [run for run in archive.search(Query()) if run.name == "whole"]
    assert stored(tmp_path, whole.run_id) == found


def test_a_report_says_how_many_runs_of_the_sweep_are_not_trained_yet(a_store, inside):
    inside(*SWEEP, "stop.tolerance=0.01", "objective=epochs_to_converge", "budget.runs=7")
    said = inside("report", "latest").stdout
    assert "None of the 7 runs converged" in said
    assert "1 of the 8 runs of this sweep is not trained yet" in said
    inside("resume", "latest")
    assert "not trained" not in inside("report", "latest").stdout


def test_a_report_on_a_search_whose_budget_is_spent_counts_the_trials_to_come(
    a_store, inside, tmp_path
):
    # Of the last trials, some repeat earlier ones.
    search = ["-m", "hidden=2,3,4,5", "seed=0,1", "epochs=20", "search=random", "search.trials=8"]
    inside(*search, "search.generation=2", "budget.runs=3")
    said = inside("report", "latest").stdout
    assert "3 of at most 16 runs of this search are trained; the others may change" in said
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    (sweep,) = archive.search(Query(are_sweeps=True))
    assert "Swept 3 of at most 16 runs on `xor`." in sweep.tags["mlflow.note.content"]
    # All runs that were proposed are trained, and further trials are to come.
    inside("resume", "latest", "budget.runs=1")
    said = inside("report", "latest").stdout
    assert "4 of at most 16 runs of this search are trained; the others may change" in said
    inside("resume", "latest")
    assert "are trained" not in inside("report", "latest").stdout


@pytest.mark.slow
def test_a_report_on_a_killed_sweep_says_what_is_missing(a_store, bpexp, tmp_path):
    Halted(tmp_path, *SWEEP, at="planned").kill()
    refused = bpexp("report", "latest")
    assert refused.returncode == 2
    assert "has ended yet; bpexp resume " in refused.stderr
    Halted(tmp_path, "resume", "latest", at="tracked").kill()
    said = bpexp("report", "latest")
    assert "4 of the 8 runs of this sweep are not trained yet" in said.stdout
    assert "bpexp resume" in said.stdout


def test_early_stopping_leaves_epochs_for_further_runs(a_store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = {"lr": 4, "seed": range(12), "epochs": 3000, "stop__tolerance": 0.4}
    whole = bpexp.sweep(**settings)
    budget = int(whole["epochs_run"].sum() + 3000)
    assert len(bpexp.sweep(**settings, budget__epochs=budget)) == 12
    budget = int(whole["epochs_run"][:6].sum()) + 2999
    part = bpexp.sweep(**settings, budget__epochs=budget)
    assert part["epochs_run"].sum() <= budget
    assert 0 < len(part) < 12
    np.testing.assert_array_equal(part["final_loss"], whole["final_loss"][: len(part)])


@pytest.mark.slow
def test_a_search_with_a_budget_goes_on_with_the_trials_that_it_would_have_had(
    a_store, inside, tmp_path
):
    search = ["-m", "lr=tag(log,interval(0.1,10))", "seed=0,1,2", "epochs=20", "search=tpe",
              "search.trials=6", "search.generation=2", "backend=serial"]  # fmt: skip
    done = inside(*search, "budget.runs=8")
    assert "The budget is spent: 8 of at most 18 runs are trained." in done.stdout
    done = inside("resume", "latest", "--backend", "local")
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 of 6 trials" in done.stdout
    cut = stored(tmp_path)
    inside(*search, "tracking.name=whole")
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    (whole,) = [run for run in archive.search(Query()) if run.name == "whole"]
    assert stored(tmp_path, whole.run_id) == cut
    assert len(cut) == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["budget.runs=3"], "budget.* needs a sweep: add -m"),
        (["-m", "lr=1,2", "budget.runs=0"], "budget.runs must be"),
        (["-m", "lr=1,2", "budget.epochs=5"], "budget.epochs must be at least epochs (10000)"),
        (["-m", "lr=1,2", "budget.runs=1,2"], "must be the same for all runs of a sweep"),
        (["-m", "lr=1,2", "search.halving=2", "search.min_epochs=2", "budget.runs=1"],
         "search.halving limits the epochs itself; leave out budget.*"),
        (["-m", "lr=1,2", "budget.runs=1", "tracking.runs=false"], "tracking.runs=true"),
        (["-m", "+study=rumelhart_1986_symmetry", "tracking.runs=true", "budget.runs=1"],
         "null in a study"),
    ],
)  # fmt: skip
def test_a_wrong_budget_is_refused_before_anything_is_written(
    refused, arguments, message, tmp_path
):
    assert message in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_resume_takes_no_settings_but_a_budget(a_store, inside, tmp_path):
    inside("-m", "lr=0.1,1", "epochs=5")
    done = inside("resume", "latest", "lr=3")
    assert done.returncode == 2
    assert "resume takes budget.runs, budget.epochs and budget.seconds, got 'lr=3'" in done.stderr
    for between in ([], ["--dry-run"]):
        done = inside("resume", "latest", *between, "budget.epochs=2")
        assert "budget.epochs must be at least epochs (5)" in done.stderr
