"""What a sweep would take is said, and its configurations are shown, without writing anything."""

import math
import re
import time
from dataclasses import replace

import pytest
import yaml
from read_back import client_of
from scipy.stats import norm

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.fields.checks import ConfigError
from bpexp.sweeps import forecast
from bpexp.sweeps.executors import make_batches, open_executor
from bpexp.sweeps.executors.base import train_jobs
from bpexp.sweeps.forecast import detectable_difference
from bpexp.sweeps.plan import make_plan
from bpexp.training.batching import load_engine

SWEEP = ["-m", "lr=0.1,1", "seed=range(0,10)", "epochs=50"]


@pytest.mark.parametrize("spelled", ["--dry-run", "dry_run=true"])
def test_a_dry_run_writes_nothing(inside, tmp_path, spelled):
    done = inside(*SWEEP, spelled)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 runs over lr (2 values), seed (10 values) on ")
    assert "lr: 0.1, 1\n" in done.stdout
    assert "In the store already: 0 of 20 runs; reuse=true would link them." in done.stdout
    assert re.search(r"\d+ batch(es)? of at most \d+ runs on", done.stdout)
    assert re.search(
        r"takes about [\d.e-]+ to [\d.e-]+ s, and the files [\d.e+]+ [kM]B\.", done.stdout
    )
    assert (
        "10 runs of each combination find a difference of 1.25 standard deviations" in done.stdout
    )
    assert done.stdout.endswith("Dry run: nothing was written.\n")
    assert not list(tmp_path.iterdir())


def test_runs_that_the_store_has_are_counted(inside, a_store):
    inside("-m", "lr=0.1", "seed=range(0,4)", "epochs=50")
    assert "already: 4 of 20 runs;" in inside(*SWEEP, "--dry-run").stdout
    assert "already: 4 of 20 runs.\n" in inside(*SWEEP, "reuse=true", "--dry-run").stdout


@pytest.mark.slow
def test_only_an_experiment_that_does_not_exist_has_no_runs(inside, a_store, tmp_path):
    new = ["tracking.experiment=new", "epochs=3"]
    assert "already: 0 of 1 run" in inside(*new, "--dry-run").stdout
    assert inside(*new).returncode == 0
    client = client_of()
    client.delete_experiment(client.get_experiment_by_name("new").experiment_id)
    done = inside(*new, "--dry-run")
    assert done.returncode != 0
    assert "The experiment 'new' is deleted" in done.stderr
    (tmp_path / "outputs" / "mlflow.db").write_bytes(b"no database")
    done = inside(*new, "--dry-run")
    assert done.returncode != 0
    assert "Cannot open the store" in done.stderr


def test_a_single_run_and_a_search_are_forecast(inside, tmp_path):
    assert "One combination with 1 run.\n" in inside("--dry-run", "epochs=5").stdout
    search = ["search=random", "search.trials=4", "search.generation=2", "epochs=5"]
    done = inside("-m", "lr=interval(0.1,1)", *search, "--dry-run")
    assert done.stdout.startswith("Search by random over lr (0.1 to 1): 4 trials")
    assert "'seed=range(0,10)'" in done.stdout
    assert re.search("^first generation, lr: 0", done.stdout, re.MULTILINE)
    assert "0 of 2 runs of the first generation" in done.stdout
    assert not list(tmp_path.iterdir())


