"""Studies repeat published experiments and compare the results row by row."""

import base64
import csv
import itertools
import math
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from exact_csv import read_csv
from html_page import Page
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from read_back import client_of
from scipy import stats
from sklearn.metrics import mean_squared_error

import bpexp
from benchmarks.simulations.studies import STUDIES
from bpexp.config.compose import compose_settings
from bpexp.config.schema import ModelConfig, StopConfig, TrainConfig, parse
from bpexp.data import load
from bpexp.data.synthetic import BitsConfig, EncoderConfig
from bpexp.fields.checks import ConfigError
from bpexp.nn.optimizers import OptimizerConfig, QuickpropConfig
from bpexp.nn.schedules import ScheduleConfig
from bpexp.render import html, latex, markdown
from bpexp.render.document import Table, unstyled
from bpexp.render.study_maps import study_maps
from bpexp.studies import comparison, definition, page, verdict
from bpexp.studies.maps import grid_maps
from bpexp.studies.measures import MEASURES, StudyRun
from bpexp.training.llvm.engine import LlvmEngine
from bpexp.training.loop import train_batch
from bpexp.training.sample_order import restart_seed

CONF = Path(__file__).parents[1] / "conf" / "study"


def row(name, published, measure="epochs"):
    return definition.StudyRow(name, (), {} if published is None else {measure: published})


def study_of(*rows, measure="epochs", **more):
    return definition.Study("s", "a source", (measure,), 4, (), rows, **more)


def evaluation(study, values):
    return verdict.Evaluation(study, verdict.judge(study, values), np.array([]))


