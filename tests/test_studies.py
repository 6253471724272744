"""Published experiments, run again and judged row by row."""

import math
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

import bpexp
from bpexp.config.schema import (
    Encoder,
    Logic,
    Model,
    Optimizer,
    Quickprop,
    Schedule,
    Stop,
    TrainConfig,
)
from bpexp.fields.checks import ConfigError
from bpexp.render import plots
from bpexp.studies import definition, verdict
from bpexp.studies.maps import grid_maps
from bpexp.training import run_batch
from bpexp.training.llvm import compiled

CONF = Path(__file__).parents[1] / "conf" / "study"


def row(name, published, measure="epochs"):
    return definition.Row(name, (), {} if published is None else {measure: published})


def made(*rows, measure="epochs", **more):
    return definition.Study("s", "a source", (measure,), 4, (), rows, **more)


def test_a_verdict_is_welchs_test_with_holms_correction():
    ours = np.array([10.0, 12.0, 14.0, 16.0])  # mean 13, variance 20/3
    same, far = definition.Published(25, 13.5, 3.0), definition.Published(25, 30.0, 3.0)
    first, second = verdict.verdicts(made(row("a", same), row("b", far)), [[ours], [ours]])
    # t = -0.5 / sqrt(20/12 + 9/25) with 4.46 degrees of freedom (Welch and Satterthwaite).
    a, b = 20 / 12, 9 / 25
    t = -0.5 / math.sqrt(a + b)
    freedom = (a + b) ** 2 / (a * a / 3 + b * b / 24)
    from scipy import stats

    assert first.p == pytest.approx(2 * stats.t.cdf(t, freedom))
    assert (first.words, second.words) == ("holds", "does not hold")
    alone = 2 * stats.t.cdf(-17.0 / math.sqrt(a + b), freedom)
    assert second.p == pytest.approx(2 * alone)


def test_one_published_run_is_a_percentile_and_nothing_is_qualitative():
    ours = np.array([10.0, 12.0, 14.0, np.nan])
    one, none = verdict.verdicts(
        made(row("a", definition.Published(1, 13.0)), row("b", None)), [[ours], [ours]]
    )
    assert one.words == "one published run: at the 50th percentile of ours"  # nan: above
    assert none.words == "qualitative: no verified number"
    assert (one.known, one.trials, one.p) == (3, 4, None)
    assert one.mean.estimate == 12.0


def test_what_few_seeds_claim_is_a_band_around_the_mean():
    ours = np.array([0.0, 1.0] * 100)
    (judged,) = verdict.verdicts(made(row("a", None), reports=(1, 100)), [[ours]])
    assert (judged.claims[1].low, judged.claims[1].high) == (0.0, 1.0)
    assert 0.4 < judged.claims[100].low < 0.5 < judged.claims[100].high < 0.6


def test_a_few_seeds_claim_nothing_of_more_and_one_run_has_no_interval():
    study = made(row("a", None), reports=(1, 2, 3))
    (two,) = verdict.verdicts(study, [[np.array([4.0, 5.0])]])
    assert list(two.claims) == [1]
    judged = verdict.verdicts(study, [[np.array([4.0])]])
    assert judged[0].claims == {}
    assert verdict.table(study, judged)[1] == [
        "a", "-", "-", "-", "4", "4..4", "1/1", "-",
        "not judged: fewer than two runs have the measure",
    ]  # fmt: skip


def test_how_far_the_best_and_the_worst_seed_lie_apart_is_said_in_words():
    study = made(row("hidden 2", None, "final_loss"), measure="final_loss", reports=(1,))
    said = verdict.claims(study, verdict.verdicts(study, [[np.array([0.25, 0.5, 0.5, 2.0])]]))
    assert said == [
        "hidden 2: the best of 4 seeds has 0.25, the worst 2, 8 times as much.",
        "hidden 2: a report of 1 seed would have claimed between 0.25 and 2, nine times in ten; "
        "over all it is 0.8125.",
    ]


