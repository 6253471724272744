"""Successive halving: which combinations are stopped when, with the bits of uninterrupted runs."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from exact_csv import read_csv
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from servers import dask_cluster
from sweeping import Halted, interrupt_generation, run_to_end

import bpexp
from bpexp.analysis.halving import Halving
from bpexp.config.compose import compose_settings
from bpexp.config.schema import SearchConfig, parse
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.runs.objective import objectives
from bpexp.sweeps import plan_file, rungs
from bpexp.sweeps.halving import judge
from bpexp.sweeps.parent_files import ParentFiles
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.ranking import rank
from bpexp.sweeps.row import Row
from bpexp.sweeps.samplers.trials import Trial, best_of
from bpexp.tracking.archive import open_archive
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate
from bpexp.tracking.stored_results import losses_of

RATES = [0.01, 0.1, 0.5, 1, 3, 10]
GRID = ["-m", "lr=0.01,0.1,0.5,1,3,10", "seed=range(0,3)", "epochs=90"]
HALVING = ["search.halving=3", "search.min_epochs=10"]


def stored(folder):
    """The parent of the newest sweep, and its runs that are not deleted."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    parent = next(run for run in archive.search(Query()) if run.is_sweep)
    return archive, parent, archive.search(Query(sweep=parent.run_id, are_sweeps=False))


def outcomes(folder):
    """Outcome, epochs and result digest of each run by its name."""
    _, _, runs = stored(folder)
    found = {
        run.name: (run.outcome, run.metrics.get("epochs_run"), run.tags.get(run_tags.RESULT))
        for run in runs
    }
    assert len(found) == len(runs)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, put_store):
    """The losses of each run of the grid, trained to its end, and its digest."""
    folder = tmp_path_factory.mktemp("whole")
    put_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bpexp.sweep(lr=RATES, seed=range(3), epochs=90)
    archive, _, runs = stored(folder)
    return {run.name: (losses_of(run, archive), run.tags[run_tags.RESULT]) for run in runs}


@pytest.fixture(scope="module")
def halved(tmp_path_factory, put_store):
    """The folder of the grid with successive halving."""
    folder = tmp_path_factory.mktemp("halved")
    put_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bpexp.sweep(lr=RATES, seed=range(3), epochs=90, search__halving=3, search__min_epochs=10)
    return folder


def kept_after(whole, epoch, rates, count):
    """The rates with the lowest medians of the loss after an epoch."""
    return sorted(
        rates,
        key=lambda lr: np.median([whole[f"lr={lr:g} seed={s}"][0][epoch - 1] for s in range(3)]),
    )[:count]


def test_the_combinations_with_the_best_medians_go_on_and_the_others_stop_there(whole, halved):
    second = kept_after(whole, 10, RATES, 2)
    third = kept_after(whole, 30, second, 1)
    archive, _, runs = stored(halved)
    assert len(runs) == 18
    for run in runs:
        lr = float(run.params["lr"])
        epochs = 90 if lr in third else 30 if lr in second else 10
        assert run.status == "FINISHED"
        assert (run.outcome, run.metrics["epochs_run"]) == (
            "completed" if epochs == 90 else "pruned", epochs,
        )  # fmt: skip
        losses, digest = whole[run.name]
        np.testing.assert_array_equal(losses_of(run, archive), losses[:epochs])
        assert run.metrics["final_loss"] == losses[epochs - 1]
        assert (run.tags[run_tags.RESULT] == digest) == (epochs == 90)


def test_the_best_combination_is_one_that_was_trained_to_its_end(whole, halved):
    archive, parent, runs = stored(halved)
    best = next(run for run in runs if run.run_id == parent.tags[run_tags.BEST_RUN])
    assert best.outcome == "completed"
    content = archive.file(parent, "rungs.csv").decode().splitlines()
    assert content[0] == "combination,epoch,value,decision,objective"
    assert sum(",goes on," in line for line in content) == 3
    assert sum(",stopped," in line for line in content) == 5
    assert sum(",end," in line for line in content) == 1


