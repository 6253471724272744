"""Shares of the variance of a grid, compared with least squares, and importances of a search."""

import itertools
import warnings

import numpy as np
import optuna
import pytest
from read_back import tracked

import bpexp
from bpexp.analysis import components
from bpexp.analysis.importance import MIN_TRIALS, ped_anova
from bpexp.analysis.variance import HIGHER, Decomposition, Share, shares

LEVELS, N_SEEDS = (3, 4, 2), 5


def columns(*factors):
    """Indicators of each combination of the levels of factors, for all runs in order."""
    runs = list(itertools.product(*map(range, (*LEVELS, N_SEEDS))))
    labels = [tuple(run[factor] for factor in factors) for run in runs]
    return np.array([[label == one for one in sorted(set(labels))] for label in labels], float)


def residual(values, *terms):
    """The residual sum of squares of a linear model with the terms, by least squares."""
    X = np.hstack([columns(*term) for term in terms])
    coefficients = np.linalg.lstsq(X, values, rcond=None)[0]
    return float(((values - X @ coefficients) ** 2).sum())


def test_shares_are_those_of_least_squares():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(*LEVELS, N_SEEDS)) + rng.normal(size=N_SEEDS)
    values += 2.0 * rng.normal(size=(3, 1, 1, 1)) + rng.normal(size=(3, 4, 1, 1))
    y = values.ravel()
    total = residual(y, ())
    # Settings 0, 1 and 2; factor 3 is the seed.
    cells, with_seeds = residual(y, (0, 1, 2)), residual(y, (0, 1, 2), (3,))
    noise = with_seeds / ((np.prod(LEVELS) - 1) * (N_SEEDS - 1))
    expected = {}
    for a in range(3):
        freedom = LEVELS[a] - 1
        expected["abc"[a]] = (total - residual(y, (a,)) - freedom * noise) / total
    for a, b in itertools.combinations(range(3), 2):
        freedom = (LEVELS[a] - 1) * (LEVELS[b] - 1)
        square = residual(y, (a,), (b,)) - residual(y, (a, b))
        expected[f"{'abc'[a]} and {'abc'[b]}"] = (square - freedom * noise) / total
    square = residual(y, (0, 1), (0, 2), (1, 2)) - cells
    expected[HIGHER] = (square - 2 * 3 * 1 * noise) / total
    expected["the seed"] = 1.0 - sum(expected.values())
    found = {share.name: share.estimate for share in shares(values, ["a", "b", "c"])}
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-12)


def test_a_setting_without_influence_has_no_share():
    rng = np.random.default_rng(1)
    found = np.mean([
        [share.estimate for share in shares(rng.normal(size=(4, 3, 6)), ["a", "b"])]
        for _ in range(200)
    ], axis=0)  # fmt: skip
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0, 1.0], atol=0.02)


@pytest.mark.parametrize("scale", [1e300, -1e-300])
def test_shares_do_not_depend_on_the_unit_even_if_squares_are_no_floats(scale):
    values = np.random.default_rng(4).normal(size=(3, 4, 5))
    for of in (lambda v: [share.estimate for share in shares(v, ["a", "b"])], by_source):
        np.testing.assert_allclose(of(scale * values), of(values), rtol=1e-9)


def by_source(values):
    """The shares of two crossed sources and of the rest."""
    split, seed = np.divmod(np.arange(values.size), 5)
    return list(components.shares(values.ravel(), {"split": split, "seed": seed}).values())


@pytest.fixture
def sweep(put_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    return bpexp.sweep(lr=[0.1, 3], hidden=[2, 4, 6], seed=range(4), epochs=60, backend="serial")


def test_a_report_on_a_grid_says_the_shares(sweep):
    report = bpexp.report("latest")
    values = np.log(sweep["final_loss"].to_numpy().reshape(2, 3, 4))
    expected = shares(values, ["lr", "hidden"])
    assert [share.name for share in report.variance.shares] == [
        "lr", "hidden", "lr and hidden", "the seed",
    ]  # fmt: skip
    found = [share.estimate for share in report.variance.shares]
    np.testing.assert_allclose(found, [share.estimate for share in expected])
    sentence = report.effect_sentences[-1]
    assert sentence.startswith(
        "Of the variance of the logarithm of the final loss between runs, estimated from 4 seeds: "
    )
    # Not a full grid.
    bpexp.sweep("lr=0.1 hidden=2,4 | lr=3 hidden=2", seed=range(4), epochs=5, backend="serial")
    assert bpexp.report("latest").variance is None


def test_small_shares_are_not_printed_as_zero_or_as_all():
    of_lr = Decomposition("final loss", [Share("lr", 0.003), Share("the seed", 0.997)], "9 seeds")
    assert of_lr.sentence.endswith("lr less than 1%, the seed more than 99%.")
    whole = Decomposition("final loss", [Share("lr", 1.01), Share("the seed", -0.01)], "9 seeds")
    assert whole.sentence.endswith("lr 100%, the seed 0%.")


@pytest.mark.slow
def test_a_search_has_importances_instead(put_store, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lrs, widths = 10 ** rng.uniform(-3, 1, 60), rng.integers(2, 9, 60)
    settings = [{"lr": f"{lr:.4g}", "hidden": str(n)} for lr, n in zip(lrs, widths, strict=True)]
    scores = (np.log10(lrs) + 1) ** 2
    found = ped_anova(settings, [*scores[:-1], np.inf])
    assert list(found) == ["lr", "hidden"]
    assert found["lr"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)
    assert ped_anova(settings[: MIN_TRIALS - 1], scores[: MIN_TRIALS - 1]) == {}
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    bpexp.sweep(
        lr="tag(log,interval(1e-2,10))", hidden="int(interval(2,9))", search="random",
        search__trials=25, search__generation=25, epochs=20, backend="serial",
    )  # fmt: skip
    report = bpexp.report("latest")
    *_, sentence = report.effect_sentences
    assert report.variance is None
    shares = {key: f"{100.0 * share:.0f}%" for key, share in importances_by_hand().items()}
    assert sentence.endswith(
        f"(PED-ANOVA of Optuna): {', '.join(' '.join(one) for one in shares.items())}."
    )


def importances_by_hand():
    """Importances of the stored trials of the test above, with Optuna alone."""
    runs = tracked("attributes.status = 'FINISHED' and tags.`bpexp.trial` != ''")
    values = [
        ({"lr": float(run.data.params["lr"]), "hidden": int(run.data.params["hidden"].strip("[]"))},
         run.data.metrics["final_loss"])
        for run in runs
    ]  # fmt: skip
    assert len(values) == 25
    lrs = [one["lr"] for one, _ in values]
    space = {
        "lr": optuna.distributions.FloatDistribution(min(lrs), max(lrs), log=True),
        "hidden": optuna.distributions.IntDistribution(2, 9),
    }
    study = optuna.create_study()
    for one, value in values:
        study.add_trial(optuna.create_trial(params=one, distributions=space, value=value))
    with warnings.catch_warnings():
        # Experimental in some versions.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