def test_what_was_published_is_no_judge_of_other_settings():
    published = definition.Published(25, 30.0, 3.0)
    group = {"name": "s", "source": "x", "measure": "epochs", "trials": 4, "rows": [
        {"name": "a", "published": {"n": 25, "mean": 30.0, "sd": 3.0}}, {"name": "b"}]}  # fmt: skip
    same = definition.asked(
        group, ["+study=s", "study.trials=4", "n_jobs=1", "tracking.points=0", "numerics=native"]
    )
    other = definition.asked(group, ["+study=s", "n_jobs=1", "lr=3", "optimizer=adam"])
    assert (same.changed, other.changed) == ((), ("lr=3", "optimizer=adam"))
    assert same.rows[0].published["epochs"] == published
    ours = [[np.array([10.0, 12.0, 14.0, 16.0])]] * 2
    assert verdict.verdicts(same, ours)[0].words == "does not hold"
    judged = verdict.verdicts(other, ours)
    assert [(v.words, v.p) for v in judged] == [
        ("not judged: settings were changed", None), ("qualitative: no verified number", None),
    ]  # fmt: skip
    assert "Changed on the command line: lr=3, optimizer=adam." in verdict.markdown(other, judged)
    assert definition.parse(definition.written(other)) == other
    assert definition.asked(group, ["study.common=[lr=3]"]).changed == ("study.common=[lr=3]",)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda f: f.stem)
def test_the_studies_that_come_along_are_whole(file):
    read = definition.parse({**yaml.safe_load(file.read_text())})
    assert read.name == file.stem
    runs = read.trials * read.cells * len(read.rows)
    assert len(definition.jobs(read, [f"+study={read.name}"])) == runs
    assert definition.parse(definition.written(read)) == read


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 0}, "study.trials must be a whole number"),
        ({"rows": []}, "study.rows must be a list of rows"),
        ({"rows": [{"name": "a", "publish": 1}]}, "did you mean study.rows\\[0\\].published"),
        ({"rows": [{"name": "a", "overrides": "lr=1"}]}, "must be a list of overrides"),
        ({"measure": "speed"}, "study.measure must be one of"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "different names, got 'a' twice"),
        ({"grid": [{"name": "x"}]}, "study.grid must be a list of two axes"),
        (
            {"measure": ["epochs", "updates"], "rows": [{"name": "a", "published": {"n": 1}}]},
            "study.rows\\[0\\].published.n is not a key",
        ),
    ],
)
def test_a_study_that_is_wrong_is_one_sentence(change, said):
    whole = {"name": "s", "source": "x", "measure": "epochs", "trials": 2, "rows": [{"name": "a"}]}
    with pytest.raises(ConfigError, match=said):
        definition.parse(whole | change)


@pytest.mark.usefixtures("a_store")
def test_a_study_ends_with_its_table(inside, tmp_path):
    done = inside("-m", "+study=fahlman_1988", "study.trials=20")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "11 rows of 20 trials" in done.stdout
    for line in ("bp-1  129 (sd 46, n 25)", "xor  24.22 (sd 16.3, n 100)"):
        assert " ".join(line.split()) in " ".join(done.stdout.split())
    api = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiment = api.get_experiment_by_name("bpexp").experiment_id
    (parent,) = api.search_runs([experiment])
    assert parent.info.run_name == "study fahlman_1988, 220 runs"
    assert "| bp-hyper | 58.7 (sd 13, n 25) |" in parent.data.tags["mlflow.note.content"]
    assert "study.md" in [f.path for f in api.list_artifacts(parent.info.run_id)]
    alone = inside("+study=fahlman_1988")
    assert alone.returncode == 1
    assert "+study must go with -m" in alone.stderr


