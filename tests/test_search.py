"""Searches: the space, the proposals, and sweeps that are functions of their configuration."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from exact_csv import read_csv
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc
from servers import dask_cluster
from sweeping import Halted, interrupt_generation, results, run_to_end

import bpexp
from bpexp.config.compose import compose_settings, composer
from bpexp.config.schema import SEARCHES, SearchConfig, parse
from bpexp.fields.checks import ConfigError
from bpexp.sweeps import plan_file
from bpexp.sweeps.samplers import space
from bpexp.sweeps.samplers.search import SearchSampler
from bpexp.sweeps.samplers.trials import best_so_far
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate

PARSE = composer().parse
AXES = ["lr=tag(log,interval(1e-3,1))", "hidden=int(interval(2,64))", "epochs=range(10,100,30)"]


def parsed(*arguments):
    return space.parse(arguments, PARSE)


def searched(method, arguments=AXES, *, trials=12, generation=4, seed=0, score=None):
    """The proposals of a search, and its sampler; ``score`` gives the score of a job."""
    config = SearchConfig(name=method, trials=trials, generation=generation, seed=seed)
    sampler = SearchSampler(parsed(*arguments), config)
    proposed = []
    while jobs := sampler.ask():
        proposed.append([" ".join(job) for job in jobs])
        sampler.tell([(score or distance)(value_of(job)) for job in jobs])
    return proposed, sampler


def value_of(job):
    return {key: float(value) for key, value in (text.split("=") for text in job)}


def distance(values):
    """Smallest at lr=0.03 and hidden=20."""
    return abs(math.log10(values["lr"] / 0.03)) + abs(values["hidden"] - 20) / 40


def test_the_space_has_what_is_searched_what_is_fixed_and_the_replicates():
    found = parsed("data=iris", *AXES, "optimizer=adam,momentum", "seed=range(0,3)")
    assert {dimension.key: dimension.values for dimension in found.dimensions} == {
        "lr": "0.001 to 1, log", "hidden": "2 to 64", "epochs": "10 to 70 in 3 steps",
        "optimizer": "adam, momentum",
    }  # fmt: skip
    assert found.fixed == ("data=iris",)
    assert found.replicates == (("seed=0",), ("seed=1",), ("seed=2",))
    assert found.jobs([0.00123456, 7, 2, 1])[1] == [
        "data=iris", "lr=0.001235", "hidden=7", "epochs=70", "optimizer=momentum", "seed=1",
    ]  # fmt: skip


def test_limits_of_whole_numbers_may_be_named():
    (dimension,) = parsed("hidden=int(interval(end=8,start=2))").dimensions
    assert (dimension.low, dimension.high) == (2, 8)
    with pytest.raises(ConfigError, match=r"type 'hidden=int\(interval\(3,8\)\)'"):
        parsed("hidden=int(interval(end=8.5,start=2.5))")


def test_a_zip_is_one_choice_and_a_range_excludes_its_end():
    found = parsed("zip(lr=[0.1,1],hidden=[2,8])", "batch_size=tag(log,range(1,100))")
    assert found.point([1, 99]) == ("lr=1", "hidden=8", "batch_size=99")
    assert found.dimensions[1].values == "1 to 99, log"


def test_a_later_setting_replaces_an_earlier_one_also_with_a_plus():
    found = parsed("lr=interval(0.1,1)", "hidden=2,8", "++lr=0.5")
    assert [dimension.key for dimension in found.dimensions] == ["hidden"]
    assert found.fixed == ("++lr=0.5",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=0,1"], "needs a setting to search"),
        (["lr=interval(1,0)"], r"low below high, .*; type 'lr=interval\(0,1\)'"),
        (["hidden=interval(2,8)"], r"whole numbers, .*; type 'hidden=int\(interval\(2,8\)\)'"),
        (["lr=interval(1,1)"], "low below high"),
        (["lr=interval(0,inf)"], "low below high"),
        (["lr=tag(log,interval(0,1))"], r"above 0 for log, .*; type .*interval\(0.001,1\)\)'"),
        (["lr=tag(log,choice(1,2))"], "must be an interval for log"),
        (["lr=tag(log,range(1,9,2))"], "step 1 for log"),
        (["lr=tag(lin,interval(0,1))"], "no tag other than log"),
        (["lr=interval(0.12341,0.12342)"], "no number of 4 digits"),
        (["lr=1 | lr=2"], "takes no sub-sweeps"),
        (["zip(lr=[0.1,1],hidden=[2,8])", "lr=interval(0.1,1)"], "lr must be set once"),
        (["hidden=4", "zip(lr=[0.1,1],++hidden=[2,8])"], "hidden must be set once"),
        (["seed=interval(0,1)", "lr=interval(0,1)"], "seed must be a list or range"),
    ],
)
def test_a_wrong_space_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parsed(*arguments)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_suggested_numbers_have_four_digits_and_stay_in_the_interval(low, high, share):
    low, high = sorted((low, high))
    if high < low * 1.01:
        return
    number = space.rounded(low + (high - low) * share, low, high)
    assert low <= number <= high
    assert float(f"{number:.4g}") == number


@pytest.mark.parametrize("method", [name for name in SEARCHES if name not in ("gp", "lr_range")])
def test_the_proposals_depend_on_settings_and_scores_only(method):
    first, sampler = searched(method)
    assert searched(method)[0] == first
    assert [len(jobs) for jobs in first] == [4, 4, 4]
    assert searched(method, seed=1)[0] != first
    assert len(sampler.trials) == 12


@pytest.mark.long
def test_gp_proposes_the_same_trials_again_and_learns():
    pytest.importorskip("torch")
    arguments = {"arguments": AXES[:2], "trials": 16, "generation": 3}
    first, sampler = searched("gp", **arguments)
    assert searched("gp", **arguments)[0] == first
    # The first 10 trials are random. Those after them are near the best values.
    values = [trial.value for trial in sampler.trials]
    assert np.median(values[12:]) < np.median(values[:10])
    other, _ = searched("gp", **arguments, score=lambda values: values["lr"])
    assert other[:3] == first[:3]
    assert other[4:] != first[4:]


def test_a_method_names_the_package_that_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="search=gp needs the package torch: pip install torch"):
        searched("gp")
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match=r"package cmaes: pip install -e '.\[search\]'"):
        searched("cma_es")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tpe", "cma_es"])
def test_a_search_that_learns_finds_better_values_than_random_ones(method):
    def best(name):
        return np.mean([best_so_far(searched(name, AXES[:2], trials=40, seed=seed)[1].trials)[-1]
                        for seed in range(5)])  # fmt: skip

    assert best(method) < best("random")


def test_sobol_is_the_sequence_of_scipy():
    proposed, _ = searched("sobol", ["lr=interval(0,1)", "optimizer.weight_decay=interval(0,1)"],
                           score=lambda values: 0.0)  # fmt: skip
    rows = [[float(text.split("=")[1]) for text in job.split()] for g in proposed for job in g]
    with pytest.warns(UserWarning, match="power of 2"):
        points = qmc.Sobol(2, scramble=True, rng=0).random(12)
    np.testing.assert_allclose(rows, points, rtol=5e-4)


def test_a_trial_is_judged_by_the_median_over_its_replicates():
    _, sampler = searched("random", ["lr=interval(0,1)", "seed=0,1,2"], trials=2, generation=2,
                          score=lambda values: values["seed"] ** 2)  # fmt: skip
    assert [trial.value for trial in sampler.trials] == [1.0, 1.0]


def test_failed_runs_count_as_worst_and_repeated_trials_are_not_trained():
    proposed, sampler = searched("tpe", ["optimizer.momentum=choice(0.1,0.5)"], trials=9,
                                 score=lambda values: None)  # fmt: skip
    assert sum(map(len, proposed)) == 2
    assert len(sampler.trials) == 9
    assert sum(trial.is_repeated for trial in sampler.trials) == 7
    assert all(trial.value == math.inf for trial in sampler.trials)


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_small_generations_of_cma_es_give_no_warnings(generation):
    _, sampler = searched("cma_es", AXES[:2], trials=6, generation=generation)
    assert len(sampler.trials) == 6


def test_methods_say_what_they_cannot_search():
    with pytest.raises(ConfigError, match="numbers only, got choices of optimizer"):
        searched("cma_es", ["optimizer=adam,momentum", "lr=interval(0,1)"])
    with pytest.raises(ConfigError, match="at least two searched settings"):
        searched("cma_es", ["lr=interval(0,1)"])
    with pytest.raises(ConfigError, match=r"search.name must be one of"):
        parse(compose_settings({"search": "grid"}))
    with pytest.raises(ConfigError, match="go with search=NAME"):
        parse(compose_settings({"search__trials": 3}))


SEARCH = ["-m", "lr=tag(log,interval(1e-2,10))", "hidden=int(interval(2,5))", "seed=range(0,3)",
          "search=tpe", "search.trials=6", "search.generation=2", "epochs=30"]  # fmt: skip


def stored(folder):
    """Trial, learning rate, width and seed of the finished runs, and the parent of the sweep."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    runs = archive.client.search_runs(
        [archive.client.get_experiment_by_name("bpexp").experiment_id]
    )
    children = [run for run in runs if "bpexp.kind" not in run.data.tags]
    keys = ("lr", "hidden", "seed")
    rows = sorted(
        (int(run.data.tags["bpexp.trial"]), *(run.data.params[key] for key in keys))
        for run in children if run.info.status == "FINISHED"
    )  # fmt: skip
    (parent,) = [run for run in runs if "bpexp.kind" in run.data.tags]
    return rows, parent, archive.client


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, put_store):
    """A stored search of 6 trials, 2 at a time, of 3 runs, trained in one process."""
    folder = tmp_path_factory.mktemp("search")
    put_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = bpexp.sweep(
            lr="tag(log,interval(1e-2,10))", hidden="int(interval(2,5))", seed=range(3),
            search="tpe", search__trials=6, search__generation=2, epochs=30, backend="serial",
        )  # fmt: skip
    return folder, found