def cells_of(evaluation):
    """The table of the verdicts as text, a dictionary per row."""
    columns, *rows = [[unstyled(cell) for cell in row]
                      for row in (evaluation.table.columns, *evaluation.table.rows)]  # fmt: skip
    return [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.mark.parametrize("loss", ["half_squared", "cross_entropy"])
def test_the_squared_test_error_is_one_whatever_loss_was_trained_on(loss):
    iris = {"name": "iris", "test_fraction": 0.2, "standardize": True}
    run = bpexp.train(data=iris, model="classifier", model__loss=loss, hidden=4, epochs=50, lr=0.01)
    data = load(parse(compose_settings({"data": iris}))[0].data)
    expected = 100.0 * mean_squared_error(data.Y_test, run.test_predictions)
    as_run = StudyRun(run.outcome, run.epochs_run, run.metrics)
    assert MEASURES["test_squared_error"].value(as_run) == pytest.approx(expected, rel=1e-12)
    is_loss = 100.0 * run.metrics["test_loss"] == pytest.approx(expected, rel=1e-12)
    assert is_loss == (loss == "half_squared")


def test_a_mean_agrees_within_the_margin_differs_or_is_undecided():
    ours = np.random.default_rng(1).gamma(9.0, 10.0, 400)  # mean 90, sd 30
    near = definition.Published(400, 91.0, 30.0)
    few = definition.Published(5, 91.0, 30.0)
    far = definition.Published(400, 130.0, 43.0)
    rows = [row("near", near), row("few", few), row("far", far)]
    found = verdict.judge(study_of(*rows), [[ours]] * 3)
    assert [v.text for v in found] == ["agrees within 10%", "undecided", "differs"]
    # With many runs, the bootstrap-t interval is near Welch's, of 98%.
    error = math.sqrt(ours.var(ddof=1) / 400 + 900 / 400)
    center = ours.mean() - 91.0
    expected = [100 * (center + z * error) / 91.0 for z in (0.0, -2.326, 2.326)]
    assert found[0].difference.percent == pytest.approx(expected, abs=0.4)
    # A z test with the critical value 2.326 finds a difference of 3.168 errors in 80% of cases.
    assert stats.norm.sf(2.326 - 3.168) == pytest.approx(0.8, abs=0.001)
    assert found[0].difference.detectable == pytest.approx(100 * 3.168 * error / 91.0, rel=0.001)
    narrow = verdict.judge(study_of(*rows, margin=1.0), [[ours]] * 3)
    assert narrow[0].text == "undecided"


@pytest.mark.parametrize(("n_ours", "n_published"), [(99, 100), (100, 24), (100, 25)])
def test_few_runs_have_no_interval_and_differ_only_if_the_difference_is_large(n_ours, n_published):
    ours = np.random.default_rng(2).gamma(9.0, 10.0, n_ours)
    same, far = (definition.Published(n_published, f * ours.mean(), 30.0) for f in (1.01, 3.0))
    near, other = verdict.judge(study_of(row("a", same), row("b", far)), [[ours]] * 2)
    has_interval = (n_ours, n_published) == (100, 25)
    assert np.isfinite(near.difference.percent.low) == has_interval
    assert near.text == "undecided"
    assert other.text.startswith("differs")
    (cells,) = cells_of(evaluation(study_of(row("a", same)), [[ours]]))
    assert cells["difference"].startswith("-1.0")
    assert ("[" in cells["difference"]) == has_interval


@pytest.mark.slow
def test_large_differences_are_significant_however_many_rows_a_study_has():
    ours = np.random.default_rng(8).normal(300.0, 20.0, 100)
    published = definition.Published(100, 100.0, 60.0, median=100.0, min=40.0, max=160.0)
    rows = [row(f"r{i}", published) for i in range(12)]
    # Of 60 tests, the smallest p-value must be below 0.0008.
    found = verdict.judge(study_of(*rows), [[ours]] * len(rows))
    assert {one.text for one in found} == {"differs: mean, sd, max"}


@pytest.mark.slow
def test_a_paper_that_is_wrong_by_15_percent_does_not_agree():
    rng = np.random.default_rng(2)
    texts = []
    for _ in range(20):
        ours, theirs = rng.gamma(9.0, 10.0, 300), 1.15 * rng.gamma(9.0, 10.0, 25)
        published = definition.Published(25, float(theirs.mean()), float(theirs.std(ddof=1)))
        (found,) = verdict.judge(study_of(row("a", published)), [[ours]])
        texts.append(found.text)
    assert texts.count("agrees within 10%") <= 2


def test_the_share_converged_and_the_spread_are_part_of_the_verdict():
    rng = np.random.default_rng(3)
    ours = np.where(rng.random(400) < 0.25, rng.gamma(9.0, 10.0, 400), np.nan)
    mean = float(np.nanmean(ours))
    all_converged = definition.Published(25, mean, 30.0)
    some = definition.Published(25, mean, 30.0, converged=0.25)
    first, second = verdict.judge(study_of(row("a", all_converged), row("b", some)), [[ours]] * 2)
    assert first.text == "differs: share converged"
    assert not second.text.startswith("differs")
    # The share is compared with Fisher's exact test: 25 of 100 runs had to be trained for 25.
    n = int(np.isfinite(ours).sum())
    fisher = stats.fisher_exact([[n, 400 - n], [25, 75]]).pvalue
    assert comparison.p_of_share_converged(n, 400, some) == pytest.approx(fisher)
    values = rng.gamma(9.0, 10.0, 4000)
    spread = definition.Published(25, float(values.mean()), 2.0 * float(values.std()), max=900.0)
    (found,) = verdict.judge(study_of(row("a", spread)), [[values]])
    assert found.text == "differs: sd, max"


def test_runs_that_never_converge_differ_from_published_ones_that_did():
    published = definition.Published(60, 90.0, 30.0)
    for n_converged in (0, 1):
        ours = np.full(400, np.nan)
        ours[:n_converged] = 90.0
        (found,) = verdict.judge(study_of(row("a", published)), [[ours]])
        assert found.text == "differs: share converged"
    (few,) = verdict.judge(study_of(row("a", replace(published, converged=0.5))), [[ours[:2]]])
    assert few.text == "not compared: fewer than two values"


def of_outcomes(study, outcomes):
    """The evaluation of a study of one row whose run with each seed ended in this way."""
    runs = {
        seed: StudyRun(outcome, 60.0 + seed) if outcome in ("converged", "completed")
        else StudyRun(outcome)
        for seed, outcome in enumerate(outcomes)
    }  # fmt: skip
    return verdict.evaluate(replace(study, trials=len(outcomes)), runs)


@pytest.mark.parametrize("lost", ["failed", "interrupted"])
def test_failed_runs_are_no_evidence_about_convergence(lost):
    published = definition.Published(60, 90.0, 20.0)
    study = study_of(row("a", published))
    with_lost = of_outcomes(study, ["converged"] * 60 + [lost] * 40)
    alone = of_outcomes(study, ["converged"] * 60)
    # 60 of 100 would differ from 60 of 60.
    assert stats.fisher_exact([[60, 40], [60, 0]]).pvalue < 1e-6
    (found,), (expected,) = with_lost.verdicts, alone.verdicts
    assert (found.n_runs, found.n_unfinished, expected.n_unfinished) == (60, 40, 0)
    assert replace(found, n_unfinished=0) == expected
    assert not found.text.startswith("differs")
    # Those that ended without having converged are evidence.
    (stuck,) = of_outcomes(study, ["converged"] * 60 + ["completed"] * 40).verdicts
    assert stuck.text == "differs: share converged"


def test_a_study_says_how_many_runs_failed():
    study = study_of(row("a", definition.Published(60, 90.0, 20.0)))
    found = of_outcomes(study, ["converged"] * 12 + ["completed"] * 3 + ["failed"] * 2)
    (cells,) = cells_of(found)
    assert (cells["runs"], cells["without result"]) == ("12/15", "2")
    text = Page(html.render(page.document(found, []))).text
    for said in (found.sentences()[0], markdown.render(page.document(found, [])), text):
        assert "2 runs failed or were interrupted" in said
    none = of_outcomes(study, ["converged"] * 12)
    assert "without result" not in cells_of(none)[0]
    assert none.sentences() == []


def test_a_row_whose_runs_all_failed_has_no_verdict():
    for published in (definition.Published(60, 90.0, 20.0), definition.Published(1, 90.0)):
        (found,) = of_outcomes(study_of(row("a", published)), ["failed"] * 20).verdicts
        assert found.text == "not compared: no run has a result"
        assert (found.p_values, found.difference) == ({}, None)


def test_diverged_runs_have_no_value_and_the_study_says_so_and_compares_their_share():
    published = definition.Published(60, 0.1, 0.02)
    study = replace(study_of(row("a", published, "final_loss"), measure="final_loss"), trials=160)
    losses = np.random.default_rng(4).normal(0.1, 0.02, 160)
    for n_diverged, differs in ((40, True), (2, False), (0, False)):
        runs = {
            seed: StudyRun(
                "diverged" if seed < n_diverged else "completed", 50.0, {"final_loss": x}
            )
            for seed, x in enumerate(losses)
        }
        found = verdict.evaluate(study, runs)
        (one,) = found.verdicts
        p = stats.fisher_exact([[160 - n_diverged, n_diverged], [60, 0]]).pvalue
        assert (p < 0.05 / 3) == differs
        assert (one.text == "differs: share with a value") == differs
        assert one.mean.estimate == pytest.approx(losses[n_diverged:].mean())
        (cells,) = cells_of(found)
        assert cells["runs"] == f"{160 - n_diverged}/160"
        said = f"a: {n_diverged} of 160 runs diverged or have no value"
        assert any(sentence.startswith(said) for sentence in found.sentences()) == (n_diverged > 0)


def test_the_difference_has_no_interval_if_the_spread_differs():
    """The bootstrap draws the published values as ours, which have another spread or shape."""
    rng = np.random.default_rng(5)
    ours = rng.gamma(4.0, 25.0, 200)
    theirs = {"same": rng.gamma(4.0, 25.0, 100), "other": rng.exponential(100.0, 100)}
    # Levene's test tells the same.
    assert stats.levene(ours, theirs["same"]).pvalue > 0.2
    assert stats.levene(ours, theirs["other"]).pvalue < 1e-4
    rows = [
        row(name, definition.Published(100, float(x.mean()), float(x.std(ddof=1))))
        for name, x in theirs.items()
    ]
    same, other = verdict.judge(study_of(*rows), [[ours]] * 2)
    assert same.text == "undecided"
    assert np.isfinite(same.difference.percent).all()
    assert other.text.startswith("differs: ")
    assert "sd" in other.text
    estimate, *ends = other.difference.percent
    assert estimate == pytest.approx(100.0 * (ours.mean() / theirs["other"].mean() - 1.0))
    assert np.isnan(ends).all()
    _, cells = cells_of(evaluation(study_of(*rows), [[ours]] * 2))
    assert "[" not in cells["difference"]


def test_failed_runs_do_not_move_the_percentile_of_a_single_published_run():
    study = study_of(row("a", definition.Published(1, 69.5)))
    # 60 to 69 converge before, 70 to 79 after it.
    texts = [of_outcomes(study, ["converged"] * 20 + ["failed"] * n).verdicts[0].text
             for n in (0, 80)]  # fmt: skip
    assert texts == ["one published run: at the 50th percentile of ours"] * 2


@pytest.mark.parametrize(
    ("successes", "n", "m"), [(0, 400, 50), (30, 100, 60), (390, 400, 100), (3, 3, 3)]
)
def test_the_detectable_difference_of_shares_has_the_power_that_is_stated(successes, n, m):
    found = comparison.detectable_share(successes, n, m)
    if m == 3:
        assert np.isnan(found)
        return
    # Nearer to one half.
    theirs = successes / n + (found if 2 * successes < n else -found)
    drawn = np.random.default_rng(0).binomial(m, theirs, 2000)
    p_of = {
        b: stats.fisher_exact([[successes, n - successes], [b, m - b]]).pvalue for b in {*drawn}
    }
    assert np.mean([p_of[b] < 0.05 for b in drawn]) == pytest.approx(0.8, abs=0.03)


def test_what_is_not_tested_has_no_detectable_difference():
    ours = np.random.default_rng(2).gamma(9.0, 10.0, 5)
    published = definition.Published(50, 90.0, 30.0)
    (cells,) = cells_of(evaluation(study_of(row("a", published)), [[ours]]))
    assert cells["detectable"] == "-"


def of_range(values):
    return definition.Published(
        len(values), float(values.mean()), min=float(values.min()), max=float(values.max())
    )


def test_a_row_without_a_published_sd_is_compared_by_its_range():
    rng = np.random.default_rng(4)
    ours = rng.gamma(9.0, 10.0, 500)
    samples = [of_range(rng.gamma(9.0, 10.0, 100)) for _ in range(20)]
    found = [comparison.published_sd(ours, one, np.random.default_rng(0)) for one in samples]
    assert np.mean(found) == pytest.approx(30.0, rel=0.1)
    same, higher = of_range(ours[:100]), of_range(1.3 * ours[:100])
    first, second = verdict.judge(study_of(row("a", same), row("b", higher)), [[ours]] * 2)
    assert not first.text.startswith("differs")
    assert second.text.startswith("differs")


@pytest.mark.parametrize("name", ["geometric", "lognormal"])
def test_the_interval_of_the_difference_covers_for_skewed_values(monkeypatch, name):
    monkeypatch.setattr(comparison, "RESAMPLES", 300)
    monkeypatch.setattr(comparison, "MORE_RESAMPLES", 300)
    rng = np.random.default_rng(5)
    draw = {
        "geometric": lambda n: 10.0 + rng.geometric(0.1, n),
        "lognormal": lambda n: rng.lognormal(0.0, 1.0, n),
    }[name]
    covered, significant = [], []
    for seed in range(150):
        ours, theirs = draw(100), draw(25)
        published = definition.Published(25, float(theirs.mean()), float(theirs.std(ddof=1)))
        found = comparison.difference_of_means(ours, published, seed)
        if np.isfinite(found.percent.low):
            covered.append(found.percent.low <= 0.0 <= found.percent.high)
            significant.append(found.p < 0.05)
    assert len(covered) > 75
    # Two standard errors below 95% are 91.4%. The interval and the p value agree, but for a few
    # values at the border.
    assert np.mean(covered) >= 0.914
    assert np.mean(np.array(covered) == significant) <= 0.02


def test_very_skewed_values_have_no_interval_and_the_verdict_says_why():
    at = (np.arange(200) + 0.5) / 200
    for ours, known, has_interval in (
        (stats.expon.ppf(at), 1 / 3, True),
        (1.0 + stats.genpareto.ppf(at, 0.5), 0.6, False),
    ):
        # The L-skewness of a generalized Pareto distribution is (1 + xi) / (3 - xi) (Hosking 1990).
        assert stats.lmoment(ours, 3) == pytest.approx(known, abs=0.03)
        published = definition.Published(100, 1.05 * ours.mean(), ours.std())
        (found,) = verdict.judge(study_of(row("a", published)), [[ours]])
        assert np.isfinite(found.difference.percent.low) == has_interval
        expected = "undecided" if has_interval else "undecided: too skewed to compare means"
        assert found.text == expected
    # Not even a difference of five times is called one.
    five_times = definition.Published(100, 5.0 * ours.mean())
    (far,) = verdict.judge(study_of(row("a", five_times)), [[ours]])
    assert far.text == expected


def test_the_means_of_very_few_runs_are_not_tested_and_without_a_spread_none_of_few():
    ours = np.random.default_rng(2).gamma(9.0, 10.0, 200)
    mean, tested = 3.0 * float(ours.mean()), {}
    for n, m in ((9, 100), (100, 9), (10, 100), (100, 10), (99, 100), (100, 100)):
        alone = definition.Published(m, mean)
        for name, published in {
            "mean": alone, "sd": replace(alone, sd=90.0), "max": replace(alone, max=400.0),
            "range": replace(alone, min=100.0, max=400.0),
        }.items():  # fmt: skip
            (found,) = verdict.judge(study_of(row("a", published)), [[ours[:n]]])
            tested[n, m, name] = bool(np.isfinite(found.difference.p))
            assert tested[n, m, name] == (found.p_values.get("mean", 1.0) < 0.05)
    without = {(100, 10), (100, 100)}
    assert {key for key, is_tested in tested.items() if is_tested} == {
        (n, m, name)
        for n, m, name in tested
        if min(n, m) >= 10 and (name in ("sd", "range") or (n, m) in without)
    }


def test_the_larger_relative_spread_counts_for_few_runs():
    ours = np.array([90.0, 95.0, 98.0, 100.0, 101.0, 102.0, 103.0, 105.0, 106.0, 100.0])
    narrow, wide = (definition.Published(100, 120.0, sd) for sd in (6.0, 60.0))
    alike, wider = (comparison.difference_of_means(ours, one) for one in (narrow, wide))
    assert alike.p < 0.05 < wider.p
    # A coefficient of variation of 0.5 for ours, too: 0.5 times 100 / sqrt(10) and 120 / 10.
    expected = 3.168 * 0.5 * math.hypot(100.0 / math.sqrt(10), 12.0) / 1.2
    assert wider.detectable == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize(("n", "m"), [(5, 2), (4, 4), (6, 1)])
def test_the_p_value_of_an_extreme_is_that_of_all_orders(n, m):
    """Each choice of which values are the published ones is equally likely."""
    values = set(range(n + m))
    p_values = []
    for theirs in itertools.combinations(values, m):
        ours = np.array(sorted(values - set(theirs)), float)
        p_values.append(comparison.p_of_extreme(ours, float(max(theirs)), m))
    # Exact: the share of p-values up to each one is at most that one.
    assert all(np.mean(np.array(p_values) <= p + 1e-12) <= p + 1e-12 for p in p_values)
    assert min(p_values) == pytest.approx(min(1.0, 2.0 / math.comb(n + m, m)))
    # Ties with the largest value are no evidence.
    assert comparison.p_of_extreme(np.ones(1000), 1.0, m) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bimodal", "lognormal, sigma 1", "normal"])
def test_equal_spreads_are_seldom_called_different(monkeypatch, name):
    monkeypatch.setattr(comparison, "RESAMPLES", 200)
    monkeypatch.setattr(comparison, "MORE_RESAMPLES", 200)
    rng, draw, hits = np.random.default_rng(7), STUDIES[name], []
    for _ in range(100):
        ours, theirs = draw(rng, (100,)), draw(rng, (25,))
        published = definition.Published(
            25, float(theirs.mean()), float(theirs.std(ddof=1)), float(np.median(theirs)),
            float(theirs.min()), float(theirs.max()),
        )  # fmt: skip
        found = comparison.p_values_of_statistics(ours, published)
        assert "sd" in found or stats.lmoment(ours, 3) > 0.4
        hits.append([found.get(name, 1.0) < 0.05 for name in ("sd", "median", "min", "max")])
    # Three standard errors above 5%; in relation to the mean alone, up to 94% in bimodal values.
    assert np.mean(hits, axis=0).max() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)


