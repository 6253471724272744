"""Published experiments, run again and judged row by row."""

import math
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

import bpexp
from bpexp.checks import ConfigError
from bpexp.config import Encoder, Logic, Model, Optimizer, Quickprop, Schedule, Stop, TrainConfig
from bpexp.engines import compiled, pack
from bpexp.study import definition, verdict

CONF = Path(__file__).parents[1] / "conf" / "study"


def row(name, published):
    return definition.Row(name, (), published)


def made(*rows, **more):
    return definition.Study("s", "a source", "epochs", 4, (), rows, **more)


def test_a_verdict_is_welchs_test_with_holms_correction():
    ours = np.array([10.0, 12.0, 14.0, 16.0])  # mean 13, variance 20/3
    same, far = definition.Published(25, 13.5, 3.0), definition.Published(25, 30.0, 3.0)
    first, second = verdict.verdicts(made(row("a", same), row("b", far)), [ours, ours])
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
        made(row("a", definition.Published(1, 13.0)), row("b", None)), [ours, ours]
    )
    assert one.words == "one published run: at the 67th percentile of ours"
    assert none.words == "qualitative: no verified number"
    assert (one.converged, one.trials, one.p) == (3, 4, None)
    assert one.mean.estimate == 12.0


def test_what_few_seeds_claim_is_a_band_around_the_mean():
    ours = np.array([0.0, 1.0, 0.0, 1.0])
    (judged,) = verdict.verdicts(made(row("a", None), reports=(1, 100)), [ours])
    assert (judged.claims[1].low, judged.claims[1].high) == (0.0, 1.0)
    assert 0.4 < judged.claims[100].low < 0.5 < judged.claims[100].high < 0.6


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda f: f.stem)
def test_the_studies_that_come_along_are_whole(file):
    read = definition.parse(yaml.safe_load(file.read_text()))
    assert read.name == file.stem
    assert len(definition.jobs(read, [f"+study={read.name}"])) == read.trials * len(read.rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 0}, "study.trials must be a whole number"),
        ({"rows": []}, "study.rows must be a list of rows"),
        ({"rows": [{"name": "a", "publish": 1}]}, "did you mean study.rows\\[0\\].published"),
        ({"rows": [{"name": "a", "overrides": "lr=1"}]}, "must be a list of overrides"),
        ({"measure": "speed"}, "study.measure must be one of"),
    ],
)
def test_a_study_that_is_wrong_is_one_sentence(change, said):
    whole = {"name": "s", "source": "x", "measure": "epochs", "trials": 2, "rows": [{"name": "a"}]}
    with pytest.raises(ConfigError, match=said):
        definition.parse(whole | change)


def test_a_study_ends_with_its_table(bpexp, tmp_path):
    done = bpexp("-m", "+study=fahlman_1988", "study.trials=20")
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
    alone = bpexp("+study=fahlman_1988")
    assert alone.returncode == 1
    assert "+study must go with -m" in alone.stderr


FAHLMAN = TrainConfig(
    seed=0, lr=0.35, epochs=5000, hidden=(5,), numerics="exact",
    data=Encoder(name="encoder", size=10),
    model=Model(error="arctanh", derivative_offset=0.1, init_low=-2.0, init_high=2.0),
    optimizer=Quickprop(name="quickprop", weight_decay=1e-4),
    schedule=Schedule(name="constant"), stop=Stop(correct=0.4),
)  # fmt: skip


def test_quickprop_learns_the_encoder_as_an_independent_program_says():
    # 1,000 trials of an independent NumPy program: mean 14.07, sd 2.21.
    results = pack.train_pack([replace(FAHLMAN, seed=s) for s in range(300)], compiled.advance)
    updates = np.array([r.epochs_run - 1 for _, r in results])
    error = math.hypot(2.21 / math.sqrt(300), 2.21 / math.sqrt(1000))
    assert abs(updates.mean() - 14.07) < 4 * error


def test_a_restart_draws_the_network_anew_and_counts_on():
    hard = TrainConfig(
        seed=3, lr=0.1, epochs=25, hidden=(2,), numerics="exact", data=Logic(name="xor"),
        model=Model(), optimizer=Optimizer(name="gradient_descent"),
        schedule=Schedule(name="constant"), stop=Stop(restart=10),
    )  # fmt: skip
    ((_, whole),) = pack.train_pack([hard], compiled.advance)
    assert whole.epochs_run == 25
    from bpexp.engines.feed import restart_seed

    for times, seed in enumerate([3, restart_seed(3, 1), restart_seed(3, 2)]):
        part = bpexp.train(seed=seed, epochs=10)
        piece = whole.losses[10 * times : 10 * times + 10]
        np.testing.assert_array_equal(piece, part.losses[: len(piece)])