@pytest.mark.long
@pytest.mark.usefixtures("a_store")
def test_fahlmans_table_holds_row_by_row_and_reads_as_the_readme_has_it(inside):
    done = inside("-m", "+study=fahlman_1988")
    assert done.returncode == 0, done.stderr
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()[2:13]]
    assert [line.rsplit(maxsplit=2)[0].split()[-1] for line in rows] == ["1000/1000"] * 11
    assert [line.split()[-1] for line in rows] == ["holds"] * 11
    readme = {" ".join(s.split()) for s in (CONF.parents[1] / "README.md").read_text().splitlines()}
    assert {line.split()[0] for line in readme & set(rows)} == {"bp-1", "tight-8", "xor"}


@pytest.mark.long
@pytest.mark.usefixtures("a_store")
def test_the_published_run_of_mirror_symmetry_is_placed_among_a_thousand(inside):
    done = inside("-m", "+study=rumelhart_1986_symmetry")
    assert done.returncode == 0, done.stderr
    assert "929/1000" in done.stdout
    assert "one published run: at the 33rd percentile of ours" in done.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["+study=fahlmann_1988"], "study must be one of fahlman_1988, "),
        (["+study=fahlman_1988", "study.trials=0"], "study.trials must be a whole number"),
        (["+study="], "study must be one of fahlman_1988, "),
        (["+study=fahlman_1988", "study.trial=3"], "did you mean study.trials?"),
        (["study=fahlman_1988"], "study must go with a study that is added with a plus: -m +st"),
        (["study.trials=3"], "study.trials must go with a study that is added with a plus"),
        (["+study=seed_lottery", "seed=3"], "seed must be left to +study: its trials have"),
        (["+study=seed_lottery", "export=best"], "export=best must go with tracking.runs=true"),
        (["+study=proben1"], "study.path must be given"),
        (["+study=proben1", "study.path=/nowhere"], "study row cancer1: data.path must be"),
        (["+study=seed_lottery", "lr=-1"], "study row hidden 2: lr must be"),
        (
            ["+study=seed_lottery", "study.rows=[{name: a, overrides: ['momentum=1']}]"],
            "study row a: momentum is not a key",
        ),
        (
            ["+study=seed_lottery", "study.rows=[{name: a, overrides: ['data=nix']}]"],
            "study row a: data must be one of",
        ),
    ],
)
def test_what_is_wrong_in_a_study_is_said_in_one_sentence_with_its_row(
    inside, tmp_path, typed, said
):
    done = inside("-m", *typed)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "outputs" / "mlflow.db").exists()


def test_a_list_in_a_list_of_overrides_stands_for_its_members():
    text = "[&ten [data=encoder, data.size=10], lr=1.0, [*ten, hidden=3]]"
    values = {"name": "s", "source": "x", "measure": "epochs", "trials": 1,
              "rows": [{"name": "a", "overrides": yaml.safe_load(text)}]}  # fmt: skip
    assert definition.parse(values).rows[0].overrides == (
        "data=encoder", "data.size=10", "lr=1.0", "data=encoder", "data.size=10", "hidden=3",
    )  # fmt: skip


def test_a_published_share_is_held_against_ours_by_wilsons_test():
    ours = np.array([1.0] * 30 + [0.0] * 70)
    near, far = definition.Published(50, 0.24), definition.Published(50, 0.9)
    study = made(row("a", near, "unconverged"), row("b", far, "unconverged"),
                 row("c", None, "unconverged"), measure="unconverged")  # fmt: skip
    first, second, third = verdict.verdicts(study, [[ours]] * 3)
    # z = (0.3 - 0.24) / sqrt(0.28 0.72 (1/100 + 1/50)), 0.28 the share of both together.
    z = 0.06 / math.sqrt(0.28 * 0.72 * 0.03)
    assert first.p == pytest.approx(math.erfc(z / math.sqrt(2.0)))
    assert (first.words, second.words) == ("holds", "does not hold")
    # Wilson 1927: (p + z2 / 2n -+ z sqrt(pq / n + z2 / 4n2)) / (1 + z2 / n) with z = 1.96.
    z = 1.959963984540054
    half = z * math.sqrt(0.21 / 100 + z * z / 40000)
    low = (0.3 + z * z / 200 - half) / (1 + z * z / 100)
    assert third.mean.low == pytest.approx(low)
    assert third.words == "qualitative: no verified number"