def test_resuming_and_extending_a_sweep_are_forecast(inside, a_store, tmp_path):
    assert inside(*SWEEP, "budget.runs=12", "n_jobs=1").returncode == 0

    def contents():
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = contents()
    resumed = inside("resume", "latest", "--dry-run").stdout
    assert resumed.startswith("20 runs over lr (2 values), seed (10 values) on ")
    assert "In the store already: 12 of 20 runs.\n" in resumed
    assert "1 batch of at most 8 runs on" in resumed
    assert resumed.endswith("Dry run: nothing was written.\n")
    assert inside("resume", "latest", "budget.runs=2", "--dry-run").returncode == 0
    extended = inside("extend", "latest", "lr=3", "seed=0", "--dry-run").stdout
    assert extended.startswith("Adding 1 run to the 20 of the sweep.\n21 runs over lr (3 values)")
    assert "lr: 0.1, 1, 3\n" in extended
    assert "In the store already: 12 of 21 runs.\n" in extended
    assert "1 batch of at most 9 runs on" in extended
    refused = inside("resume", "latest", "--restore", "--dry-run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--restore must go without it" in refused.stderr
    assert contents() == before
    assert inside("resume", "latest").returncode == 0
    assert "No run is missing.\n" in inside("resume", "latest", "--dry-run").stdout


@pytest.mark.parametrize(
    ("budget", "n_runs", "n_fresh"),
    [((), 8, 6), (("budget.runs=5",), 5, 0), (("budget.epochs=160",), 3, 0)],
)
def test_the_budget_and_the_confirmation_are_forecast(budget, n_runs, n_fresh, inside, a_store):
    sweep = ["-m", "lr=0.1,1", "seed=range(0,4)", "epochs=50", "confirm=3", *budget]
    said = inside(*sweep, "--dry-run").stdout
    assert (f"The budget allows {n_runs} of 8 runs.\n" in said) == bool(budget)
    assert (f"At most {n_fresh} further runs on fresh seeds confirm" in said) == (n_fresh > 0)
    assert f"at most {math.ceil(n_runs / 2)} runs on 2 workers" in said
    done = inside(*sweep)
    runs = client_of().search_runs([client_of().get_experiment_by_name("bpexp").experiment_id])
    assert len([run for run in runs if "bpexp.kind" not in run.data.tags]) == n_runs + n_fresh
    (parent, *_) = re.findall("^Sweep ([0-9a-f]+)", done.stdout, re.MULTILINE)
    said = inside("resume", parent, "--dry-run").stdout
    assert ("6 further runs on fresh seeds confirm" in said) == bool(budget)


def test_a_budget_of_seconds_limits_the_runs_that_are_forecast(inside, tmp_path):
    sweep = ["-m", "lr=0.1,1", "seed=range(0,200)", "epochs=2000"]
    whole, limited = (
        inside(*sweep, *budget, "--dry-run").stdout for budget in ((), ("budget.seconds=0.001",))
    )
    assert re.search("In 0.001 s at most [0-9]+ of 400 runs end", limited)
    assert "0.001 s, and the files at most" in limited
    assert "0.001 s, and the files at most" not in whole


@pytest.mark.slow
def test_more_trials_more_seeds_and_pruned_runs_are_forecast(inside, a_store):
    search = ["-m", "lr=interval(0.1,10)", "search=random", "search.trials=4",
              "search.generation=2", "epochs=5", "n_jobs=1"]  # fmt: skip
    assert inside(*search).returncode == 0
    said = inside("extend", "latest", "search.trials=10", "--dry-run").stdout
    assert "Search by random over lr (0.1 to 10): 10 trials" in said
    assert "already: 4 of 4 runs of the generations so far.\n" in said
    assert re.search("^generations so far, lr: ", said, re.MULTILINE)
    race = ["seeds=auto", "seeds.max=4", "seeds.block=2", "seeds.width=null"]
    assert inside("-m", "lr=0.1,0.11", "epochs=4", "n_jobs=1", *race).returncode == 0
    said = inside("extend", "latest", "seeds.max=8", "--dry-run").stdout
    assert "8 to 16 runs: 4 to 8 seeds of each combination" in said
    halving = ["search.halving=3", "search.min_epochs=10", "n_jobs=1"]
    assert inside("-m", "lr=logspace(-2,0,9)", "epochs=100", *halving).returncode == 0
    assert "No run is missing." in inside("resume", "latest", "--dry-run").stdout
    said = inside("resume", "latest", "--pruned", "--dry-run").stdout
    assert said.startswith("Training 8 pruned runs to their ends.\n")
    assert "already: 1 of 9 runs.\n" in said
    assert "1 batch of at most 8 runs on" in said


def test_the_detectable_difference_has_the_power_that_is_stated():
    for n in (2, 10, 100):
        shift = detectable_difference(n) / (2 / n) ** 0.5
        assert norm.sf(norm.isf(0.025) - shift) == pytest.approx(0.8)


def test_waiting_for_other_programs_does_not_count(monkeypatch):
    train = forecast._train

    def delayed(batch, epochs, n_threads):
        time.sleep(0.25 if epochs == 4 else 0.0)
        return train(batch, epochs, n_threads)

    monkeypatch.setattr(forecast, "_train", delayed)
    plan = make_plan([compose_settings({"epochs": 300})])
    (batch,) = make_batches(plan.jobs, "auto", 1)
    # The delay alone would be 0.08 s for each of three epochs.
    assert forecast.time_batch(batch, plan).seconds < 0.005


def test_a_batch_is_timed_with_the_threads_that_will_train_it(monkeypatch):
    engines = []

    def load(name):
        engines.append(load_engine(name))
        return engines[-1]

    monkeypatch.setattr(forecast, "load_engine", load)
    plan = make_plan([compose_settings({"epochs": 300})])
    with open_executor(replace(plan.runtime, n_jobs=2)) as executor:
        sentences = forecast.sentences(plan, executor, (), are_kept=False, confirms=False)
        assert {engine.max_threads for engine in engines} == {executor.threads_per_batch(1)}
    assert "1 batch of at most 1 run on 2 workers." in sentences


@pytest.mark.slow
def test_the_start_of_a_training_does_not_count_for_every_epoch():
    """With mini-batches it takes longer than hundreds of epochs of a small data set."""
    settings = {"data": "iris", "model": "classifier", "batch_size": 16, "epochs": 1000}
    plan = make_plan([compose_settings({**settings, "seed": seed}) for seed in range(4)])
    (batch,) = make_batches(plan.jobs, "auto", 1)
    timed = forecast.time_batch(batch, plan)
    engine = load_engine(batch.engine)
    started = time.perf_counter()
    assert len([one for part in train_jobs(batch, engine) for one in part]) == 4
    seconds = time.perf_counter() - started
    # Other programs may take the processor meanwhile.
    assert 0.1 < seconds / (timed.start + 1000 * timed.seconds) < 10


@pytest.mark.parametrize("option", [["--cfg", "job"], ["--cfg=job"], ["-c", "job"]])
def test_the_configurations_of_all_jobs_are_printed(inside, tmp_path, option):
    done = inside("-m", *option, "lr=0.1,1", "data=parity")
    shown = list(yaml.safe_load_all(done.stdout))
    assert [one["lr"] for one in shown] == [0.1, 1.0]
    assert all(one["data"]["name"] == "parity" for one in shown)
    assert "# lr=0.1\n" in done.stdout
    assert not list(tmp_path.iterdir())


def test_other_configurations_of_a_sweep_are_refused(inside):
    done = inside("-m", "--cfg", "hydra", "lr=0.1,1")
    assert done.returncode == 1
    assert "--cfg must be job with -m, got 'hydra'" in done.stderr


@pytest.mark.parametrize("search", [{}, {"search": "random", "search__trials": 2}])
def test_python_has_no_dry_run(search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="dry_run is for the command line"):
        bpexp.sweep(lr=[0.1, 1], epochs=1, dry_run=True, **search)
    assert list(tmp_path.iterdir()) == []
