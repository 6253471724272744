"""Runs on different data, and losses of different kinds, are not ranked together."""

import itertools
import re
import shlex

import numpy as np
import pytest
from read_back import client_of

import bpexp as package
from bpexp.config.compose import compose
from bpexp.config.schema import flatten, plain
from bpexp.data.registry import DATA_SOURCES, DataConfig
from bpexp.fields import settings_of
from bpexp.fields.checks import ConfigError
from bpexp.runs import comparability
from bpexp.runs.objective import objectives
from bpexp.sweeps import comparable
from bpexp.sweeps.job import format_setting
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.ranking import rank_parts
from bpexp.sweeps.row import Row

IRIS = ("data=iris", "model=classifier", "data.validation_fraction=0.2", "data.test_fraction=0.2")
LOSSES = ("model.loss=half_squared", "model.loss=cross_entropy")
TWO_TARGETS = ("data=file", "data.path=t.csv", "data.target=[y,z]", "model=regressor")
LOSS_METRICS = ("final_loss", "test_loss", "lowest_validation_loss", "last_epoch_loss")


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},{i % 3},{i * i},{0.5 * i}" for i in range(12)]
    for name in ("t.csv", "other.csv"):
        (tmp_path / name).write_text("\n".join(["a,b,y,z", *rows]))


def jobs_of(shared, *axes):
    """The jobs of a grid of overrides."""
    grid = itertools.product(*axes)
    return make_plan([compose([*shared, "epochs=3", *point]) for point in grid]).jobs


def parts_of(jobs, name):
    return list(comparability.parts(comparable.decisive_settings(jobs, objectives()[name])))


@pytest.mark.parametrize("name", LOSS_METRICS)
def test_losses_of_different_kinds_are_ranked_apart(name):
    jobs = jobs_of(IRIS, LOSSES, ("lr=0.1", "lr=1"), ("seed=1", "seed=2"))
    assert parts_of(jobs, name) == list(LOSSES)


@pytest.mark.parametrize("name", ["accuracy", "validation_macro_f1", "test_squared_error"])
def test_what_does_not_depend_on_the_loss_ranks_all_losses(name):
    assert parts_of(jobs_of(IRIS, LOSSES), name) == [""]


@pytest.mark.parametrize(
    ("shared", "axis", "name", "n_parts"),
    [
        ((), ("data=xor", "data=parity"), "accuracy", 2),
        ((), ("data=xor", "data=parity"), "epochs_to_converge", 2),
        (("data=parity",), ("data.bits=2", "data.bits=3", "data.bits=4"), "final_loss", 3),
        (("data=spirals",), ("data.turns=2", "data.turns=3"), "accuracy", 2),
        (TWO_TARGETS, ("data.path=t.csv", "data.path=other.csv"), "rmse", 2),
        (TWO_TARGETS, ("data.target=[y,z]", "data.target=y"), "rmse", 2),
        # Another preparation or split of the same rows.
        (TWO_TARGETS, ("data.inputs=[a,b]", "data.inputs=a"), "final_loss", 1),
        (TWO_TARGETS, ("data.standardize=true", "data.standardize=false"), "final_loss", 1),
        (IRIS, ("data.split_seed=0", "data.split_seed=1"), "final_loss", 1),
        (IRIS, ("data.test_fraction=0.1", "data.test_fraction=0.3"), "final_loss", 1),
        (("data=xor",), ("data.input_low=0", "data.input_low=-1"), "final_loss", 1),
        # The unit of the targets.
        (("model=regressor",), ("data.low=0", "data.low=-1"), "final_loss", 2),
        (("model=regressor",), ("data.low=0", "data.low=-1"), "accuracy", 1),
        (TWO_TARGETS, ("data.scale_target=true", "data.scale_target=false"), "final_loss", 2),
        ((*TWO_TARGETS, "data.target=y"),
         ("data.scale_target=true", "data.scale_target=false"), "final_loss", 1),
        # Cross-entropy is another formula for each output; half the squared error is not.
        ((*IRIS, LOSSES[1]), ("model.output=softmax", "model.output=sigmoid"), "final_loss", 2),
        ((*IRIS, LOSSES[0]), ("model.output=softmax", "model.output=sigmoid"), "final_loss", 1),
        # A run converges at a loss, or where all its outputs are near their targets.
        ((*IRIS, "stop.loss=0.1"), LOSSES, "epochs_to_converge", 2),
        ((*IRIS, "stop.tolerance=0.4"), LOSSES, "epochs_to_converge", 1),
    ],
)  # fmt: skip
def test_what_makes_other_data_and_other_units(shared, axis, name, n_parts):
    found = parts_of(jobs_of(shared, axis), name)
    assert len(found) == n_parts
    assert all(re.search(r"\w=\S", part) for part in found) == (n_parts > 1)


def test_every_setting_of_a_data_set_that_declares_what_it_changes_exists():
    for source in DATA_SOURCES.values():
        config, names = source.config, {one.name for one in settings_of(source.config)}
        declared = [*config.prepares, *config.selects, *config.rescales]
        assert set(declared) <= names
        assert len(declared) == len(set(declared))
        assert DataConfig.selects <= config.selects
        assert DataConfig.prepares <= config.prepares


