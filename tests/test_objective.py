"""The objective ranks the combinations of a sweep by their replicates, alike everywhere."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_back import client_of
from scipy.stats import trim_mean

from bpexp.analysis.confirmation import Confirmed, summary
from bpexp.app import final_steps
from bpexp.config.compose import compose, compose_settings
from bpexp.fields.checks import ConfigError
from bpexp.reporter import SilentReporter
from bpexp.runs import identity
from bpexp.runs.metrics import METRICS
from bpexp.runs.objective import objectives
from bpexp.sweeps import confirmation, plan_file
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.ranking import final_objective, rank, why_best
from bpexp.sweeps.row import Row
from bpexp.sweeps.runner import FinishedSweep

IRIS = ("data=iris", "model=classifier", "epochs=60")
# MLflow warns about its own type hints when its model classes are imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")


def plan_of(*overrides, **keys):
    """The plan of a grid of Python values, with overrides that all jobs share."""
    jobs = itertools.product(*keys.values())
    texts = [[f"{k}={v}" for k, v in zip(keys, job, strict=True)] for job in jobs]
    return make_plan([compose([*overrides, *text]) for text in texts])


def rows_of(plan, values, metric="final_loss", outcomes=None):
    """A row for each job with this value of a metric; NaN stands for a run without a result."""
    outcomes = outcomes or ["completed"] * len(values)
    return [
        Row(job, "failed")
        if np.isnan(value)
        else Row(
            job, outcome, metrics={"final_loss": 0.5, metric: value}, run_id=f"{job.index:08x}"
        )
        for job, value, outcome in zip(plan.jobs, values, outcomes, strict=True)
    ]


def finished(plan, losses):
    """A sweep whose jobs have these final losses, and its ranked combinations."""
    rows = rows_of(plan, losses)
    ranking = rank(rows, plan.objective)
    sweep = FinishedSweep(plan, rows, [ranking], interrupted=False, parent="0", predictions=None)
    return sweep, ranking.combinations


class Sentences(SilentReporter):
    """Keeps what it is told."""

    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


def stored_runs_and_sweeps(folder):
    """All runs that a command has stored in a folder, and those of them that are sweeps."""
    api = client_of(folder)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    return runs, [run for run in runs if run.data.tags.get("bpexp.kind") == "sweep"]


def test_a_combination_wins_by_its_median_and_not_by_one_lucky_seed():
    plan = plan_of(lr=[0.1, 1], seed=[1, 2, 3])
    ranking = rank(rows_of(plan, [0.01, 5, 6, 1.2, 1, 1.1]), plan.objective)
    assert [found.job.combination for found in ranking.combinations] == [{"lr": "1"}, {"lr": "0.1"}]
    assert [found.center for found in ranking.combinations] == [1.1, 5]
    assert [found.rank for found in ranking.combinations] == [1, 2]
    assert ranking.best.job.name == "lr=1 seed=2"
    assert ranking.runs[0].job.name == "lr=0.1 seed=1"


def test_diverged_runs_count_as_the_worst_and_failed_runs_do_not_count():
    plan = plan_of(lr=[0.1, 1], seed=[1, 2, 3])
    values = [3, 3, np.nan, 1, 1, 1]
    outcomes = ["completed"] * 4 + ["diverged"] * 2
    ranking = rank(rows_of(plan, values, outcomes=outcomes), plan.objective)
    assert [found.job.combination["lr"] for found in ranking.combinations] == ["0.1", "1"]
    assert [len(found.rows) for found in ranking.combinations] == [2, 3]
    assert ranking.combinations[1].center == np.inf
    # Of accuracy, a diverged run has 0.
    accuracy = objectives()["accuracy"]
    rows = rows_of(plan, [0.2, 0.3, 0.4, 0.9, 0.9, 0.9], "accuracy", outcomes)
    ranking = rank(rows, accuracy)
    assert [found.center for found in ranking.combinations] == [0.3, 0]


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12),
    st.sampled_from(["accuracy", "final_loss"]),
)
def test_combinations_are_ordered_by_median_then_interquartile_mean_then_mean(values, name):
    objective, values = objectives()[name], np.array(values)
    sign = -1.0 if name == "accuracy" else 1.0
    outcomes = np.full(len(values), "completed", object)
    key = objective.ranking_key(objective.scores(values, outcomes), 10.0)
    expected = sign * np.array([np.median(values), trim_mean(values, 0.25), values.mean()])
    np.testing.assert_allclose(key[:3], expected, rtol=1e-9, atol=1e-9)
    shuffled = objective.scores(values[::-1], outcomes)
    assert objective.ranking_key(shuffled, 10.0) == key


def test_epochs_to_converge_count_the_maximum_for_runs_that_did_not_converge():
    plan = plan_of("stop.loss=0.1", "epochs=100", lr=[0.1, 1], seed=[1, 2])
    assert plan.objective.name == "epochs_to_converge"
    outcomes = ["converged", "completed", "converged", "converged"]
    ranking = rank(rows_of(plan, [10, 100, 50, 52], "epochs_run", outcomes), plan.objective)
    assert [found.center for found in ranking.combinations] == [51, 55]
    assert ranking.best.job.name == "lr=1 seed=1"
    outcomes = ["completed", "stalled", "diverged", "completed"]
    rows = rows_of(plan, [100, 80, 50, 100], "epochs_run", outcomes)
    assert final_objective(plan, rows).name == "final_loss"
    # No run of it was chosen by the final loss.
    race = plan_of("stop.loss=0.1", "epochs=100", "seeds=auto", lr=[0.1, 1])
    assert final_objective(race, rows) == race.objective == objectives()["epochs_to_converge"]


def test_combinations_without_a_converged_run_are_tied_and_ordered_by_final_loss():
    plan = plan_of("stop.loss=0.1", "epochs=100", lr=[0.1, 1], seed=[1, 2])
    losses = [0.3, 0.4, 0.1, 0.2]
    rows = [replace(row, metrics={"epochs_run": 100, "final_loss": loss})
            for row, loss in zip(rows_of(plan, losses), losses, strict=True)]  # fmt: skip
    ranking = rank(rows, plan.objective)
    assert [(found.rank, found.center) for found in ranking.combinations] == [(1, 100)] * 2
    assert ranking.best.job.name == "lr=1 seed=1"
    assert why_best(ranking).startswith("it did not converge")


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "final_loss"),
        (("stop.tolerance=0.4",), "epochs_to_converge"),
        (("stop.tolerance=0.4", *IRIS, "data.validation_fraction=0.2"), "lowest_validation_loss"),
        (("stop.patience=5",), "final_loss"),
        (("objective=accuracy", *IRIS), "accuracy"),
        (("objective.allow_test=true", "objective=test_loss", *IRIS), "test_loss"),
        (("objective=test_loss", "objective.allow_test=true", *IRIS), "test_loss"),
    ],
)
def test_the_objective_is_the_named_one_or_the_default(overrides, name):
    plan = plan_of(*overrides, lr=[0.1, 1])
    assert plan.objective.name == name
    plain = plan_of(*[text for text in overrides if "objective" not in text], lr=[0.1, 1])
    # It changes no run.
    assert [*map(identity.of_run, plan.configs)] == [*map(identity.of_run, plain.configs)]
    # It is stored with the plan.
    assert plan_file.from_bytes(plan_file.to_bytes(plan)).objective == plan.objective


def test_validation_rows_or_criteria_of_some_runs_only_do_not_decide():
    assert plan_of("stop.tolerance=0.4", **{"stop.tolerance": ["null", "0.4"]}).objective.name == (
        "final_loss"
    )
    keys = {"data.validation_fraction": [0, 0.2]}
    assert plan_of(*IRIS, **keys).objective.name == "final_loss"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "acuracy"}, "^objective must be one of epochs_to_converge, final_loss, "),
        (
            {"objective": "test_loss"},
            "^objective=test_loss would choose by the test rows",
        ),
        (
            {"objective": "lowest_validation_loss"},
            "must be a metric of all runs, but those of data=xor have only final_loss, .*; add "
            "data.validation_fraction=0.2.$",
        ),
        (
            {"objective__name": "test_loss", "objective__allow_test": True},
            "add data.test_fraction=0.25",
        ),
        ({"objective": "epochs_to_converge"}, "must go with stop.loss or stop.tolerance"),
        ({"objective": {"nam": "accuracy"}}, "^objective.nam is not a key"),
        ({"objective": 3}, "^objective.name must be "),
    ],
)
def test_an_objective_that_cannot_be_used_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_plan([compose_settings(settings)])


def test_a_regression_has_no_accuracy(tmp_path):
    (tmp_path / "line.csv").write_text("x,y\n0,0.5\n1,1.5\n2,2.5\n")
    data = {"name": "file", "path": str(tmp_path / "line.csv"), "target": "y"}
    with pytest.raises(ConfigError, match="those of data=file have only final_loss, rmse"):
        make_plan([compose_settings({"data": data, "model": "regressor", "objective": "accuracy"})])


def test_all_runs_of_a_sweep_have_the_same_objective():
    with pytest.raises(ConfigError, match=r"objective.*must be the same for all runs"):
        plan_of(objective=["accuracy", "final_loss"])


def test_every_metric_is_an_objective_with_its_direction():
    known = objectives()
    for name, metric in METRICS.items():
        if name != "epochs_run":
            assert (known[name].direction, known[name].split) == (metric.direction, metric.split)


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_table_note_tags_and_export_of_a_sweep_use_the_objective(inside, tmp_path):
    done = inside(
        "-m", *IRIS, "lr=0.01,0.3", "seed=range(0,3)", "data.validation_fraction=0.2",
        "export=best", "n_jobs=1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    runs, (parent,) = stored_runs_and_sweeps(tmp_path)
    of_lr = {
        lr: sorted(
            (run.data.metrics["lowest_validation_loss"], run.info.run_id)
            for run in runs
            if run.data.params.get("lr") == lr
        )
        for lr in ("0.01", "0.3")
    }
    best_lr = min(of_lr, key=lambda lr: of_lr[lr][1])
    (value, best), (median, _), _ = of_lr[best_lr]
    assert "Best 2 of 2 combinations by median validation loss" in done.stdout
    first = next(line.split() for line in done.stdout.splitlines() if re.match(" +1 ", line))
    assert first[:4] == ["1", best_lr, "3", f"{median:.6g}"]
    assert first[-1] == best[:8]
    reason = (
        f"the run with the lowest validation loss, {value:.6g}, of the best combination, "
        f"lr={best_lr} "
        f"(median {median:.6g} over 3 runs)"
    )
    assert reason in parent.data.tags["mlflow.note.content"]
    assert f"{reason}.\n" in done.stdout
    assert f"runs:/{best}/model" in done.stdout
    assert parent.data.tags["bpexp.best_run"] == best
    assert parent.data.tags["bpexp.objective"] == "lowest_validation_loss"
    assert parent.data.metrics["best_lowest_validation_loss"] == value


@pytest.mark.usefixtures("a_store")
def test_single_runs_are_ranked_by_the_named_objective(inside):
    done = inside("-m", *IRIS, "lr=0.001,0.03", "objective=accuracy", "n_jobs=1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Best 2 of 2 by accuracy"))
    assert lines[at + 1].split()[:3] == ["rank", "lr", "accuracy"]
    accuracies = [float(line.split()[2]) for line in lines[at + 2 : at + 4]]
    assert accuracies == sorted(accuracies, reverse=True)
    refused = inside("-m", *IRIS, "lr=0.001,0.03", "objective=acuracy")
    assert refused.returncode == 1
    assert refused.stderr.endswith("got 'acuracy'; type objective=accuracy.\n")


def test_confirm_names_the_mean_of_the_epochs_that_ranks_and_their_median():
    epochs = np.array([30.0, 10.0, np.inf, np.inf])
    slow = Confirmed("lr=1", epochs, epochs, max_epochs=100)
    fast = Confirmed("lr=2", epochs, np.arange(10.0, 20.0), max_epochs=100)
    assert summary(objectives()["epochs_to_converge"], [slow, fast]) == (
        "Epochs to converge, mean, in the sweep and on fresh seeds: "
        "lr=2: 60 in the sweep, 14.5 over 10 fresh runs (median 14 (11 to 18)); "
        "lr=1: 60 in the sweep, 60 over 4 fresh runs (median 30). "
        "In parentheses: 95% confidence intervals that hold for both together."
    )


def test_no_interval_is_explained_where_no_median_is_reached():
    epochs = np.array([*[10.0] * 4, *[np.inf] * 8])
    said = summary(objectives()["epochs_to_converge"], [Confirmed("a", epochs, epochs, 100)])
    assert "median not reached" in said
    assert "confidence" not in said


def test_the_intervals_of_confirmed_combinations_hold_together():
    rng, objective, n_hits = np.random.default_rng(0), objectives()["accuracy"], 0
    for _ in range(300):
        fresh = -np.round(rng.normal(0.9, 0.05, (3, 20)), 4)
        said = summary(
            objective,
            [Confirmed(name, row, row, 10) for name, row in zip("abc", fresh, strict=True)],
        )
        ends = re.findall(r"\(([.\d]+) to ([.\d]+)\)", said)
        assert len(ends) == 3
        n_hits += all(float(low) <= 0.9 <= float(high) for low, high in ends)
        medians = [float(text) for text in re.findall(r"is ([.\d]+) \(", said)]
        assert medians == sorted(medians, reverse=True)
    # Two standard errors below 95%; with 95% for each interval it would be 86%.
    assert n_hits / 300 >= 0.925


def test_confirm_trains_the_best_combinations_on_seeds_that_chose_nothing(
    a_store, tmp_path, inside
):
    done = inside(
        "-m", *IRIS, "lr=0.001,0.01,0.1,0.3", "seed=3,1", "data.validation_fraction=0.2",
        "confirm=8", "n_jobs=1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    runs, sweeps = stored_runs_and_sweeps(tmp_path)
    (first,) = [run for run in sweeps if "bpexp.confirmed_by" in run.data.tags]
    fresh = first.data.tags["bpexp.confirmed_by"]
    values = {}
    for run in runs:
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent is not None:
            value = (int(run.data.params["seed"]), run.data.metrics["lowest_validation_loss"])
            values.setdefault((parent, run.data.params["lr"]), []).append(value)
    before = {lr: np.median([v for _, v in found])
              for (parent, lr), found in values.items() if parent != fresh}  # fmt: skip
    top = sorted(before, key=before.get)[:3]
    assert sorted(lr for parent, lr in values if parent == fresh) == sorted(top)
    report = inside("report", first.info.run_id).stdout
    for lr in top:
        seeds, after = zip(*sorted(values[fresh, lr]), strict=True)
        assert seeds == tuple(range(4, 12))
        ordered = sorted(after)
        said = (
            f"lr={lr}: {before[lr]:.4g} in the sweep, {np.median(after):.4g} "
            f"({ordered[0]:.4g} to {ordered[-1]:.4g}) over 8 fresh runs"
        )
        assert said in done.stdout
        assert said in report


def test_a_combination_with_more_splits_than_another_is_confirmed_by_its_own_runs():
    own = [{"lr": 0.1, "data__split_seed": 1}, {"lr": 0.1, "data__split_seed": 2}, {"lr": 1}]
    shared = {"data": "iris", "model": "classifier", "objective": "final_loss", "confirm": 2}
    plan = make_plan([compose_settings({**shared, **one}) for one in own])
    first, chosen = finished(plan, [0.2, 0.2, 0.3])
    fresh, _ = finished(confirmation.plan_of(first), [0.4, 0.4, 0.4, 0.4, 0.5, 0.5])
    reporter = Sentences()
    final_steps.report_confirmation(chosen, plan.objective, fresh, reporter)
    (said,) = reporter.said
    assert re.search(r"lr=0.1: 0.2 in the sweep, 0.4 .*over 4 fresh runs; lr=1: ", said)
    assert re.search(r"lr=1: 0.3 in the sweep, 0.5 .*over 2 fresh runs", said)


@pytest.mark.usefixtures("a_store")
def test_a_sweep_that_is_resumed_elsewhere_is_confirmed_in_its_store(tmp_path, inside, monkeypatch):
    sweep = ["-m", "lr=0.1,1", "seed=0,1", "epochs=3", "backend=serial", "confirm=2"]
    assert "Training the best" not in inside(*sweep, "budget.runs=3").stdout
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    done = inside("resume", "latest", "--uri", uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Training the best 2 combinations again on 2 fresh seeds.\n" in done.stdout
    assert not (tmp_path / "elsewhere" / "outputs" / "mlflow.db").exists()
    _, sweeps = stored_runs_and_sweeps(tmp_path)
    assert sum("bpexp.confirmed_by" in found.data.tags for found in sweeps) == 1
    assert len(sweeps) == 2


def test_a_single_run_cannot_be_confirmed(refused, tmp_path):
    said = refused("confirm=5", "epochs=2")
    assert said.startswith("bpexp: confirm needs a sweep: add -m and use the launcher bpexp")
    assert list(tmp_path.iterdir()) == []