def test_equal_values_have_an_interval_that_follows_from_the_published_spread():
    alike, spread = definition.Published(100, 10.1, 0.0), definition.Published(100, 10.0, 2.0)
    rows = study_of(row("a", alike), row("b", spread))
    same, other = verdict.judge(rows, [[np.full(120, 10.1)]] * 2)
    assert same.text == "agrees within 10%"
    assert other.text == "differs: sd"
    assert np.isnan(other.difference.percent.low)
    low, high = comparison.difference_of_means(np.full(120, 10.1), spread).percent[1:]
    # The published mean alone is uncertain, by 2 / 10 of 10%, with a t distribution of 98%.
    assert (low, high) == pytest.approx((1.0 - 2.0 * 2.36, 1.0 + 2.0 * 2.36), abs=0.3)


def test_values_with_a_large_spread_are_not_compared():
    ours = np.array([1.0] * 30 + [100.0])
    alike = definition.Published(31, 4.2, 17.8)
    (found,) = verdict.judge(study_of(row("a", alike)), [[ours]])
    assert found.text == "not compared: an sd is over 2 times its mean"
    even = np.linspace(90.0, 110.0, 31)
    for sd, compared in ((190.0, True), (210.0, False)):
        (found,) = verdict.judge(study_of(row("a", definition.Published(31, 100.0, sd))), [[even]])
        assert (found.difference is not None) == compared