@pytest.mark.parametrize("shared", [("data=xor",), IRIS[:2], TWO_TARGETS])
def test_what_makes_other_data_is_part_of_what_a_comparison_needs(shared):
    (job,) = jobs_of(shared, ("seed=1",))
    settings = {key: format_setting(value) for key, value in flatten(plain(job.config)).items()}
    decisive = comparability.decisive_settings(settings, objectives()["accuracy"])
    measured = comparability.measured_keys(settings)
    assert {"data.name", "data.test_fraction", "data.folds", *decisive} <= set(measured)
    assert not {"data.standardize", "data.fold", "data.split_seed"} & set(measured)


def test_each_part_has_its_own_best_combination():
    jobs = jobs_of(IRIS, LOSSES, ("lr=0.1", "lr=1"), ("seed=1", "seed=2"))
    losses = [0.1, 0.2, 0.3, 0.4, 9, 8, 2, 1]
    rows = [Row(job, "completed", metrics={"final_loss": loss})
            for job, loss in zip(jobs, losses, strict=True)]  # fmt: skip
    squared, entropy = rank_parts(rows, objectives()["final_loss"])
    assert (squared.part, entropy.part) == LOSSES
    assert squared.best.job.name == "lr=0.1 model.loss=half_squared seed=1"
    assert entropy.best.job.name == "lr=1 model.loss=cross_entropy seed=2"
    assert [found.rank for found in entropy.combinations] == [1, 2]


@pytest.mark.parametrize("wanted", ["export=best", "confirm=3"])
def test_one_best_run_is_refused_and_the_sentence_says_what_to_type(wanted):
    needs = wanted.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{needs}.* one ranking; add objective=validation_acc"):
        jobs_of((*IRIS, wanted), LOSSES)
    assert len(jobs_of((*IRIS, wanted, "objective=validation_accuracy"), LOSSES)) == 2
    with pytest.raises(ConfigError, match=rf"data.name=xor and .*{needs}.*sweep each of them"):
        jobs_of((wanted,), ("data=xor", "data=parity"))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"data": "choice(xor,parity)"}, "Runs on different data.*data.name=parity"),
        ({"data": "parity", "data__bits": "int(interval(2,5))"}, "data.bits=2 and data.bits=5"),
        ({"data": "iris", "model": "classifier", "model__loss": "choice(half_squared,"
          "cross_entropy)"}, "but a search needs one ranking; add objective=accuracy"),
    ],
)  # fmt: skip
def test_a_search_over_what_cannot_be_ranked_is_refused_before_it_trains(space, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        package.sweep(search="random", search__trials=1, lr="interval(0.1,1)", epochs=3, **space)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_a_sweep_over_losses_prints_a_ranking_of_each_and_the_report_says_what_to_type(
    inside, tmp_path
):
    done = inside("-m", *IRIS[:2], "model.loss=half_squared,cross_entropy", "seed=1,2", "epochs=5")
    assert (done.returncode, done.stderr) == (0, "")
    for loss in LOSSES:
        assert f"\n1 combination with {loss} by median final loss\n" in done.stdout
    assert "final loss is not the same quantity" in done.stdout
    assert "objective=accuracy ranks all of them" in done.stdout
    *_, suggested = re.findall(r"Report: bpexp (.*)", done.stdout)
    api = client_of(tmp_path)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    (sweep,) = (run for run in runs if run.data.tags.get("bpexp.kind") == "sweep")
    assert sweep.data.tags["bpexp.best_run"] == "several"
    assert "Best run with model.loss=half_squared" in sweep.data.tags["mlflow.note.content"]
    for command in ("export", "predict"):
        refused = inside(command, "latest", *["t.csv"] * (command == "predict"))
        assert refused.returncode == 2
        assert "different losses, and are not ranked together" in refused.stderr
    refused = inside("report", "latest")
    assert refused.returncode == 2
    assert refused.stderr.endswith(
        "add --measure accuracy, or --only model.loss=cross_entropy for a part of the runs.\n"
    )
    assert inside("report", "latest", "--measure", "accuracy").returncode == 0
    one = inside(*shlex.split(suggested))
    assert one.returncode == 0, one.stderr
    assert "What final loss do 2 runs on iris reach" in one.stdout
    assert "covers only a part of its runs" in one.stdout
    params = {"model.loss": "cross_entropy"}
    entropies = [
        run.data.metrics["final_loss"]
        for run in runs
        if run is not sweep and params.items() <= run.data.params.items()
    ]
    report = package.report("latest", only={"model.loss": "cross_entropy"})
    assert report.table["final_loss_median"].tolist() == pytest.approx([np.median(entropies)])
    with pytest.raises(ConfigError, match=r"--only model.loss= must be one of cross_entropy, half"):
        package.report("latest", only={"model.loss": "hinge"})
    with pytest.raises(ConfigError, match=r"must name a setting of these runs.*did you mean lr"):
        package.report("latest", only={"learning_rate": 0.1})