def test_a_grid_has_every_point_with_its_seeds_row_by_row():
    axes = (
        definition.Axis("rate", ("lr=@",), 0.1, 0.3, 3),
        definition.Axis("range", ("model.init_low=-@", "model.init_high=@"), 1.0, 2.0, 2),
    )
    study = made(row("a", None), row("b", None), grid=axes)
    runs = definition.jobs(study, ["+study=s", "hidden=3"])
    assert len(runs) == 2 * 6 * 4
    assert runs[5] == ["lr=0.1", "model.init_low=-2", "model.init_high=2", "hidden=3", "seed=1"]
    assert [study.row_of(run).name for run in (0, 23, 24, 47)] == ["a", "a", "b", "b"]


@pytest.mark.usefixtures("a_store")
def test_any_row_is_put_together_on_the_command_line(inside, tmp_path):
    settings = ["data=encoder", "data.size=6", "data.complement=true", "hidden=4", "lr=0.5",
                "optimizer=quickprop", "optimizer.mu=2", "optimizer.by_fan_in=true",
                "model.init_low=-2", "model.init_high=2", "model.error=arctanh",
                "model.derivative_offset=0.1", "model.dead_zone=0.05"]  # fmt: skip
    listed = ", ".join(f"'{setting}'" for setting in settings)
    rows = f"study.rows=[{{name: mine, overrides: [{listed}]}}]"
    done = inside("-m", "+study=fahlman_1988", rows, "study.trials=3")
    assert done.returncode == 0, done.stderr
    assert "1 row of 3 trials" in done.stdout
    assert "qualitative: no verified number" in done.stdout
    common = ["stop.tolerance=0.4", "epochs=5000", "model=sigmoid"]
    assert inside("-m", *common, *settings, "seed=0,1,2").returncode == 0
    api = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    (study,) = [r for r in runs if r.info.run_name.startswith("study")]
    table = pd.read_csv(api.download_artifacts(study.info.run_id, "results.csv", str(tmp_path)))
    alone = {r.data.params["seed"]: r.data.metrics["epochs_run"] for r in runs
             if "seed" in r.data.params}  # fmt: skip
    assert alone == dict(zip(table.seed.astype(str), table.epochs_run, strict=True))


@pytest.mark.usefixtures("a_store")
def test_a_grid_is_drawn_as_the_mean_of_each_point(inside, tmp_path):
    small = "study.grid=[{name: rate, overrides: ['lr=@'], low: 1, high: 5, count: 2}, " \
        "{name: range, overrides: ['model.init_high=@'], low: 1, high: 2, count: 3}]"  # fmt: skip
    done = inside("-m", "+study=initial_weights", small, "study.trials=2", "epochs=300")
    assert done.returncode == 0, done.stderr
    assert "2 rows of 2 trials at each of 6 points" in done.stdout
    api = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (parent,) = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    files = {f.path for f in api.list_artifacts(parent.info.run_id)}
    assert {"study.md", "study.csv", "study.png", "results.csv"} <= files
    assert "qualitative: no verified number" in parent.data.tags["mlflow.note.content"]
    table = pd.read_csv(api.download_artifacts(parent.info.run_id, "results.csv", str(tmp_path)))
    assert table.groupby(["study_row", "lr", "model.init_high"]).size().tolist() == [2] * 12


def test_the_map_shows_each_point_s_mean():
    axes = (definition.Axis("rate", ("lr=@",), 0.0, 1.0, 2),
            definition.Axis("range", ("model.init_high=@",), 0.0, 2.0, 3))  # fmt: skip
    study = replace(made(row("a", None, "unconverged"), measure="unconverged", grid=axes), trials=2)
    runs = np.array([[0, 0, 0, 1, 1, 1, np.nan, 1, 0, 0, np.nan, np.nan]])
    figure = plots.study_maps(grid_maps(study, runs))
    (mesh,) = figure.axes[0].collections
    drawn = mesh.get_array().reshape(2, 3)
    np.testing.assert_array_equal(drawn.filled(np.nan), [[0.0, 0.5, 1.0], [1.0, 0.0, np.nan]])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("range", "rate")