def test_the_interval_over_a_grid_is_between_seeds():
    # All points of a seed are equal, so 200 points are no more evidence than one.
    axes = (
        definition.Axis("rate", ("lr=@",), 0.1, 0.3, 20),
        definition.Axis("range", ("model.init_high=@",), 1.0, 2.0, 10),
    )
    study = replace(study_of(row("a", None, "unconverged"), measure="unconverged"), grid=axes)
    study = replace(study, trials=12)
    (found,) = verdict.judge(study, [[np.tile([0.0, 1.0, 1.0, 1.0] * 3, 200)]])
    half = stats.t.ppf(0.975, 11) * math.sqrt(0.75 * 0.25 * 12 / 11 / 12)
    assert found.mean == pytest.approx((0.75, 0.75 - half, min(0.75 + half, 1.0)))
    (few,) = verdict.judge(replace(study, trials=9), [[np.tile([0.0, 1.0, 1.0] * 3, 200)]])
    assert few.mean == pytest.approx((2 / 3, np.nan, np.nan), nan_ok=True)


def test_the_interval_of_a_share_over_a_grid_ends_at_one_and_is_around_the_mean_of_the_seeds():
    axes = (
        definition.Axis("rate", ("lr=@",), 0.1, 0.3, 20),
        definition.Axis("range", ("model.init_high=@",), 1.0, 2.0, 10),
    )
    study = study_of(row("a", None, "unconverged"), measure="unconverged", grid=axes)
    values = np.ones((200, 12))
    values[:100, 0] = 0.0
    # One seed has results at some points only.
    values[150:, 0] = np.nan
    (found,) = verdict.judge(replace(study, trials=12), [[values.ravel()]])
    by_seed = np.array([1 / 3, *[1.0] * 11])
    low, high = stats.t.interval(0.95, 11, by_seed.mean(), stats.sem(by_seed))
    assert high > 1.0
    assert found.mean == pytest.approx((by_seed.mean(), low, 1.0))


def test_the_interval_over_a_grid_covers_with_the_ten_seeds_of_initial_weights():
    """Seeds are easier or harder at all points; an interval that counts cells is far too narrow."""
    definitions = yaml.safe_load((CONF / "initial_weights.yaml").read_text())
    assert definitions["trials"] == 10
    axes = (definition.Axis("rate", ("lr=@",), 0.1, 0.3, 15),
            definition.Axis("range", ("model.init_high=@",), 1.0, 2.0, 10))  # fmt: skip
    study = replace(
        study_of(row("a", None, "unconverged"), measure="unconverged", grid=axes), trials=10
    )
    thresholds, rng, hits, of_cells = np.linspace(-2.0, 2.5, 150), np.random.default_rng(0), [], []
    share = float(stats.norm.sf(thresholds).mean())
    for _ in range(200):
        difficulty = math.sqrt(0.8) * rng.normal(size=10)
        luck = math.sqrt(0.2) * rng.normal(size=(150, 10))
        values = (difficulty + luck > thresholds[:, None]).astype(float)
        mean, low, high = verdict._mean_over_grid(values.ravel(), study, is_share=True)
        hits.append(low <= share <= high)
        of_cells.append(abs(mean - share) <= 1.96 * values.std() / math.sqrt(values.size))
    # Three standard errors below 95%.
    assert np.mean(hits) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert np.mean(of_cells) < 0.4


@pytest.mark.parametrize("ours", [[10.0, 13.0, 14.0], [13.0, 13.0, 13.0], [1.0, 13.0, 13.0, 14.0]])
def test_ties_with_a_single_published_run_count_half(ours):
    (found,) = verdict.judge(study_of(row("a", definition.Published(1, 13.0))), [[np.array(ours)]])
    assert found.text == "one published run: at the 50th percentile of ours"


def test_one_published_run_is_located_as_a_percentile_and_a_row_without_any_is_not_tested():
    ours = np.array([10.0, 12.0, 14.0, np.nan])
    one, none = verdict.judge(
        study_of(row("a", definition.Published(1, 13.0)), row("b", None)), [[ours], [ours]]
    )
    assert one.text == "one published run: at the 50th percentile of ours"  # nan counts as larger
    assert none.text == "not compared: no published number"
    assert (one.n_values, one.n_runs, one.difference) == (3, 4, None)
    assert one.mean.estimate == 12.0