@pytest.mark.parametrize("where", [["backend=serial"], ["n_jobs=2"], ["n_jobs=2", "engine=numpy"]])
def test_the_same_runs_are_stopped_on_any_workers(where, halved, inside, a_store, tmp_path):
    done = inside(*GRID, *HALVING, *where)
    assert done.returncode == 0, done.stderr
    assert outcomes(tmp_path) == outcomes(halved)
    assert "After 10 epochs: 2 of 6 combinations go on." in done.stdout
    assert "After 30 epochs: 1 of 2 combinations goes on." in done.stdout
    assert re.search(r"Train the 15 pruned runs to their ends: bpexp resume \w{8} --pruned",
                     done.stdout)  # fmt: skip
    ranked = re.findall(r"^ +(\d) +(\S+) +3 +(10|30)? ", done.stdout, re.MULTILINE)
    assert [at for _, _, at in ranked] == ["", "30", "10", "10", "10", "10"]


@pytest.mark.parametrize("halted", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
def test_an_interrupted_sweep_is_resumed_with_the_same_bits(
    halted, halved, inside, a_store, tmp_path, monkeypatch
):
    interrupt_generation(monkeypatch, halted)
    assert inside(*GRID, *HALVING, "backend=serial").returncode == 130
    assert inside("resume", "latest").returncode == 0
    assert outcomes(tmp_path) == outcomes(halved)
    assert inside("reproduce", "latest").stdout == (
        "18 of 18 runs identical to the bit.\n2 of 2 times the same combinations stopped.\n"
    )


@pytest.mark.long
@pytest.mark.parametrize("at", ["planned", "tracked"])
def test_a_killed_sweep_is_resumed_with_the_same_bits(at, halved, tmp_path):
    Halted(tmp_path, *GRID, *HALVING, at=at).kill()
    assert run_to_end(tmp_path, "resume", "latest") == (0, "")
    assert outcomes(tmp_path) == outcomes(halved)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_dask_stops_the_same_runs_which_are_finished_later(engine, whole, halved, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        where = ["backend=dask", f"backend.address={cluster.address}", f"engine={engine}"]
        assert run_to_end(tmp_path, *GRID, *HALVING, *where) == (0, "")
        assert outcomes(tmp_path) == outcomes(halved)
        assert run_to_end(tmp_path, "resume", "latest", "--pruned") == (0, "")
    found = {name: digest for name, (_, _, digest) in outcomes(tmp_path).items()}
    assert found == {name: digest for name, (_, digest) in whole.items()}


@pytest.mark.long
def test_a_sweep_that_is_killed_on_dask_is_resumed_here(halved, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        where = ["backend=dask", f"backend.address={cluster.address}"]
        Halted(tmp_path, *GRID, *HALVING, *where, at="tracked").kill()
    assert run_to_end(tmp_path, "resume", "latest", "--backend", "local") == (0, "")
    assert outcomes(tmp_path) == outcomes(halved)


@pytest.mark.slow
def test_pruned_runs_are_finished_later_with_the_same_bits(whole, inside, a_store, tmp_path):
    inside(*GRID, *HALVING)
    done = inside("resume", "latest", "--pruned")
    assert done.returncode == 0, done.stderr
    assert "Training 15 pruned runs to their ends." in done.stdout
    assert "--pruned" not in done.stdout
    found = outcomes(tmp_path)
    assert {name: digest for name, (_, _, digest) in found.items()} == {
        name: digest for name, (_, digest) in whole.items()
    }
    # What was decided stays known, and is judged again; the correlations are those of all.
    assert "2 of 2 times the same combinations stopped." in inside("reproduce", "latest").stdout
    halving = bpexp.report("latest").halving
    medians = {
        epoch: [np.median([whole[f"lr={lr:g} seed={s}"][0][epoch - 1] for s in range(3)])
                for lr in RATES]
        for epoch in (10, 90)
    }  # fmt: skip
    correlation = halving.rungs[0].end
    assert correlation.n == 6
    assert correlation.value == pytest.approx(spearmanr(medians[10], medians[90]).statistic)
    assert inside("resume", "latest", "--pruned").returncode == 0


def test_a_sweep_without_pruned_runs_cannot_finish_them(inside, a_store):
    inside("-m", "lr=0.1,1", "epochs=3")
    done = inside("resume", "latest", "--pruned")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no pruned runs" in done.stderr


def test_other_decisions_are_reported(inside, a_store, tmp_path):
    inside(*GRID, *HALVING)
    archive, parent, _ = stored(tmp_path)
    plan = plan_file.from_bytes(archive.file(parent, plan_file.NAME))
    first, second = plan.rungs
    index = min(first.scores)
    altered = replace(first, scores={**first.scores, index: first.scores[index] / 2})
    files = ParentFiles.of_stored(open_tracker(archive.store, "bpexp"), parent, archive)
    # With a new digest.
    files.write({plan_file.NAME: plan_file.to_bytes(replace(plan, rungs=(altered, second)))})
    done = inside("reproduce", "latest")
    assert done.returncode == 1
    assert "Combinations are judged differently after 10 epochs than before" in done.stdout


@pytest.mark.slow
def test_a_search_is_told_what_its_trials_were_stopped_by(inside, a_store, tmp_path):
    done = inside(
        "-m", "lr=tag(log,interval(1e-2,10))", "seed=0,1", "search=tpe", "search.trials=8",
        "search.generation=4", "epochs=40", "search.halving=2", "search.min_epochs=5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, parent, runs = stored(tmp_path)
    counts = sorted(int(run.metrics["epochs_run"]) for run in runs)
    # In each of 2 generations: 2 combinations until 5, 1 until 10, 1 to the end.
    assert counts == [5] * 8 + [10] * 4 + [40] * 4
    trials = read_csv(tmp_path / "outputs/artifacts" / parent.run_id / "artifacts" / "trials.csv")
    complete = trials["pruned at epoch"].isna()
    assert complete.sum() == 2
    assert trials["best so far"].iloc[-1] == trials["final_loss"][complete].min()
    assert inside("reproduce", "latest").stdout.splitlines()[1:] == [
        "8 of 8 trials proposed again.", "4 of 4 times the same combinations stopped.",
    ]  # fmt: skip
    # The sampler is told the same after pruned trials were finished.
    assert inside("resume", "latest", "--pruned").returncode == 0
    assert {run.metrics["epochs_run"] for run in stored(tmp_path)[2]} == {40}
    assert "8 of 8 trials proposed again." in inside("reproduce", "latest").stdout


@pytest.mark.slow
def test_brackets_judge_later_and_later(inside, a_store, tmp_path):
    arguments = [*GRID, *HALVING, "search.brackets=2", "search.seed=3"]
    done = inside(*arguments)
    assert done.returncode == 0, done.stderr
    _, parent, _ = stored(tmp_path)
    first = outcomes(tmp_path)
    settings = SearchConfig(halving=3, min_epochs=10, brackets=2)
    assert rungs.bracket_sizes(6, settings, 90) == [4, 2]
    assert {epochs for _, epochs, _ in first.values()} == {10, 30, 90}
    assert inside(*arguments, "n_jobs=1").returncode == 0
    assert stored(tmp_path)[1].run_id != parent.run_id
    assert outcomes(tmp_path) == first
    assert inside("reproduce", "latest").returncode == 0


@pytest.mark.slow
def test_runs_that_other_sweeps_stopped_are_not_reused(whole, halved, inside, a_store, tmp_path):
    inside(*GRID, *HALVING)
    done = inside(*GRID, "reuse=true")
    assert done.returncode == 0, done.stderr
    linked = bpexp.load_runs("latest")
    assert (linked["epochs_run"] == 90).all()
    assert len(linked) == 18
    # Complete runs that are linked change no decision.
    done = inside(*GRID, *HALVING, "reuse=true")
    assert "After 10 epochs: 2 of 6 combinations go on." in done.stdout
    archive, parent, _ = stored(tmp_path)
    plan = plan_file.from_bytes(archive.file(parent, plan_file.NAME))
    archive, parent, _ = stored(halved)
    assert plan.rungs == plan_file.from_bytes(archive.file(parent, plan_file.NAME)).rungs


def test_the_report_compares_what_was_trained_to_the_end(halved, monkeypatch):
    monkeypatch.chdir(halved)
    report = bpexp.report("latest")
    assert len(report.findings.summaries) == 1
    assert report.findings.grouped.n_pruned == 5
    assert "5 of 6 combinations were stopped early" in report.halving.sentences[0]
    assert "rungs" in report.figures
    text = report.files(["md"])["report.md"].decode()
    assert "| 10 | 6 | 2 |" in text
    _, parent, _ = stored(halved)
    path = halved / "outputs/artifacts" / parent.run_id / "artifacts" / "rungs.csv"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"stopped", b"goes on"))
    with pytest.raises(ConfigError, match=r"rungs\.csv of .* altered"):
        bpexp.report("latest")
    path.write_bytes(content)


def test_dry_run_says_what_is_trained_to_which_epoch(inside, a_store):
    done = inside(*GRID, *HALVING, "--dry-run")
    sentence = "Of 6 combinations, by epochs: 6 to 10, 2 to 30, 1 to 90; 480 epochs instead of 1620"
    assert f"{sentence} (30%)." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search.halving=3"], "search.halving and search.min_epochs go together"),
        (["search.min_epochs=3"], "search.halving and search.min_epochs go together"),
        (["search.halving=1", "search.min_epochs=3"], "search.halving must be"),
        (["search.halving=3", "search.min_epochs=90"], "search.min_epochs must be below epochs"),
        (["search.brackets=2"], "search.brackets goes with search.halving"),
        ([*HALVING, "search.brackets=9"], "search.brackets must be at most 3"),
        ([*HALVING, "budget.runs=4"], "limits the epochs itself; leave out budget.*"),
        ([*HALVING, "lr=1"], "needs several combinations to choose from"),
        ([*HALVING, "data=xor,iris", "model=regressor"], "search.halving needs one ranking"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(refused, arguments, message, tmp_path):
    assert message in refused(*GRID, *arguments)
    assert not (tmp_path / "outputs").exists()


def test_a_halved_sweep_is_not_extended(inside, a_store):
    inside(*GRID, *HALVING)
    done = inside("extend", "latest", "seed=9")
    assert done.returncode == 2
    assert "start a new sweep" in done.stderr


@given(
    st.integers(1, 200), st.integers(2, 5), st.integers(1, 50), st.integers(1, 4),
    st.integers(51, 5000),
)  # fmt: skip
def test_the_brackets_have_all_combinations_and_the_epochs_add_up(
    n, halving, first, brackets, last
):
    settings = SearchConfig(halving=halving, min_epochs=first, brackets=brackets)
    n_rungs = len(rungs.rung_epochs(settings, last))
    if brackets > n_rungs + 1:
        return
    sizes = rungs.bracket_sizes(n, settings, last)
    assert sum(sizes) == n
    assert len(sizes) == brackets
    total = rungs.epochs_of(n, settings, last)
    # Epoch by epoch: how many combinations are trained in it.
    by_epoch = np.zeros(last)
    for start, size in enumerate(sizes):
        left, done = size, 0
        for epoch in [*rungs.rung_epochs(settings, last)[start:], last]:
            by_epoch[done:epoch] += left
            left, done = max(1, left // halving) if left else 0, epoch
    assert total == by_epoch.sum() <= n * last
    counts = dict(rungs.schedule(n, settings, last))
    assert counts[last] == by_epoch[-1]


def test_equal_scores_are_decided_by_the_loss():
    plan = make_plan(
        compose_settings({"lr": lr, "seed": s, "epochs": 50, "stop__tolerance": 0.1})
        for lr in (0.1, 1.0, 3.0) for s in range(2)
    )  # fmt: skip
    settings = SearchConfig(halving=3, min_epochs=5)
    losses = [0.3, 0.3, 0.2, 0.1, 0.3, 0.3]
    rows = {
        job.index: Row(job, "pruned", "", {"epochs_run": 5, "final_loss": losses[job.index]})
        for job in plan.jobs
    }
    assert plan.objective.is_time
    rung = judge(plan.jobs, rows, 5, plan.objective, settings)
    assert rung.kept == {2, 3}
    assert rung.pruned == {0, 1, 4, 5}
    assert set(rung.scores.values()) == {math.inf}
    # A run that has converged is better than any loss, and is not stopped.
    rows[5] = Row(plan.jobs[5], "converged", "", {"epochs_run": 4, "final_loss": 0.3})
    rung = judge(plan.jobs, rows, 5, plan.objective, settings)
    assert rung.kept == {4, 5}


DIVERGING = ["-m", "data=iris", "model=regressor", "seed=range(0,2)", "epochs=20", "confirm=2"]


def test_a_diverged_combination_is_the_last_one_and_is_not_confirmed(inside, a_store):
    done = inside(*DIVERGING, "lr=1e200,0.01,0.02", "search.halving=3", "search.min_epochs=5")
    assert done.returncode == 0, done.stderr
    ranked = re.findall(r"^ +(\d) +(\S+) +2 +(\d) +(5)? ", done.stdout, re.MULTILINE)
    assert [(place, n_diverged, at) for place, _, n_diverged, at in ranked] == [
        ("1", "0", ""), ("2", "0", "5"), ("3", "2", ""),
    ]  # fmt: skip
    assert ranked[2][1] == "1e+200"
    assert "Training the best combination again on 2 fresh seeds.\n" in done.stdout


def test_a_pruned_run_is_the_best_where_those_that_went_on_have_diverged(inside, a_store):
    # The losses of the first epoch are equal, so the first combination goes on.
    done = inside(*DIVERGING, "lr=1e200,0.01", "search.halving=2", "search.min_epochs=1")
    assert done.returncode == 0, done.stderr
    assert "After 1 epoch: 1 of 2 combinations goes on." in done.stdout
    assert re.search(r"^ +1 +0\.01 +2 +0 +1 ", done.stdout, re.MULTILINE)
    assert "Nothing is confirmed" in done.stdout


def test_a_halved_sweep_in_which_everything_diverges_has_no_best_run(inside, a_store, tmp_path):
    done = inside(*DIVERGING, "lr=1e200,1e210", "search.halving=2", "search.min_epochs=5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not finite at epoch 2") == 4
    assert "Nothing is confirmed" in done.stdout
    archive, parent, _ = stored(tmp_path)
    assert parent.tags[run_tags.BEST_RUN] == "none"
    table = pd.read_csv(io.BytesIO(archive.file(parent, "rungs.csv")))
    assert list(table["decision"]) == ["goes on", "stopped", "diverged", "diverged"]
    assert list(table["epoch"]) == [5, 5, 2, 2]
    report = bpexp.report("latest")
    assert "trained to the end or diverged" in " ".join(report.halving.sentences)
    assert len(report.halving.stopped) == 0


def test_a_diverged_run_is_the_best_of_no_combination():
    plan = make_plan(compose_settings({"lr": lr, "seed": s}) for lr in (0.1, 1.0) for s in range(2))
    rows = [
        Row(job, "pruned", "", {"epochs_run": 5, "final_loss": 0.3})
        if job.config.seed
        else Row(job, "diverged", "", {"epochs_run": 2, "final_loss": math.inf})
        for job in plan.jobs
    ]
    for objective in objectives().values():
        ranking = rank(rows, objective)
        assert [one.best.job.config.seed for one in ranking.combinations] == [1, 1]
        assert ranking.best is rows[1]
    assert rank(rows[::2], plan.objective).best is None


def test_a_pruned_trial_is_the_best_only_where_no_other_one_is():
    pruned, whole = Trial(0, ("lr=1",), 0.1, pruned_at=5), Trial(1, ("lr=2",), 0.3)
    assert best_of([pruned, whole]) is whole
    assert best_of([pruned]) is pruned


def test_the_settings_of_halving_are_read():
    _, runtime = parse(compose_settings({"search__halving": 3, "search__min_epochs": 5}))
    assert (runtime.search.halving, runtime.search.min_epochs, runtime.search.brackets) == (3, 5, 1)
    with pytest.raises(ConfigError, match=r"go with search=NAME"):
        parse(compose_settings({"search__halving": 3, "search__min_epochs": 5,
                                "search__trials": 4}))  # fmt: skip


def test_infinite_values_have_ranks():
    table = pd.DataFrame({
        "combination": ["a", "b", "c", "d"] * 2, "epoch": [5] * 4 + [9] * 4,
        "value": [1.0, 2.0, 3.0, math.inf, 1.0, 2.0, math.inf, math.inf],
        "decision": ["goes on"] * 4 + ["end"] * 4, "objective": "final_loss",
    })  # fmt: skip
    (rung,) = Halving.of(table).rungs
    assert rung.end.value == pytest.approx(spearmanr([1, 2, 3, 4], [1, 2, 3.5, 3.5]).statistic)


def test_only_combinations_that_were_trained_to_their_ends_are_confirmed(inside, a_store):
    sweep = ["-m", "lr=0.01,0.1,0.3,1", "seed=range(0,3)", "epochs=80", "n_jobs=1",
             "search.halving=2", "search.min_epochs=40", "confirm=4"]  # fmt: skip
    assert "8 further runs on fresh seeds confirm" in inside(*sweep, "--dry-run").stdout
    done = inside(*sweep)
    assert "Training the best 2 combinations again on 4 fresh seeds.\n" in done.stdout
    assert done.stdout.splitlines()[-1].count(" over 4 fresh runs") == 2
    (parent, *_) = re.findall("^Sweep ([0-9a-f]+)", done.stdout, re.MULTILINE)
    done = inside("resume", parent, "--pruned")
    assert "Training the best 3 combinations again on 4 fresh seeds.\n" in done.stdout