def small_proben1(folder, name, rng):
    """A file in Proben1's format with two classes that a line tells apart."""
    rows = [(a, b, float(a > b), float(a <= b)) for a, b in rng.random((60, 2)).round(3)]
    head = "bool_in=0\nreal_in=2\nbool_out=2\nreal_out=0\n" \
        "training_examples=30\nvalidation_examples=15\ntest_examples=15\n"  # fmt: skip
    lines = "".join(" ".join(f"{v:g}" for v in r) + "\n" for r in rows)
    (folder / f"{name}.dt").write_text(head + lines)


@pytest.mark.usefixtures("a_store")
def test_proben1_compares_two_errors_of_each_row_on_the_users_files(inside, tmp_path):
    folder, rng = tmp_path / "with a space", np.random.default_rng(0)
    folder.mkdir()
    for name in ("cancer1", "diabetes1", "glass1"):
        small_proben1(folder, name, rng)
    done = inside("-m", "+study=proben1", f"study.path='{folder}'", "study.trials=3")
    assert done.returncode == 0, done.stderr
    api = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    parent = next(run for run in runs if run.data.tags.get("bpexp.kind") == "sweep")
    get = lambda name: api.download_artifacts(parent.info.run_id, name, str(tmp_path))  # noqa: E731
    judged, results = pd.read_csv(get("study.csv")), pd.read_csv(get("results.csv"))
    assert judged["row"].tolist() == [
        f"{name} {measure}" for name in ("cancer1", "diabetes1", "glass1")
        for measure in ("test_squared_error", "test_error")
    ]  # fmt: skip
    glass = results[results["study_row"] == "glass1"]
    for place, mean in ((4, 100 * glass["test_loss"].mean()),
                        (5, 100 * (1 - glass["test_accuracy"].mean()))):  # fmt: skip
        assert judged["ours"][place].startswith(f"{mean:.4g} [")


FAHLMAN = TrainConfig(
    seed=0, lr=0.35, epochs=5000, hidden=(5,), numerics="exact",
    data=Encoder(name="encoder", size=10),
    model=Model(error="arctanh", derivative_offset=0.1, init_low=-2.0, init_high=2.0),
    optimizer=Quickprop(name="quickprop", weight_decay=1e-4),
    schedule=Schedule(name="constant"), stop=Stop(tolerance=0.4),
)  # fmt: skip


def test_quickprop_learns_the_encoder_as_an_independent_program_says():
    # 1,000 trials of an independent NumPy program: mean 14.07, sd 2.21.
    results = run_batch.train_pack([replace(FAHLMAN, seed=s) for s in range(300)], compiled.advance)
    updates = np.array([r.epochs_run - 1 for _, r in results])
    error = math.hypot(2.21 / math.sqrt(300), 2.21 / math.sqrt(1000))
    assert abs(updates.mean() - 14.07) < 4 * error


def test_a_restart_draws_the_network_anew_and_counts_on():
    hard = TrainConfig(
        seed=3, lr=0.1, epochs=25, hidden=(2,), numerics="exact", data=Logic(name="xor"),
        model=Model(), optimizer=Optimizer(name="gradient_descent"),
        schedule=Schedule(name="constant"), stop=Stop(restart=10),
    )  # fmt: skip
    ((_, whole),) = run_batch.train_pack([hard], compiled.advance)
    assert whole.epochs_run == 25
    from bpexp.training.sample_order import restart_seed

    for times, seed in enumerate([3, restart_seed(3, 1), restart_seed(3, 2)]):
        part = bpexp.train(seed=seed, epochs=10)
        piece = whole.losses[10 * times : 10 * times + 10]
        np.testing.assert_array_equal(piece, part.losses[: len(piece)])