def test_means_of_few_seeds_have_a_wider_interval_than_means_of_many():
    ours = np.array([0.0, 1.0] * 100)
    (found,) = verdict.judge(study_of(row("a", None), reports=(1, 100)), [[ours]])
    assert (found.small_sample_means[1].low, found.small_sample_means[1].high) == (0.0, 1.0)
    hundred = found.small_sample_means[100]
    assert 0.4 < hundred.low < 0.5 < hundred.high < 0.6


def test_sample_sizes_are_smaller_than_the_number_of_runs_and_one_run_has_no_interval():
    study = study_of(row("a", None), reports=(1, 2, 3))
    (two,) = verdict.judge(study, [[np.array([4.0, 5.0])]])
    assert list(two.small_sample_means) == [1]
    one = evaluation(study, [[np.array([4.0])]])
    assert one.verdicts[0].small_sample_means == {}
    assert list(cells_of(one)[0].values()) == [
        "a", "-", "-", "-", "-", "-", "4", "4..4", "1/1", "not compared: no published number",
    ]  # fmt: skip


def test_sentences_say_how_far_the_values_of_the_seeds_are_apart():
    study = study_of(row("hidden 2", None, "final_loss"), measure="final_loss", reports=(1,))
    assert evaluation(study, [[np.array([0.25, 0.5, 0.5, 2.0])]]).sentences() == [
        "hidden 2: the values of 4 seeds range from 0.25 to 2, a factor of 8.",
        "hidden 2: the mean of 1 seed lies between 0.25 and 2 in 90% of cases; the mean of all "
        "seeds is 0.8125.",
    ]


def test_rows_with_changed_settings_are_not_tested():
    published = definition.Published(25, 30.0, 3.0)
    group = {"name": "s", "source": "x", "measure": "epochs", "trials": 4, "rows": [
        {"name": "a", "published": {"n": 25, "mean": 30.0, "sd": 3.0}}, {"name": "b"}]}  # fmt: skip
    same = definition.from_command_line(
        group, ["+study=s", "study.trials=4", "n_jobs=1", "tracking.points=0"]
    )
    other = definition.from_command_line(group, ["+study=s", "n_jobs=1", "lr=3", "optimizer=adam"])
    assert (same.changed, other.changed) == ((), ("lr=3", "optimizer=adam"))
    assert same.rows[0].published["epochs"] == published
    ours = [[np.arange(10.0, 20.0)]] * 2
    assert verdict.judge(same, ours)[0].text == "differs"
    changed = evaluation(other, ours)
    assert [(v.text, v.difference) for v in changed.verdicts] == [
        ("not compared: settings were changed", None), ("not compared: no published number", None),
    ]  # fmt: skip
    said = markdown.render(page.document(changed, []))
    assert "Changed on the command line: lr=3, optimizer=adam." in said
    assert definition.parse(definition.to_plain(other)) == other
    assert definition.from_command_line(group, ["study.common=[lr=3]"]).changed == (
        "study.common=[lr=3]",
    )


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda f: f.stem)
def test_the_studies_in_conf_are_valid(file):
    study = definition.parse({**yaml.safe_load(file.read_text())})
    assert study.name == file.stem
    n_jobs = study.trials * study.n_points * len(study.rows)
    assert len(definition.overrides_of_jobs(study, [f"+study={study.name}"])) == n_jobs
    assert definition.parse(definition.to_plain(study)) == study


@pytest.mark.parametrize(
    ("change", "message"),
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
        (
            {
                "measure": "unconverged",
                "rows": [{"name": "a", "published": {"n": 25, "mean": 24}}],
            },
            "study.rows\\[0\\].published.mean must be a share from 0 to 1, got 24",
        ),
        (
            {
                "measure": ["epochs", "unconverged"],
                "rows": [{"name": "a", "published": {"unconverged": {"n": 25, "mean": -0.1}}}],
            },
            "published.unconverged.mean must be a share from 0 to 1, got -0.1",
        ),
    ],
)
def test_an_invalid_study_raises_an_error_that_names_the_key(change, message):
    valid = {"name": "s", "source": "x", "measure": "epochs", "trials": 2, "rows": [{"name": "a"}]}
    with pytest.raises(ConfigError, match=message):
        definition.parse(valid | change)


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_a_study_prints_and_stores_its_table(inside, tmp_path):
    done = inside("-m", "+study=fahlman_1988", "study.trials=20")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "11 rows of 20 trials" in done.stdout
    for line in ("bp-1  129 (sd 46, n 25)", "xor  24.22 (sd 16.3, n 100)"):
        assert " ".join(line.split()) in " ".join(done.stdout.split())
    api = client_of(tmp_path)
    experiment = api.get_experiment_by_name("bpexp").experiment_id
    (parent,) = api.search_runs([experiment])
    assert parent.info.run_name == "study fahlman_1988, 220 runs"
    assert "| bp-hyper | 58.7 (sd 13, n 25) |" in parent.data.tags["mlflow.note.content"]
    assert "study.md" in [f.path for f in api.list_artifacts(parent.info.run_id)]
    alone = inside("+study=fahlman_1988")
    assert alone.returncode == 1
    assert "+study is a sweep: add -m" in alone.stderr


@pytest.mark.long
@pytest.mark.usefixtures("a_store")
def test_one_row_of_fahlmans_table_differs_and_the_page_shows_the_same_numbers(inside):
    done = inside("-m", "+study=fahlman_1988")
    assert done.returncode == 0, done.stderr
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()[2:13]]
    assert all(" 1000/1000 " in line for line in rows)
    verdicts = [line.partition(" 1000/1000 ")[2] for line in rows]
    assert verdicts.count("agrees within 10%") == 4
    assert verdicts.count("undecided") == 6
    # A published standard deviation of 8.9, and of 5.97 here.
    assert verdicts[4] == "differs: sd"
    page = (CONF.parents[1] / "docs" / "how-to" / "studies.md").read_text()
    shown = {" ".join(line.split()) for line in page.splitlines()}
    names = {line.split()[0] for line in shown & set(rows)}
    assert names == {"bp-1", "qp-linear", "tight-8", "width-4"}


