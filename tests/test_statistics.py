"""The statistics agree with published examples and with the definitions of rliable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bpexp.analysis import permutation, statistics, survival
from bpexp.analysis.survival import ConvergenceTimes

# Ten runs of X and eight of Y on three tasks. rliable 1.2.0 returns for these: aggregate_iqm
# 0.528125 and 0.7875; probability_of_improvement of -X over -Y 0.78125, 0.83125, 0.49375 by
# task; run_score_deviation(-X, -tau) 1/15, 1/6, 1/2, 2/3 at the thresholds below.
X = np.array([
    [0.925, 0.625, 0.675], [0.875, 0.575, 0.775], [0.825, 0.225, 0.05], [0.3, 0.275, 0.85],
    [0.9, 0.0, 0.475], [0.8, 0.125, 0.775], [0.1, 0.45, 0.8], [0.3, 0.325, 0.275],
    [0.7, 0.25, 0.975], [0.425, 0.475, 0.5],
])  # fmt: skip
Y = np.array([
    [0.825, 0.8, 0.75], [1.225, 1.05, 1.025], [0.95, 0.85, 0.575], [1.225, 0.7, 0.45],
    [1.075, 0.4, 1.1], [0.85, 0.35, 0.275], [0.675, 0.275, 0.375], [0.75, 1.2, 0.7],
])  # fmt: skip

scores = st.lists(st.floats(-1e6, 1e6) | st.just(np.inf), min_size=1, max_size=12).map(np.array)


def test_interquartile_mean_equals_that_of_rliable():
    assert statistics.interquartile_mean(X) == pytest.approx(0.528125, abs=1e-12)
    assert statistics.interquartile_mean(Y) == pytest.approx(0.7875, abs=1e-12)
    # A quarter of 30 values, rounded down, is 7 at each end.
    assert statistics.interquartile_mean(X) == pytest.approx(np.sort(X.ravel())[7:-7].mean())


def test_probability_of_improvement_equals_that_of_rliable():
    found = [statistics.probability_of_improvement(X[:, t], Y[:, t]) for t in range(3)]
    assert found == pytest.approx([0.78125, 0.83125, 0.49375], abs=1e-12)
    assert statistics.probability_of_improvement(X[:, 0], X[:, 0]) == 0.5


def test_performance_profile_equals_that_of_rliable_except_for_ties():
    # rliable counts scores above a threshold; here a score equal to it counts, too.
    thresholds = np.array([0.1, 0.25, 0.5, 0.75])
    equal = [(t == X).mean() for t in thresholds]
    rliable = np.array([1 / 15, 1 / 6, 1 / 2, 2 / 3])
    assert statistics.performance_profile(X, thresholds) == pytest.approx(rliable + equal)


@given(scores, scores)
def test_probability_of_improvement_counts_ties_as_one_half(a, b):
    pairs = [(x < y) + 0.5 * (x == y) for x in a for y in b]
    assert statistics.probability_of_improvement(a, b) == pytest.approx(np.mean(pairs))


def test_improvement_interval_agrees_with_resampling_the_runs():
    found = statistics.improvement_interval(X[:, 0], Y[:, 0], seed=0)
    rng = np.random.default_rng(99)
    drawn = [
        np.less.outer(rng.choice(X[:, 0], 10), rng.choice(Y[:, 0], 8)).mean()
        for _ in range(4000)
    ]  # fmt: skip
    ends = np.quantile(drawn, [0.025, 0.975])
    assert found.estimate == 0.78125
    assert (found.low, found.high) == pytest.approx(ends, abs=0.03)


def test_wilson_interval_equals_published_values():
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    assert statistics.wilson(81, 263) == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(15, 148) == pytest.approx((15 / 148, 0.0624, 0.1605), abs=5e-5)
    assert statistics.wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)
    assert statistics.wilson(1, 29) == pytest.approx((1 / 29, 0.0061, 0.1718), abs=5e-5)


def test_holm_adjusts_p_values_step_by_step():
    # 3 * 0.01, then 2 * 0.02, then 1 * 0.04, not less than the one before.
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([0.01, 0.02], n_hypotheses=10) == pytest.approx([0.1, 0.18])
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_and_the_bonferroni_values(p):
    for raw, adjusted in zip(p, statistics.holm(p), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p)) + 1e-12


def test_seeds_needed_follows_noether():
    # (1.959964 + 0.841621)^2 = 7.848880; / (6 * 0.04) = 32.7; / (6 * 0.25) = 5.2.
    assert statistics.seeds_needed(0.7) == 33
    assert statistics.seeds_needed(0.3) == 33
    assert statistics.seeds_needed(1.0) == 6
    assert statistics.seeds_needed(0.5) == np.inf


def test_seeds_needed_account_for_the_number_of_comparisons():
    # The first of 66 Holm steps has the level 0.05 / 66: (3.364640 + 0.841621)^2 = 17.692632.
    assert statistics.seeds_needed(0.7, n_comparisons=66) == 74  # 17.692632 / 0.24 = 73.7
    # Noether (1987) for power 0.8 at the two-sided level 0.01: (2.575829 + 0.841621)^2 / 0.24.
    assert statistics.seeds_needed(0.7, n_comparisons=5) == 49  # 11.678964 / 0.24 = 48.7


def test_seeds_needed_give_a_power_of_80_percent():
    # For two normal groups with means a distance d apart, P = Phi(d / sqrt 2).
    shift = 1.0
    n = int(statistics.seeds_needed(float(norm.cdf(shift / np.sqrt(2)))))
    rng = np.random.default_rng(1)
    found = [
        permutation.rank_sum_test(rng.normal(0, 1, n), rng.normal(shift, 1, n)) < 0.05
        for _ in range(1000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_expected_best_of_two_is_the_mean_over_all_pairs():
    values = np.array([0.3, 0.1, 0.7, 0.2])
    pairs = np.minimum.outer(values, values).mean()
    triples = np.minimum.outer(values, np.minimum.outer(values, values)).mean()
    found = statistics.expected_best(values, [1, 2, 3, 1000])
    assert found == pytest.approx([values.mean(), pairs, triples, 0.1])


def test_expected_best_replaces_infinity_by_the_worst_finite_score():
    found = statistics.expected_best(np.array([1.0, np.inf, 3.0]), [1])
    assert found == pytest.approx([7 / 3])
    assert statistics.expected_best(np.array([np.inf]), [1, 2]).tolist() == [np.inf, np.inf]


def test_bootstrap_interval_of_the_mean_approaches_the_normal_interval():
    sample = np.random.default_rng(3).normal(5.0, 2.0, 4000)
    found = statistics.bootstrap(sample, np.mean, seed=0)
    half = 1.959964 * sample.std() / np.sqrt(4000)
    assert found.estimate == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.15 * half)


def test_the_same_seed_gives_the_same_interval():
    first, again, other = (
        statistics.bootstrap(X[:, 0], statistics.interquartile_mean, seed) for seed in (4, 4, 5)
    )
    assert first == again
    assert first != other


def test_a_diverged_run_makes_the_mean_infinite_but_not_the_median():
    sample = np.array([1.0, 2.0, np.inf, 3.0, 4.0])
    assert statistics.bootstrap(sample, np.mean, seed=0).estimate == np.inf
    median = statistics.bootstrap(sample, np.median, seed=0)
    assert median.estimate == 3.0
    assert np.isfinite(median.low)
    assert statistics.bootstrap(sample, statistics.interquartile_mean, 0).estimate == 3.0


def test_one_run_has_an_estimate_and_no_interval():
    found = statistics.bootstrap(np.array([2.0]), np.median, seed=0)
    assert found.estimate == 2.0
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(statistics.improvement_interval(np.array([1.0]), X[:, 0], 0).low)


def test_difference_is_the_first_group_minus_the_second():
    found = statistics.difference(X[:, 0], Y[:, 0], np.median, seed=0)
    assert found.estimate == pytest.approx(0.75 - 0.9)
    assert found.low < found.estimate < found.high


# Freireich et al. (1963): weeks in remission, 6-MP against placebo. Collett and most
# textbooks give median 23 against 8 and a log-rank chi-square of 16.79.
TREATED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
STILL_WELL = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def remissions():
    treated = ConvergenceTimes(
        np.array(TREATED + STILL_WELL, dtype=float),
        np.arange(21) < len(TREATED),
    )
    return treated, ConvergenceTimes(np.array(PLACEBO, dtype=float), np.ones(21, dtype=bool))


def test_kaplan_meier_equals_the_textbook_example():
    treated, placebo = (survival.kaplan_meier(times) for times in remissions())
    at = dict(zip(treated.epochs.tolist(), treated.share.tolist(), strict=True))
    assert at[6] == pytest.approx(1 - 0.857, abs=5e-4)
    assert at[10] == pytest.approx(1 - 0.753, abs=5e-4)
    assert at[23] == pytest.approx(1 - 0.448, abs=5e-4)
    assert survival.median(treated) == (23.0, 13.0, np.inf)  # R: survfit, conf.type="log-log"
    assert survival.median(placebo)[0] == 8.0


def test_groups_without_converged_runs_have_no_median():
    never = ConvergenceTimes(np.full(5, 100.0), np.zeros(5, dtype=bool))
    assert survival.median(survival.kaplan_meier(never)).estimate == np.inf


def test_restricted_mean_without_censoring_equals_the_mean():
    epochs = np.array([3.0, 8.0, 10.0, 40.0])
    curve = survival.kaplan_meier(ConvergenceTimes(epochs, np.ones(4, dtype=bool)))
    assert survival.restricted_mean(curve, 40.0) == pytest.approx((epochs.mean(), epochs.std()))
    cut = np.minimum(epochs, 9.0)
    assert survival.restricted_mean(curve, 9.0) == pytest.approx((cut.mean(), cut.std()))


def test_the_interval_of_a_median_covers_it_and_is_absent_below_six_values():
    assert np.isnan(statistics.median_interval(np.arange(5.0))[1:]).all()
    # Conover (1999), table A3: for n = 6 the extremes, for n = 20 the 6th and the 15th value.
    assert statistics.median_interval(np.arange(6.0)) == (2.5, 0.0, 5.0)
    assert statistics.median_interval(np.arange(1.0, 21.0)) == (10.5, 6.0, 15.0)
    rng = np.random.default_rng(5)
    for n in (6, 10, 25):
        drawn = [statistics.median_interval(rng.lognormal(0, 2, n)) for _ in range(1500)]
        assert np.mean([found.low <= 1.0 <= found.high for found in drawn]) >= 0.94


def test_paired_improvement_is_a_share_of_pairs_with_the_interval_of_wilson():
    a, b = np.array([1.0, 2.0, 3.0, np.inf]), np.array([2.0, 3.0, 1.0, np.inf])
    found = statistics.paired_improvement(a, b)
    # Two wins, a loss and a tie.
    assert found.estimate == 2.5 / 4
    won = np.arange(20.0) + np.where(np.arange(20) < 15, 1, -1)
    assert statistics.paired_improvement(np.arange(20.0), won) == statistics.wilson(15, 20)
    assert statistics.paired_differences(a, b).tolist() == [-1, -1, 2, 0]
