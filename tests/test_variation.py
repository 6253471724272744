"""Sources of variation: seeds of their own, what is independent, and what each contributes."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import bpexp
from benchmarks.simulations import groups as simulations
from bpexp.analysis import components, permutation, statistics, words
from bpexp.analysis.findings import find
from bpexp.analysis.groups import FINAL_LOSS, REPLICATE, group
from bpexp.analysis.variance import decompose
from bpexp.config.compose import compose_settings, composer
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import parse
from bpexp.render.wording import listed
from bpexp.runs import identity, variation
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.ranking import rank
from bpexp.sweeps.row import Row
from bpexp.sweeps.samplers import space
from bpexp.training.run_batch import PreparedBatch
from bpexp.training.sample_order import restart_seed

RPROP = {"optimizer": "rprop", "optimizer__step_init_low": 0.01, "optimizer__step_init_high": 0.1}
OWN_SEEDS = ("model__init_seed", "order_seed", "optimizer__step_init_seed")


def config(**settings):
    composed = compose_settings({"batch_size": 2, "epochs": 5, **RPROP, **settings})
    return parse(composed)[0]


def drawn(**settings):
    """The initial weights, first steps and sample order of a run, at its start and restarted."""
    batch = PreparedBatch([config(stop__restart=3, **settings)])
    runs = np.array([0])
    states = [batch.initial_state(), batch.restarted_state(runs, 2)]
    return {
        "model__init_seed": np.array([state.parameters for state in states]),
        "optimizer__step_init_seed": np.array([state.optimizer_state for state in states]),
        "order_seed": batch.sample_orders(runs, 0, 9),
    }


# Seeds.


@pytest.mark.parametrize("key", OWN_SEEDS)
def test_a_seed_of_its_own_changes_one_source_and_draws_as_the_seed_would(key):
    base, other, changed = drawn(seed=3), drawn(seed=8), drawn(seed=3, **{key: 8})
    for source in OWN_SEEDS:
        expected = other if source == key else base
        np.testing.assert_array_equal(changed[source], expected[source])
        assert not np.array_equal(base[source], other[source])


def test_restarts_draw_from_the_seed_of_the_weights():
    first = PreparedBatch([config(seed=3, model__init_seed=8)])
    again = PreparedBatch([config(seed=3, model__init_seed=restart_seed(8, 1))])
    np.testing.assert_array_equal(
        first.restarted_state(np.array([0]), 1).parameters, again.initial_state().parameters
    )


def test_unset_seeds_change_no_identity_and_set_ones_do():
    plain = identity.of_run(config(seed=3))
    assert plain == identity.of_run(config(seed=3, **dict.fromkeys(OWN_SEEDS)))
    others = {identity.of_run(config(seed=3, **{key: 8})) for key in OWN_SEEDS}
    assert len(others | {plain}) == 4
    text = identity.canonical_json(config(seed=3))
    assert "init_seed" not in text
    assert "order_seed" not in text


def test_runs_that_differ_only_in_their_seeds_are_trained_together_and_alone_alike(tmp_path):
    seeds = [{}, *({key: 8} for key in OWN_SEEDS)]
    alone = [bpexp.train(batch_size=2, epochs=5, seed=3, **RPROP, **one) for one in seeds]
    assert len({result.final_loss for result in alone}) == 4
    batch = [identity.of_result(result) for result in alone]
    by_numpy = [
        bpexp.train(batch_size=2, epochs=5, seed=3, engine="numpy", **RPROP, **one) for one in seeds
    ]
    assert batch == [identity.of_result(result) for result in by_numpy]


def test_a_search_takes_zipped_seeds_for_replicates():
    arguments = ["lr=tag(log,interval(1e-3,1))", "zip(seed=[1,2],data.split_seed=[5,6])"]
    found = space.parse(arguments, composer().parse, is_replicate_key)
    assert found.replicates == (("seed=1", "data.split_seed=5"), ("seed=2", "data.split_seed=6"))
    assert [(one.key, one.values) for one in found.dimensions] == [("lr", "0.001 to 1, log")]


# What is independent.


def units(n=None, **columns):
    named = {key.replace("__", "."): list(map(str, values)) for key, values in columns.items()}
    n = len(next(iter(named.values())))
    found = variation.sources_of(named, n)
    return {u.name: u.n for u in variation.independent_units(found.levels)}, found


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"seed": [0, 1, 2, 3]}, {"seed": 4}),
        ({"seed": [0, 1, 2], "data__split_seed": [5, 6, 7]}, {"replicate": 3}),
        ({"seed": [0, 0, 0], "data__split_seed": [5, 6, 7]}, {"split": 3}),
        ({"seed": [0] * 3, "data__split_seed": [0] * 3, "data__fold": [0, 1, 2]}, {"fold": 3}),
        ({"seed": [0, 1, 0, 1], "data__split_seed": [0, 0, 1, 1]}, {"seed": 2, "split": 2}),
        ({"seed": [0, 1, 2, 3], "data__split_seed": [0, 0, 1, 1]}, {"split": 2}),
        ({"seed": [0, 0, 0], "model__init_seed": [1, 2, 3]}, {"initialization": 3}),
        # Two pairs of sources change together, and are crossed with each other.
        (
            {
                "seed": [0, 1, 0, 1],
                "data__split_seed": [5, 6, 5, 6],
                "batch_size": [8] * 4,
                "order_seed": [0, 0, 1, 1],
                "model__init_seed": [0, 0, 1, 1],
                "model__init": ["glorot"] * 4,
                "optimizer__step_init_low": [0.1] * 4,
            },
            {"initialization/sample order replicate": 2, "seed/split replicate": 2},
        ),
        # Nothing is split, and no order is drawn.
        ({"seed": [0, 1], "data__split_seed": [5, 6], "data__test_fraction": [0, 0]}, {"seed": 2}),
        ({"seed": [0, 0], "order_seed": [1, 2], "batch_size": ["null"] * 2}, {}),
        ({"seed": [0, 0], "order_seed": [1, 2], "batch_size": [8, 8]}, {"sample order": 2}),
        (
            {"optimizer__step_init_seed": [1, 2], "optimizer__step_init_low": [0.1, 0.1]},
            {"first-step draw": 2},
        ),
    ],
)
def test_levels_of_what_acts_and_is_in_nothing_else_are_independent(columns, expected):
    assert units(**columns)[0] == expected


def test_reports_form_plurals_by_an_s():
    for name in (*variation.DRAWS.values(), variation.SPLIT, variation.FOLD, variation.SEED):
        assert not name.endswith("s")


def frame(**columns):
    n = len(next(iter(columns.values())))
    fixed = {
        "sweep": "s", "data.name": "iris", "outcome": "completed", "epochs": 9, "epochs_run": 9,
        "stop.loss": None, "stop.tolerance": None, "artifacts": "nowhere", "seed": 0,
        "run_id": [f"{number:032x}" for number in range(n)],
    }  # fmt: skip
    named = {key.replace("__", "."): values for key, values in columns.items()}
    return pd.DataFrame({**fixed, **named}, index=range(n))


def test_groups_whose_runs_on_the_shared_seeds_all_diverged_have_no_shares_of_the_variance():
    lr, seed = np.repeat([0.1, 1.0], 5), np.concatenate([np.arange(5), np.arange(2, 7)])
    is_shared = (seed > 1) & (seed < 5)
    found = find(group(frame(
        lr=lr, seed=seed, final_loss=np.where(is_shared, np.nan, 1.0 + seed),
        outcome=np.where(is_shared, "diverged", "completed"),
    )), FINAL_LOSS, 0)  # fmt: skip
    assert found.has_scores
    assert decompose(found) is None


def test_a_seed_from_which_nothing_is_drawn_makes_no_replicates():
    rates = np.repeat([0.1, 1.0], 10)
    losses = rates + 0.0
    order = {"lr": rates, "final_loss": losses, "order_seed": np.tile(np.arange(10), 2)}
    grouped = group(frame(**order, batch_size=[None] * 20))
    assert [len(one) for one in grouped.groups] == [1, 1]
    assert grouped.n_repeated == 18
    assert [len(one) for one in group(frame(**order, batch_size=[4] * 20)).groups] == [10, 10]
    # Where it acts in one of the groups, it numbers replicates there.
    both = group(frame(**order, batch_size=np.repeat([4, None], 10)))
    assert sorted(len(one) for one in both.groups) == [1, 10]


def crossed(n_splits, n_seeds, value, **more):
    """Two rates on all combinations of splits and seeds; ``value`` is of rate, split and seed."""
    runs = list(itertools.product((0.1, 1.0), range(n_splits), range(n_seeds)))
    lr, split, seed = map(np.array, zip(*runs, strict=True))
    losses = [value(*run) for run in runs]
    return group(frame(
        lr=lr, data__split_seed=split, seed=seed, final_loss=losses,
        data__test_fraction=[0.25] * len(runs), **more,
    ))  # fmt: skip


def test_two_splits_cannot_decide_however_many_seeds_share_them():
    # The larger rate is better on every seed of every split.
    grouped = crossed(2, 50, lambda lr, split, seed: 2.0 - lr + 0.01 * seed + split)
    (comparison,) = find(grouped, FINAL_LOSS, 0).comparisons
    assert comparison.n_units == {"seed": 50, "split": 2}
    assert comparison.n_pairs == 2
    assert comparison.p > 0.4
    assert comparison.improvement.low < 0.2
    medians = [s.estimates["final_loss"]["median"] for s in find(grouped, FINAL_LOSS, 0).summaries]
    assert np.isnan([median.low for median in medians]).all()
    # With as many splits as seeds it is clear.
    (comparison,) = find(crossed(10, 10, lambda lr, *_: 2.0 - lr), FINAL_LOSS, 0).comparisons
    assert comparison.p < 0.05


def test_two_crossed_units_that_each_join_two_sources_are_both_tested():
    runs = np.array([*itertools.product((0.1, 1.0), range(3), range(8))])
    lr, a, b = runs.T
    rng = np.random.default_rng(5)
    found = find(group(frame(
        lr=lr, seed=a, data__split_seed=a, data__test_fraction=[0.25] * len(runs),
        model__init_seed=b, order_seed=b, batch_size=[8] * len(runs),
        optimizer__step_init_low=[0.1] * len(runs),
        final_loss=1.5 - 0.5 * lr + 0.01 * rng.random(len(runs)),
    )), FINAL_LOSS, 0)  # fmt: skip
    (comparison,) = found.comparisons
    assert sorted(comparison.n_units.values()) == [3, 8]
    # Two-sided sign tests of 3 and 8 pairs, see ``permutation.combined``.
    z = norm.isf([0.25 / 2, 2 / 2**8 / 2])
    assert comparison.smallest_p == pytest.approx(2 * norm.sf((z**-2.0).sum() ** -0.5))
    assert comparison.p == pytest.approx(comparison.smallest_p)
    # The shares of both sources are told apart.
    assert len(decompose(found).shares) == 4


def test_two_crossed_units_of_groups_without_common_replicates_are_both_tested():
    runs = np.array([*itertools.product((0.1, 1.0), range(4), range(5))])
    lr, a, b = runs.T
    a, b = a + 10 * (lr == 1.0), b + 10 * (lr == 1.0)
    found = find(group(frame(
        lr=lr, seed=a, data__split_seed=a, data__test_fraction=[0.25] * len(runs),
        model__init_seed=b, order_seed=b, batch_size=[8] * len(runs),
        optimizer__step_init_low=[0.1] * len(runs), final_loss=2.0 - lr + 0.001 * a + 0.001 * b,
    )), FINAL_LOSS, 0)  # fmt: skip
    (comparison,) = found.comparisons
    assert comparison.n_pairs == 0
    assert sorted(comparison.n_units.values()) == [4, 5]
    z = norm.isf(np.array([2 / 70, 2 / 252]) / 2)
    assert comparison.p == pytest.approx(2 * norm.sf((z**-2.0).sum() ** -0.5))
    (said,) = words._unpaired(comparison)
    assert f"no combinations of {listed(comparison.sources)} in common" in said


def test_seeds_within_splits_are_averaged_and_splits_are_tested():
    rng = np.random.default_rng(0)
    rates, splits = np.repeat([0.1, 1.0], 24), np.tile(np.repeat(np.arange(8), 3), 2)
    losses = 1.0 + rng.random(48) - 0.4 * (rates == 1.0)
    found = group(frame(
        lr=rates, data__split_seed=splits, seed=np.tile(np.arange(24), 2), final_loss=losses,
        data__test_fraction=[0.25] * 48,
    ))  # fmt: skip
    (comparison,) = find(found, FINAL_LOSS, 0).comparisons
    differences = (losses[24:] - losses[:24]).reshape(8, 3)
    expected = permutation.signed_rank_test(np.median(differences, axis=1))
    assert comparison.n_units == {"split": 8}
    assert comparison.p == pytest.approx(expected)
    assert comparison.sd == pytest.approx(np.median(differences, axis=1).std(ddof=1))


def test_combined_p_values_are_those_of_the_sum_of_the_variances():
    difference, variances = 2.0, (0.5, 0.3, 0.2)
    alone = [2 * norm.sf(difference / math.sqrt(v)) for v in variances]
    expected = 2 * norm.sf(difference / math.sqrt(sum(variances)))
    assert permutation.combined(alone) == pytest.approx(expected)
    assert permutation.combined([0.001, 1.0]) == 1.0


@pytest.mark.parametrize("of_seed", [0.0, 1.0])
def test_equal_settings_are_seldom_called_different_over_splits_and_seeds(of_seed):
    design = simulations.Crossing(8, 12, of_split=1.0, of_seed=of_seed)
    ours, of_runs = simulations.crossed_positives(design, 80, np.random.default_rng(1))
    assert ours <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 80)
    assert of_runs > 0.2


# Shares of the variance.


def mean_squares(values):
    """The components of a complete crossing of two sources by the analysis of variance."""
    a, b = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    of_rest = (rest**2).sum() / ((a - 1) * (b - 1))
    return {
        "a": rows.var(ddof=1) - of_rest / b, "b": columns.var(ddof=1) - of_rest / a, "": of_rest,
    }  # fmt: skip


def test_shares_of_a_complete_crossing_are_those_of_the_analysis_of_variance():
    values = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(6)
    of_a, of_b = np.divmod(np.arange(24), 6)
    found = components.shares(values.ravel(), {"a": of_a, "b": of_b})
    expected = mean_squares(values)
    total = sum(expected.values())
    assert found == pytest.approx({name: part / total for name, part in expected.items()})


@pytest.mark.slow
@pytest.mark.parametrize("is_nested", [False, True])
def test_shares_recover_known_components(is_nested):
    rng, sums = np.random.default_rng(0), []
    split, seed = np.divmod(np.arange(48), 6)
    for _ in range(400):
        settings = np.repeat([0.0, 2.0], 48)
        of_split, of_seed = rng.normal(size=8)[split], 2.0 * rng.normal(size=6)[seed]
        rest = rng.normal(size=96) + (2.0 * rng.normal(size=96) if is_nested else 0.0)
        values = settings + np.tile(of_split, 2) + rest
        values += 0.0 if is_nested else np.tile(of_seed, 2)
        levels = {components.SETTINGS: np.repeat([0, 1], 48), "split": np.tile(split, 2)}
        if not is_nested:
            levels["seed"] = np.tile(seed, 2)
        found = components.shares(values, levels)
        sums.append([found[name] for name in (components.SETTINGS, "split", components.REST)])
    # Variances: settings 1, split 1, seed 4 (nested: within the rest), the rest 1.
    expected = [1 / 7, 1 / 7, 5 / 7 if is_nested else 1 / 7]
    if not is_nested:
        # A ratio of estimates is biased; with six seeds by about a tenth of its value.
        np.testing.assert_allclose(np.median(sums, axis=0), expected, rtol=0.5)
    else:
        np.testing.assert_allclose(np.mean(sums, axis=0), expected, atol=0.04)


@pytest.fixture
def store(put_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)


CANCER = {
    "data": "breast_cancer", "model": "classifier", "hidden": 2, "epochs": 15, "backend": "serial",
}  # fmt: skip


@pytest.mark.usefixtures("store")
def test_a_report_says_what_the_split_contributes_and_that_two_splits_decide_nothing():
    table = bpexp.sweep(lr=[0.001, 0.003], seed=range(4), data__split_seed=[0, 1], **CANCER)
    report = bpexp.report("latest", measure="test_loss", allow_test=True)
    (sentence,) = [s for s in report.effect_sentences if s.startswith("Of the variance")]
    assert "the settings" in sentence
    assert "the split" in sentence
    assert "estimated from 4 seeds and 2 splits: " in sentence
    values = np.log(table["test_loss"].to_numpy().reshape(2, 4, 2))
    parts = [mean_squares(one) for one in values]
    within = sum(sum(part.values()) for part in parts) / 2
    found = {share.name: share.estimate for share in report.variance.shares}
    ratio = np.mean([part["b"] for part in parts]) / within
    assert found["the split"] / (1 - found["the settings"]) == pytest.approx(ratio)
    assert "no pair of groups can reach p < 0.05; 9 seeds and 9 splits could" in report.answer
    assert "Bouthillier et al. (2021)" in report.answer
    assert "All runs share one split" not in report.answer


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_report_on_one_split_says_that_it_holds_for_that_split():
    bpexp.sweep(lr=[0.001, 0.003], seed=range(6), data__split_seed=3, **CANCER)
    answer = bpexp.report("latest").answer
    assert "All runs share one split of the data (data.split_seed=3)" in answer
    command = "zip(seed=range(0,20),data.split_seed=range(0,20))"
    assert command in answer
    bpexp.sweep(command.replace("20", "6"), lr=[0.001, 0.003], **CANCER)
    report = bpexp.report("latest")
    (comparison,) = report.findings.comparisons
    assert comparison.n_units == {"replicate": 6}
    assert "With the same seed and split" in report.answer
    assert "Bouthillier" in report.answer


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_seeds_of_their_own_are_replicates_in_tables_and_reports():
    bpexp.sweep(
        lr=[0.1, 1], model__init_seed=range(3), order_seed=range(2), batch_size=2, epochs=20,
        backend="serial", confirm=2,
    )  # fmt: skip
    report = bpexp.report("latest")
    assert report.findings.grouped.varying.keys() <= {"lr"}
    fresh = bpexp.load_runs(filter="params.seed != '42'")
    # Fresh seeds are not fixed by the seeds of their own that the sweep had.
    assert fresh["params.seed" if "params.seed" in fresh else "seed"].nunique() == 2
    assert fresh["final_loss"].nunique() == len(fresh)


@pytest.mark.parametrize(("batch_size", "counts", "repeated"), [(None, [1, 1], 6), (2, [4, 4], 0)])
def test_the_table_of_a_sweep_counts_the_replicates_of_its_report(batch_size, counts, repeated):
    """Nothing is drawn from the seed of the sample order where there are no batches."""
    settings = [
        {"lr": lr, "order_seed": seed, "batch_size": batch_size}
        for lr, seed in itertools.product((0.5, 1.0), range(4))
    ]
    plan = make_plan([compose_settings(one) for one in settings])
    ranking = rank(
        [Row(job, "completed", "", {"final_loss": 0.5}) for job in plan.jobs], FINAL_LOSS
    )
    assert [len(found.rows) for found in ranking.combinations] == counts
    assert ranking.n_repeated == repeated
    columns = {key.replace("__", "."): [one[key] for one in settings] for key in settings[0]}
    grouped = group(frame(final_loss=[0.5] * 8, **columns))
    assert [len(one) for one in grouped.groups] == counts
    assert grouped.n_repeated == repeated


def test_column_of_replicates_is_equal_for_runs_with_equal_random_numbers():
    found = crossed(2, 3, lambda lr, split, seed: lr + split + seed)
    a, b = found.groups
    np.testing.assert_array_equal(a.column(REPLICATE), b.column(REPLICATE))
    assert a.n_trials == 2
    assert not a.is_independent


@pytest.mark.parametrize(
    ("counts", "n_trials"), [([5] * 10, 10), ([46] + [6] * 9, 4), ([100] + [2] * 9, 1)]
)
def test_intervals_of_shares_hold_if_some_splits_have_more_runs(counts, n_trials):
    codes = np.repeat(np.arange(10), counts)
    assert variation.Unit("split", codes, 10).n_trials == n_trials
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        # All runs of a split are better, or none is.
        wins = (rng.random(10) < 0.5)[codes]
        found = statistics.paired_improvement(0.0 * wins, 2.0 * wins - 1.0, n_trials=n_trials)
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) >= 0.93