@pytest.mark.long
@pytest.mark.usefixtures("a_store")
def test_the_published_run_of_mirror_symmetry_is_a_percentile_of_a_thousand(inside):
    done = inside("-m", "+study=rumelhart_1986_symmetry")
    assert done.returncode == 0, done.stderr
    assert "929/1000" in done.stdout
    assert "one published run: at the 33rd percentile of ours" in done.stdout


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["+study=fahlmann_1988"], "study must be one of fahlman_1988, "),
        (["+study=fahlman_1988", "study.trials=0"], "study.trials must be a whole number"),
        (["+study="], "study must be one of fahlman_1988, "),
        (["+study=fahlman_1988", "study.trial=3"], "did you mean study.trials?"),
        (["study=fahlman_1988"], "study must go with a study that is added with a plus: -m +st"),
        (["study.trials=3"], "study.trials must go with a study that is added with a plus"),
        (
            ["+study=seed_lottery", "seed=3"],
            "A study sets the seeds of its trials (0, 1, ...); remove seed=3.",
        ),
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
def test_an_invalid_study_is_refused_in_one_line_that_names_the_row(
    inside, tmp_path, typed, message
):
    done = inside("-m", *typed)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (tmp_path / "outputs" / "mlflow.db").exists()


def test_nested_lists_of_overrides_are_flattened():
    text = "[&ten [data=encoder, data.size=10], lr=1.0, [*ten, hidden=3]]"
    values = {"name": "s", "source": "x", "measure": "epochs", "trials": 1,
              "rows": [{"name": "a", "overrides": yaml.safe_load(text)}]}  # fmt: skip
    assert definition.parse(values).rows[0].overrides == (
        "data=encoder", "data.size=10", "lr=1.0", "data=encoder", "data.size=10", "hidden=3",
    )  # fmt: skip


def test_published_shares_are_compared_in_percentage_points():
    ours = np.array([1.0] * 30 + [0.0] * 70)
    near, far = definition.Published(50, 0.24), definition.Published(50, 0.9)
    study = study_of(row("a", near, "unconverged"), row("b", far, "unconverged"),
                 row("c", None, "unconverged"), measure="unconverged")  # fmt: skip
    first, second, third = verdict.judge(study, [[ours]] * 3)
    fisher = stats.fisher_exact([[30, 70], [12, 38]]).pvalue
    assert first.difference.p == pytest.approx(fisher)
    assert first.difference.percent.estimate == pytest.approx(6.0)
    assert first.difference.percent.low < -10.0 < 10.0 < first.difference.percent.high
    assert (first.text, second.text) == ("undecided", "differs")
    exact = stats.binomtest(30, 100).proportion_ci(method="exact")
    assert third.mean == pytest.approx((0.3, exact.low, exact.high))
    assert third.text == "not compared: no published number"


def test_jobs_of_a_grid_are_ordered_by_row_point_and_seed():
    axes = (
        definition.Axis("rate", ("lr=@",), 0.1, 0.3, 3),
        definition.Axis("range", ("model.init_low=-@", "model.init_high=@"), 1.0, 2.0, 2),
    )
    study = study_of(row("a", None), row("b", None), grid=axes)
    jobs = definition.overrides_of_jobs(study, ["+study=s", "hidden=3"])
    assert len(jobs) == 2 * 6 * 4
    assert jobs[5] == ["lr=0.1", "model.init_low=-2", "model.init_high=2", "hidden=3", "seed=1"]
    assert [study.row_of_job(index).name for index in (0, 23, 24, 47)] == ["a", "a", "b", "b"]


@pytest.mark.usefixtures("a_store")
def test_a_study_in_a_folder_of_the_user_is_compared_with_all_published_numbers(inside, tmp_path):
    folder = tmp_path / "mine" / "study"
    folder.mkdir(parents=True)
    published = {"n": 20, "mean": 480, "median": 470, "min": 320, "max": 760, "converged": 1}
    study = {
        "name": "own", "source": "a table", "measure": "epochs", "trials": 4,
        "common": ["data=xor", "hidden=4", "stop.tolerance=0.4", "tracking.runs=false"],
        "rows": [{"name": "fast", "overrides": ["lr=1"], "published": published}],
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(study))
    done = inside("--config-dir", str(folder.parent), "-m", "+study=own")
    assert done.returncode == 0, done.stderr
    assert "480 (median 470, min 320, max 760, converged 1, n 20)" in done.stdout
    assert "4/4  undecided" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_a_report_on_the_sweep_of_a_study_has_the_verdicts_of_the_study(
    inside, tmp_path, monkeypatch
):
    (tmp_path / "study").mkdir()
    published = {"n": 20, "mean": 480, "sd": 90}
    rows = [{"name": name, "overrides": [f"lr={lr}"], "published": published if lr == 1 else None}
            for name, lr in (("one", 1), ("other", 2))]  # fmt: skip
    study = {"name": "s", "source": "a table", "measure": "epochs", "trials": 2,
             "common": ["data=xor", "stop.tolerance=0.4", "hidden=4"], "rows": rows}  # fmt: skip
    path = tmp_path / "study" / "s.yaml"
    path.write_text(yaml.safe_dump(study))
    start = ("--config-dir", str(tmp_path), "-m", "+study=s")
    assert inside(*start).returncode == 0
    monkeypatch.chdir(tmp_path)
    answer = bpexp.report("latest").answer
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    table = read_csv(folder / "study.csv")
    assert list(table["verdict"]) == ["undecided", "not compared: no published number"]
    stated = "; ".join(f"{row}: {text}" for row, text in zip(table.row, table.verdict, strict=True))
    assert f"the sweep: {stated}." in answer
    # The ranking follows.
    assert "converges soonest on average" in answer
    (stored,) = (tmp_path / "outputs" / "artifacts").rglob("study.csv")
    content = stored.read_bytes()
    stored.write_bytes(content.replace(b"undecided", b"agrees within 10%"))
    with pytest.raises(ConfigError, match=r"study\.csv of .* altered"):
        bpexp.report("latest")
    stored.write_bytes(content)
    rows[1]["overrides"] = ["data=parity"]
    path.write_text(yaml.safe_dump(study))
    assert inside(*start).returncode == 0
    with pytest.raises(ConfigError, match=r"not ranked together .* the sweep: one: undecided"):
        bpexp.report("latest")
    with pytest.raises(ConfigError, match=r"must be one of .*, got 'x'\.$"):
        bpexp.report("latest", measure="x")