def test_a_search_is_one_sweep_with_its_trials(uninterrupted):
    folder, found = uninterrupted
    rows, parent, client = stored(folder)
    assert len(found) == len(rows) == 18
    assert sorted({row[0] for row in rows}) == list(range(6))
    medians = found.groupby(["lr", "hidden"], sort=False)["final_loss"].median()
    history = client.get_metric_history(parent.info.run_id, "best_so_far")
    points = sorted((point.step, point.value) for point in history)
    assert [step for step, _ in points] == list(range(6))
    np.testing.assert_allclose([v for _, v in points], np.minimum.accumulate(medians))
    assert parent.data.tags["bpexp.search"] == "tpe"
    assert parent.data.tags["bpexp.sampler"].startswith("optuna ")
    assert parent.data.tags["mlflow.runName"].startswith("tpe lr x hidden, xor, ")


def test_two_workers_find_the_same_trials(uninterrupted, inside, a_store, tmp_path):
    done = inside(*SEARCH)
    assert done.stdout.startswith(
        "Search by tpe over lr (0.01 to 10, log), hidden (2 to 5): 6 trials of 3 runs, 2 at a time"
    ), done.stderr
    assert "6 of 6 trials: lowest median final loss" in done.stdout
    assert stored(tmp_path)[0] == stored(uninterrupted[0])[0]
    done = inside("reproduce", "latest")
    assert done.stdout == "18 of 18 runs identical to the bit.\n6 of 6 trials proposed again.\n"


