"""The statistics agree with published examples and with the definitions of rliable."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, beta, binomtest, ecdf

from bpexp.analysis import intervals, permutation, statistics, survival, words
from bpexp.analysis.intervals import Interval

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


def test_intervals_of_shares_equal_those_of_scipy():
    for successes, n, level in ((0, 5, 0.95), (3, 3, 0.95), (15, 20, 0.95), (7, 60, 0.99)):
        exact = binomtest(successes, n).proportion_ci(level, method="exact")
        found = intervals.share_interval(successes, n, level)
        assert found == pytest.approx((successes / n, exact.low, exact.high))


@given(st.integers(1, 60), st.floats(0.001, 0.999))
def test_intervals_of_shares_of_fractions_are_quantiles_of_beta_distributions(n, share):
    _, low, high = intervals.share_interval(share * n, n)
    assert low == pytest.approx(beta.ppf(0.025, share * n, n - share * n + 1), rel=1e-6, abs=1e-300)
    assert high == pytest.approx(beta.ppf(0.975, share * n + 1, n - share * n), rel=1e-6)


def normal(rng, n):
    return rng.normal(0.0, 1.0, n)


def lognormal(rng, n):
    return rng.lognormal(0.0, 2.0, n)


def stuck(rng, n):
    """Losses of which a quarter is that of a local minimum."""
    return np.where(rng.random(n) < 0.25, 0.25, rng.lognormal(-9.0, 1.0, n))


def accuracies(rng, n):
    return rng.binomial(20, 0.9, n) / 20


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, lognormal, stuck, accuracies])
@pytest.mark.parametrize("n", [3, 6, 10])
def test_intervals_of_improvement_cover_in_small_samples(draw, n):
    rng = np.random.default_rng(n)
    # With the probability 0.1 or 0.01 the first group is not better.
    for probability in (0.9, 0.99):
        a, rest = draw(rng, (300, n)), rng.random((300, n)) >= probability
        b = np.where(rest, -1e3, 1e3) + draw(rng, (300, n))
        for interval in (statistics.paired_improvement, statistics.improvement_interval):
            found = [interval(x, y) for x, y in zip(a, b, strict=True)]
            assert np.mean([one.low <= probability <= one.high for one in found]) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, lognormal, stuck, accuracies])
def test_intervals_of_medians_and_their_differences_cover_in_small_samples(draw):
    rng = np.random.default_rng(7)
    median = np.median(draw(np.random.default_rng(1), 200_001))
    for n in (7, 12):
        a, b = draw(rng, (2, 400, n))
        alone = [intervals.median_interval(x) for x in a]
        between = [intervals.median_difference(x, 2.0 * y) for x, y in zip(a, b, strict=True)]
        tolerance = 0.02 * abs(median)
        for found, true in ((alone, median), (between, -median)):
            covered = [f.low - tolerance <= true <= f.high + tolerance for f in found]
            assert np.mean(covered) >= 0.93


def test_several_intervals_hold_together():
    assert intervals.confidence_of_each(1) == 0.95
    rng = np.random.default_rng(0)
    level = intervals.confidence_of_each(10)
    covered = [
        all(one.low <= 0.0 <= one.high for one in map(median_at(level), rng.normal(size=(10, 12))))
        for _ in range(400)
    ]
    assert np.mean(covered) >= 0.93


def median_at(level):
    return lambda sample: intervals.median_interval(sample, level)


@pytest.mark.slow
def test_the_interval_of_the_best_group_covers_although_the_group_was_selected():
    # The best of 8 equal groups: alone, its interval fails in far more than 5%.
    rng = np.random.default_rng(8)
    best = [min(losses, key=np.median) for losses in rng.lognormal(0, 1.5, (300, 8, 12))]

    def covered(level):
        found = [intervals.median_interval(losses, level) for losses in best]
        return np.mean([one.low <= 1.0 <= one.high for one in found])

    assert covered(0.95) < 0.9
    assert covered(intervals.confidence_of_each(8)) >= 0.93


def test_the_number_of_runs_for_an_interval_of_the_median():
    for level in (0.95, 0.975, 0.99, 0.9975):
        n = intervals.runs_for_median(level)
        assert np.isfinite(intervals.median_interval(np.arange(n * 1.0), level).low)
        assert np.isnan(intervals.median_interval(np.arange(n - 1.0), level).low)


def test_holm_adjusts_p_values_step_by_step():
    # 3 * 0.01, then 2 * 0.02, then 1 * 0.04, not less than the one before.
    assert statistics.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_and_the_bonferroni_values(p):
    for raw, adjusted in zip(p, statistics.holm(p), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p)) + 1e-12


def test_shaffers_factors_are_the_numbers_of_pairs_that_can_be_equal():
    # Of 4 groups there are 6 pairs; if one group differs, 3 pairs of the others can be equal.
    assert statistics.shaffer([0.02, 0.001, 0.03]) == pytest.approx([0.06, 0.006, 0.09])
    assert statistics.shaffer([0.03]) == [0.03]
    assert statistics.shaffer([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 6])
def test_the_best_of_equal_groups_differs_significantly_in_at_most_5_percent(k):
    rng = np.random.default_rng(k)
    n, trials = 12, 300
    errors = 0
    for scores in rng.lognormal(0, 1.5, (trials, k, n)):
        best, *others = scores[np.argsort(np.median(scores, axis=1))]
        paired = [permutation.signed_rank_test(best - other) for other in others]
        unpaired = [permutation.rank_sum_test(best, other) for other in others]
        errors += min(statistics.shaffer(paired)) <= 0.05
        errors += min(statistics.shaffer(unpaired)) <= 0.05
    # Two standard errors of 600 trials are 1.8 percentage points.
    assert errors / (2 * trials) <= 0.068


def test_expected_best_is_the_mean_over_all_sets_of_runs():
    values = np.array([0.3, 0.1, 0.7, 0.2])
    for n in (1, 2, 3, 4):
        sets = [min(chosen) for chosen in itertools.combinations(values, n)]
        assert statistics.expected_best(values, [n]) == pytest.approx([np.mean(sets)])
    # The lowest of 5 of an exponential distribution is 1 / 5 on average.
    rng = np.random.default_rng(0)
    found = [statistics.expected_best(rng.exponential(size=6), [5])[0] for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0.2, abs=0.01)


def test_expected_best_replaces_infinity_by_the_worst_finite_score():
    found = statistics.expected_best(np.array([1.0, np.inf, 3.0]), [1])
    assert found == pytest.approx([7 / 3])
    assert statistics.expected_best(np.array([np.inf]), [1, 2]).tolist() == [np.inf, np.inf]


def test_a_diverged_run_makes_the_upper_end_of_the_interval_infinite():
    sample = np.array([1.0, 2.0, np.inf, 3.0, 4.0, 5.0])
    assert intervals.median_interval(sample) == (3.5, 1.0, np.inf)
    other = np.arange(7.0)
    found = intervals.median_difference(np.append(sample, 6.0), other)
    assert found == (1.0, -5.0, np.inf)
    assert statistics.interquartile_mean(sample) == (2.0 + 3.0 + 4.0 + 5.0) / 4


def test_few_runs_have_an_estimate_and_no_interval():
    found = intervals.median_interval(np.array([2.0]))
    assert found.estimate == 2.0
    assert np.isnan([found.low, found.high]).all()
    assert statistics.improvement_interval(np.array([1.0]), X[:, 0]).low == 0.0


def test_difference_is_the_first_group_minus_the_second():
    found = intervals.median_difference(X[:, 0], Y[:, 0])
    assert found.estimate == pytest.approx(0.75 - 0.9)
    assert found.low < found.estimate < found.high


# Freireich et al. (1963): weeks in remission with placebo. Collett and most textbooks give the
# median 8.
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def test_the_curve_and_the_median_equal_the_textbook_example():
    # Until week 23 nobody leaves the placebo group, so Kaplan and Meier's estimate is a share.
    curve = survival.cumulative_incidence(np.array(PLACEBO, dtype=float))
    at = dict(zip(curve.epochs.tolist(), curve.share.tolist(), strict=True))
    assert (at[5], at[8], at[23]) == pytest.approx((9 / 21, 13 / 21, 1.0))
    exact = binomtest(9, 21).proportion_ci(method="exact")
    index = curve.epochs.tolist().index(5.0)
    assert (curve.low[index], curve.high[index]) == pytest.approx((exact.low, exact.high))
    # The 6th and the 16th of 21 values.
    assert survival.median(np.array(PLACEBO, dtype=float)) == (8.0, 4.0, 12.0)


def test_the_curve_equals_kaplan_and_meiers_of_scipy_where_runs_end_at_the_same_epoch():
    epochs = np.array([3.0, 3.0, 8.0, 20.0, 41.0, 41.0, 77.0])
    curve = survival.cumulative_incidence(np.append(epochs, [np.inf] * 4))
    expected = ecdf(CensoredData(uncensored=epochs, right=np.full(4, 100.0))).cdf
    share = dict(zip(curve.epochs, curve.share, strict=True))
    assert [share[t] for t in expected.quantiles[:-1]] == pytest.approx(expected.probabilities[:-1])


def test_groups_without_converged_runs_have_no_median():
    assert survival.median(np.full(5, np.inf)).estimate == np.inf
    assert survival.median(np.array([1.0, 2.0, np.inf, np.inf])).estimate == 2.0


def test_the_interval_of_a_median_covers_it_and_is_absent_below_six_values():
    assert np.isnan(intervals.median_interval(np.arange(5.0))[1:]).all()
    # Conover (1999), table A3: for n = 6 the extremes, for n = 20 the 6th and the 15th value.
    assert intervals.median_interval(np.arange(6.0)) == (2.5, 0.0, 5.0)
    assert intervals.median_interval(np.arange(1.0, 21.0)) == (10.5, 6.0, 15.0)
    rng = np.random.default_rng(5)
    for n in (6, 10, 25):
        drawn = [intervals.median_interval(rng.lognormal(0, 2, n)) for _ in range(1500)]
        assert np.mean([found.low <= 1.0 <= found.high for found in drawn]) >= 0.94


def test_paired_improvement_is_a_share_of_pairs_with_the_interval_of_a_share():
    a, b = np.array([1.0, 2.0, 3.0, np.inf]), np.array([2.0, 3.0, 1.0, np.inf])
    found = statistics.paired_improvement(a, b)
    # Two wins, a loss and a tie.
    assert found.estimate == 2.5 / 4
    won = np.arange(20.0) + np.where(np.arange(20) < 15, 1, -1)
    found = statistics.paired_improvement(np.arange(20.0), won)
    assert found == intervals.share_interval(15, 20)
    assert statistics.paired_differences(a, b).tolist() == [-1, -1, 2, 0]


def test_an_interval_with_one_infinite_bound_is_shown():
    assert words.interval(Interval(0.5, 0.25, math.inf)) == "0.5 (0.25 to ∞)"
    assert words.interval(Interval(0.5, 0.25, math.inf).negated) == "-0.5 (-∞ to -0.25)"
    for bounds in ((-math.inf, math.inf), (math.nan, math.nan)):
        assert words.interval(Interval(0.5, *bounds)) == "0.5"