@pytest.mark.usefixtures("a_store")
def test_the_command_at_the_end_of_a_study_writes_its_page_whatever_its_rows_are(inside, tmp_path):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    study = {"name": "s", "source": "a table", "measure": "epochs", "trials": 2,
             "common": ["stop.tolerance=0.4", "epochs=9", "tracking.runs=false"],
             "rows": [{"name": name, "overrides": [f"data={name}"]} for name in ("xor", "parity")],
             }  # fmt: skip
    (tmp_path / "conf" / "study" / "s.yaml").write_text(yaml.safe_dump(study))
    (command,) = re.findall("^Report: bpexp (.*)$", inside("-m", "+study=s").stdout, re.MULTILINE)
    done = inside(*command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "not ranked together" in done.stdout
    (written,) = (tmp_path / "outputs" / "reports").rglob("*.html")
    assert done.stdout.endswith(f"Written: {written.relative_to(tmp_path)}\n")
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert written.read_bytes() == (folder / "study.html").read_bytes()
    refused = inside(*command.split(), "--measure", "x")
    assert refused.returncode == 2
    bpexp.sweep(lr=[1, 2], epochs=5, backend="serial")
    assert "study" not in bpexp.report("latest").answer


@pytest.mark.usefixtures("a_store", "eight_gigabytes")
def test_a_study_with_failed_runs_says_so_and_judges_the_others(inside, tmp_path):
    (tmp_path / "study").mkdir()
    published = {"n": 20, "mean": 480, "sd": 90}
    rows = [
        {"name": name, "overrides": [f"hidden={hidden}"], "published": published}
        for name, hidden in (("small", "4"), ("too wide", "[200000,200000]"))
    ]
    common = ["data=xor", "lr=1", "stop.tolerance=0.4", "tracking.runs=false"]
    study = {"name": "s", "source": "a table", "measure": "epochs", "trials": 2,
             "common": common, "rows": rows}  # fmt: skip
    (tmp_path / "study" / "s.yaml").write_text(yaml.safe_dump(study))
    done = inside("--config-dir", str(tmp_path), "-m", "+study=s")
    assert done.returncode == 1
    assert "2 runs failed or were interrupted; they have no result." in done.stdout.splitlines()
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    table = read_csv(folder / "study.csv").set_index("row")
    assert table["runs"].to_dict() == {"small": "2/2", "too wide": "0/0"}
    assert table["without result"].to_dict() == {"small": 0, "too wide": 2}
    assert table["verdict"].to_dict() == {
        "small": "undecided", "too wide": "not compared: no run has a result",
    }  # fmt: skip


@pytest.mark.slow
def test_the_printed_tables_of_proben1_are_as_wide_as_the_lines():
    definitions = yaml.safe_load((CONF / "proben1.yaml").read_text()) | {"path": "folder"}
    study = definition.parse(definitions)
    rng = np.random.default_rng(0)
    values = [
        [rng.normal(one.published[m].mean, one.published[m].sd, 100) for m in study.measures]
        for one in study.rows
    ]
    tables = [b for b in page.paper(evaluation(study, values), []).blocks if isinstance(b, Table)]
    font = FontProperties(family="cmr10")

    def width(text, size):
        return (
            TextPath((0, 0), unstyled(text).replace("%", "o"), size=size, prop=font)
            .get_extents()
            .width
        )

    # A letter with margins of 2.5 cm, in points; the texts in the last column are a quarter wide.
    line = (21.59 - 5.0) / 2.54 * 72.27
    for shown in tables:
        assert r"\small\setlength{\tabcolsep}{3pt}" in latex.block(shown, math=True)
        cells = list(zip(shown.columns, *shown.rows, strict=True))
        narrow = [column for column, side in zip(cells, shown.sides, strict=True) if side != "p"]
        rest = 0.25 * line if "p" in shown.sides else 0.0
        widths = {size: sum(max(width(t, size) for t in column) for column in narrow)
                  for size in (9.0, 10.0)}  # fmt: skip
        assert widths[9.0] + rest + 3.0 * 2 * len(cells) < line
    # In the normal size the first one would not fit.
    rest = 0.25 * line + 6.0 * 2 * len(tables[0].columns)
    cells = list(zip(tables[0].columns, *tables[0].rows, strict=True))[:-1]
    assert sum(max(width(text, 10.0) for text in column) for column in cells) + rest > line


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_rows_can_be_defined_on_the_command_line(inside, tmp_path):
    settings = ["data=encoder", "data.size=6", "data.complement=true", "hidden=4", "lr=0.5",
                "optimizer=quickprop", "optimizer.mu=2", "optimizer.by_fan_in=true",
                "model.init_low=-2", "model.init_high=2", "model.error=arctanh",
                "model.derivative_offset=0.1", "model.dead_zone=0.05"]  # fmt: skip
    listed = ", ".join(f"'{setting}'" for setting in settings)
    rows = f"study.rows=[{{name: mine, overrides: [{listed}]}}]"
    done = inside("-m", "+study=fahlman_1988", rows, "study.trials=3")
    assert done.returncode == 0, done.stderr
    assert "1 row of 3 trials" in done.stdout
    assert "not compared: no published number" in done.stdout
    common = ["stop.tolerance=0.4", "epochs=5000", "model=sigmoid"]
    assert inside("-m", *common, *settings, "seed=0,1,2").returncode == 0
    api = client_of(tmp_path)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    (study,) = [r for r in runs if r.info.run_name.startswith("study")]
    table = read_csv(api.download_artifacts(study.info.run_id, "results.csv", str(tmp_path)))
    alone = {r.data.params["seed"]: r.data.metrics["epochs_run"] for r in runs
             if "seed" in r.data.params}  # fmt: skip
    assert alone == dict(zip(table.seed.astype(str), table.epochs_run, strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_a_study_with_a_grid_stores_a_plot_and_all_results(inside, tmp_path):
    small = "study.grid=[{name: rate, overrides: ['lr=@'], low: 1, high: 5, count: 2}, " \
        "{name: range, overrides: ['model.init_high=@'], low: 1, high: 2, count: 3}]"  # fmt: skip
    done = inside("-m", "+study=initial_weights", small, "study.trials=2", "epochs=300")
    assert done.returncode == 0, done.stderr
    assert "2 rows of 2 trials at each of 6 points" in done.stdout
    api = client_of(tmp_path)
    (parent,) = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    files = {f.path for f in api.list_artifacts(parent.info.run_id)}
    of_study = {"study.md", "study.html", "study.tex", "study.csv", "study.png"}
    assert {*of_study, "results.csv"} <= files
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    for name in of_study:
        stored = Path(api.download_artifacts(parent.info.run_id, name, str(tmp_path)))
        assert stored.read_bytes() == (folder / name).read_bytes()
    assert done.stdout.splitlines()[-1] == f"Written: {folder.relative_to(tmp_path)}/study.html"
    assert "not compared: no published number" in parent.data.tags["mlflow.note.content"]
    table = read_csv(api.download_artifacts(parent.info.run_id, "results.csv", str(tmp_path)))
    assert table.groupby(["study_row", "lr", "model.init_high"]).size().tolist() == [2] * 12


@pytest.mark.usefixtures("a_store")
def test_the_page_of_a_study_has_its_table_and_picture_and_needs_no_other_file(inside, tmp_path):
    small = "study.grid=[{name: rate, overrides: ['lr=@'], low: 1, high: 5, count: 2}, " \
        "{name: range, overrides: ['model.init_high=@'], low: 1, high: 2, count: 2}]"  # fmt: skip
    rows = "study.rows=[{name: '<i>a</i> & b_1', assumed: 'x<y'}]"
    done = inside("-m", "+study=initial_weights", small, rows, "study.trials=2", "epochs=30")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    shown = Page((folder / "study.html").read_text())
    assert shown.is_self_contained
    (picture,) = shown.pictures
    content = base64.b64decode(picture.partition("base64,")[2])
    assert content == (folder / "study.png").read_bytes()
    with open(folder / "study.csv", newline="") as file:
        assert shown.rows == list(csv.reader(file))
    assert shown.rows[1][0] == "<i>a</i> & b_1"
    for said in (
        "Study initial_weights", "Complex Systems 4", "Seeds 0 to 1", "not compared (1)",
        "Changed on the command line", "Assumptions", "x<y", "Methods",
    ):  # fmt: skip
        assert said in shown.text, said
    # The look is that of a report.
    style = files("bpexp.render").joinpath("report.css").read_text()
    assert style in shown.source
    text = (folder / "study.md").read_text()
    assert "](study.png)" in text
    api = client_of(tmp_path)
    (parent,) = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    note = parent.data.tags["mlflow.note.content"]
    # The note has the table, and no picture, which MLflow would not find.
    assert "b_1" in note
    assert "study.png" not in note
    for said in (r"\textless{}i\textgreater{}a", r"\& b\_1", "{study.png}"):
        assert said in (folder / "study.tex").read_text()


def test_the_map_shows_the_mean_of_each_point():
    axes = (definition.Axis("rate", ("lr=@",), 0.0, 1.0, 2),
            definition.Axis("range", ("model.init_high=@",), 0.0, 2.0, 3))  # fmt: skip
    study = replace(
        study_of(row("a", None, "unconverged"), measure="unconverged", grid=axes), trials=2
    )
    values = np.array([[0, 0, 0, 1, 1, 1, np.nan, 1, 0, 0, np.nan, np.nan]])
    figure = study_maps(grid_maps(study, values))
    (mesh,) = figure.axes[0].collections
    shown = mesh.get_array().reshape(2, 3)
    np.testing.assert_array_equal(shown.filled(np.nan), [[0.0, 0.5, 1.0], [1.0, 0.0, np.nan]])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("range", "rate")


def test_a_map_without_any_value_is_drawn():
    axes = (definition.Axis("rate", ("lr=@",), 0.0, 1.0, 2),
            definition.Axis("range", ("model.init_high=@",), 0.0, 2.0, 3))  # fmt: skip
    study = replace(study_of(row("a", None), grid=axes), trials=2)
    figure = study_maps(grid_maps(study, np.full((1, 12), np.nan)))
    (mesh,) = figure.axes[0].collections
    assert mesh.get_clim() == (0.0, 1.0)


def small_proben1(folder, name, rng):
    """A file in the format of Proben1 with two linearly separable classes."""
    rows = [(a, b, float(a > b), float(a <= b)) for a, b in rng.random((60, 2)).round(3)]
    head = "bool_in=0\nreal_in=2\nbool_out=2\nreal_out=0\n" \
        "training_examples=30\nvalidation_examples=15\ntest_examples=15\n"  # fmt: skip
    lines = "".join(" ".join(f"{v:g}" for v in r) + "\n" for r in rows)
    (folder / f"{name}.dt").write_text(head + lines)


@pytest.mark.slow
@pytest.mark.usefixtures("a_store")
def test_proben1_compares_two_errors_per_row_on_the_users_files(inside, tmp_path):
    folder, rng = tmp_path / "with a space", np.random.default_rng(0)
    folder.mkdir()
    for name in ("cancer1", "diabetes1", "glass1"):
        small_proben1(folder, name, rng)
    done = inside("-m", "+study=proben1", f"study.path='{folder}'", "study.trials=3")
    assert done.returncode == 0, done.stderr
    api = client_of(tmp_path)
    runs = api.search_runs([api.get_experiment_by_name("bpexp").experiment_id])
    parent = next(run for run in runs if run.data.tags.get("bpexp.kind") == "sweep")
    get = lambda name: api.download_artifacts(parent.info.run_id, name, str(tmp_path))  # noqa: E731
    table, results = read_csv(get("study.csv")), read_csv(get("results.csv"))
    assert table["row"].tolist() == [
        f"{name} {measure}" for name in ("cancer1", "diabetes1", "glass1")
        for measure in ("test_squared_error", "test_error")
    ]  # fmt: skip
    glass = results[results["study_row"] == "glass1"]
    for index, mean in ((4, 100 * glass["test_squared_error"].mean()),
                        (5, 100 * (1 - glass["test_accuracy"].mean()))):  # fmt: skip
        assert float(table["ours"][index]) == pytest.approx(mean, rel=1e-3)


FAHLMAN = TrainConfig(
    seed=0, lr=0.35, epochs=5000, hidden=(5,),
    data=EncoderConfig(name="encoder", size=10),
    model=ModelConfig(error="arctanh", derivative_offset=0.1, init_low=-2.0, init_high=2.0),
    optimizer=QuickpropConfig(name="quickprop", weight_decay=1e-4),
    schedule=ScheduleConfig(name="constant"), stop=StopConfig(tolerance=0.4),
)  # fmt: skip


@pytest.mark.slow
def test_quickprop_needs_as_many_epochs_for_the_encoder_as_an_independent_program():
    # 1,000 trials of an independent NumPy program: mean 14.07, sd 2.21.
    results = train_batch([replace(FAHLMAN, seed=s) for s in range(300)], LlvmEngine())
    updates = np.array([r.epochs_run - 1 for _, r in results])
    error = math.hypot(2.21 / math.sqrt(300), 2.21 / math.sqrt(1000))
    assert abs(updates.mean() - 14.07) < 4 * error


def test_a_restart_initializes_the_network_again_and_continues_the_count_of_epochs():
    hard = TrainConfig(
        seed=3, lr=0.1, epochs=25, hidden=(2,), data=BitsConfig(name="xor"),
        model=ModelConfig(), optimizer=OptimizerConfig(name="gradient_descent"),
        schedule=ScheduleConfig(name="constant"), stop=StopConfig(restart=10),
    )  # fmt: skip
    ((_, restarted),) = train_batch([hard], LlvmEngine())
    assert restarted.epochs_run == 25
    for times, seed in enumerate([3, restart_seed(3, 1), restart_seed(3, 2)]):
        part = bpexp.train(seed=seed, epochs=10)
        piece = restarted.losses[10 * times : 10 * times + 10]
        np.testing.assert_array_equal(piece, part.losses[: len(piece)])