def test_a_search_of_which_no_run_converges_says_at_its_start_and_end_that_it_learns_nothing(
    a_store, inside
):
    done = inside(
        "-m", "lr=interval(0.1,1)", "search=random", "search.trials=6", "search.generation=2",
        "epochs=20", "stop.tolerance=0.01",
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if "no run has converged yet" in line]
    assert [line.partition(":")[0] for line in lines] == [f"{n} of 6 trials" for n in (2, 4, 6)]
    assert ["objective=final_loss" in line for line in lines] == [True, False, True]


@pytest.mark.parametrize("halted", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_search_is_resumed_with_the_same_trials(
    halted, uninterrupted, inside, a_store, tmp_path, monkeypatch
):
    interrupt_generation(monkeypatch, halted)
    assert inside(*SEARCH, "backend=serial").returncode == 130
    assert len(stored(tmp_path)[0]) < 18
    done = inside("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path)[0] == stored(uninterrupted[0])[0]


def test_a_resumed_search_that_is_interrupted_again_keeps_its_trials(
    inside, a_store, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        interrupt_generation(patch, 2)
        assert inside(*SEARCH, "backend=serial").returncode == 130
    interrupt_generation(monkeypatch, 1)
    assert inside("resume", "latest").returncode == 130
    _, parent, client = stored(tmp_path)
    trials = read_csv(client.download_artifacts(parent.info.run_id, "trials.csv"))
    assert trials["trial"].tolist() == [0, 1]
    assert len(client.get_metric_history(parent.info.run_id, "best_so_far")) == 2


def test_a_search_without_its_plan_is_not_taken_for_a_grid(inside, a_store, tmp_path):
    assert inside("-m", "lr=0.1,1", "search=random", "search.trials=2", "epochs=2").returncode == 0
    (file,) = tmp_path.glob(f"outputs/artifacts/*/artifacts/{plan_file.NAME}")
    file.unlink()
    done = inside("resume", "latest")
    assert done.returncode == 2
    assert "has stored no plan; start a new sweep" in done.stderr
    file.write_bytes(b"no plan")
    done = inside("reproduce", "latest")
    assert (done.returncode, done.stderr) == (1, "")
    altered, identical = done.stdout.splitlines()
    assert identical == "2 of 2 runs identical to the bit; 1 sweep altered."
    assert re.match("altered: random lr, .*plan.jsonl.gz was altered", altered)


@pytest.mark.slow
def test_a_sampler_that_proposes_other_trials_is_reported(inside, a_store, monkeypatch):
    inside(*SEARCH, "backend=serial")
    other = optuna.samplers.RandomSampler(seed=9)
    monkeypatch.setattr("bpexp.sweeps.samplers.optuna_study._sampler", lambda *arguments: other)
    monkeypatch.setattr("bpexp.reproduce.trajectory.version", lambda name: "optuna 9")
    done = inside("reproduce", "latest")
    assert done.returncode == 1
    assert "proposes other runs than before from run 1 on" in done.stdout
    assert f"(optuna {optuna.__version__} then, optuna 9 now)" in done.stdout


def test_data_of_python_are_searched_over(tmp_path, monkeypatch, put_store):
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    found = bpexp.sweep(
        data=(np.array([[0.0, 1.0], [1.0, 0.0]] * 4), np.array([0.0, 1.0] * 4)),
        lr="interval(0.1,1)", search="random", search__trials=2, epochs=3,
        data__task="regression", model="regressor", tracking__runs=False, backend="serial",
    )  # fmt: skip
    assert len(found) == 2


def test_null_and_lists_of_python_are_searched_over(tmp_path, monkeypatch, put_store):
    put_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    table = bpexp.sweep(
        search="random",
        search__trials=8,
        stop__tolerance=[None, 0.4],
        hidden=[2, [3, 2]],
        epochs=2,
    )
    found = {(str(row["stop.tolerance"]), str(row["hidden"])) for _, row in table.iterrows()}
    assert len(found) == len(table) > 2
    with pytest.raises(ConfigError, match="lr must have at least one value"):
        bpexp.sweep(search="random", lr=[], epochs=2)


def test_the_plan_of_a_search_is_read_again(uninterrupted):
    _, parent, client = stored(uninterrupted[0])
    path = client.download_artifacts(parent.info.run_id, plan_file.NAME)
    plan = plan_file.from_bytes(Path(path).read_bytes())
    assert plan.search.n_replicates == 3
    assert plan.runtime.search == SearchConfig(name="tpe", trials=6, generation=2)
    assert plan_file.from_bytes(plan_file.to_bytes(plan)).search == plan.search


@pytest.mark.slow
def test_the_report_of_a_search_has_its_history_slices_and_contours(
    put_store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    found = bpexp.sweep(
        lr="tag(log,interval(0.01,9))", hidden="int(interval(2,9))", optimizer=["momentum", "adam"],
        seed=range(3), search="random", search__trials=14, epochs=5, backend="serial",
    )  # fmt: skip
    keys = ["lr", "hidden", "optimizer.name"]
    medians = found.groupby(keys, sort=False)["final_loss"].median()
    report = bpexp.report("latest")
    assert {"history", "slices", "contours"} <= report.figures.keys()
    assert "heat_maps" not in report.figures
    assert report.effect_sentences == [
        "How each setting matters cannot be said of fewer than 20 trials with a value, got 14."
    ]
    history = report.figures["history"].axes[0]
    assert all(float(tick).is_integer() for tick in history.get_xticks())
    points = history.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([range(14), medians]))
    np.testing.assert_allclose(history.lines[0].get_ydata(), medians.cummin())
    assert [axes.get_xlabel() for axes in report.figures["slices"].axes[:3]] == [
        "lr", "hidden", "optimizer.name",
    ]  # fmt: skip
    (contour, _) = report.figures["contours"].axes
    assert (contour.get_xlabel(), contour.get_ylabel()) == ("hidden", "lr")
    # A search of choices is a part of a grid, whose heat map says more.
    bpexp.sweep(lr=[0.1, 1], hidden=[2, 3], search="random", search__trials=6, epochs=5)
    figures = bpexp.report("latest").figures
    assert {"history", "slices", "heat_maps"} <= figures.keys()
    assert "contours" not in figures


@pytest.mark.long
@pytest.mark.parametrize("at", ["planned", "tracked"])
def test_a_killed_search_is_resumed_with_the_same_trials(at, uninterrupted, tmp_path):
    Halted(tmp_path, *SEARCH, at=at).kill()
    assert run_to_end(tmp_path, "resume", "latest") == (0, "")
    assert stored(tmp_path)[0] == stored(uninterrupted[0])[0]
    assert results(tmp_path) == results(uninterrupted[0])


@pytest.mark.long
def test_a_search_on_dask_finds_the_same_trials(uninterrupted, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        where = ["backend=dask", f"backend.address={cluster.address}"]
        assert run_to_end(tmp_path, *SEARCH, *where) == (0, "")
    assert stored(tmp_path)[0] == stored(uninterrupted[0])[0]
    assert results(tmp_path) == results(uninterrupted[0])


def test_the_trials_are_a_table(uninterrupted):
    _, parent, client = stored(uninterrupted[0])
    table = read_csv(client.download_artifacts(parent.info.run_id, "trials.csv"))
    assert list(table.columns) == ["trial", "lr", "hidden", "final_loss", "best so far", "repeated"]
    np.testing.assert_allclose(table["best so far"], table["final_loss"].cummin())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search=tpe", "lr=1"], "search is a sweep: add -m"),
        (["-m", "search=tpe", "lr=1"], "needs a setting to search"),
        (["-m", "search=bayes", "lr=interval(0,1)"], "search must be one of random"),
        (
            ["-m", "search=tpe", "lr=interval(0,1)"],
            "above 0, got 0, a value of",
        ),
        (["-m", "search=tpe", "hidden=int(interval(-1,9))"], "hidden must be a width"),
        (
            [
                "-m",
                "search=tpe",
                "lr=1,2",
                "optimizer.momentum=interval(0,2)",
                "optimizer=momentum",
            ],
            "optimizer.momentum must be",
        ),
        (["-m", "search.trials=0", "search=tpe", "lr=interval(0,1)"], "search.trials must be"),
        (["-m", "lr=interval(0.1,1)"], "add search=tpe"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(refused, arguments, message):
    assert message in refused(*arguments)
