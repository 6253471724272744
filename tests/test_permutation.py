"""The permutation tests equal SciPy's exact tests and the enumeration of all permutations."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bpexp.analysis import permutation

small = st.lists(st.integers(-9, 9), min_size=1, max_size=9).map(lambda v: np.array(v, dtype=float))
group = st.lists(st.integers(0, 9), min_size=2, max_size=5).map(lambda v: np.array(v, dtype=float))


def all_signs(weights, observed):
    flips = np.array([*itertools.product((-1, 1), repeat=len(weights))])
    return np.mean(np.abs(flips @ weights) >= abs(observed) - 1e-9)


def all_labels(values, n):
    sums = np.array([sum(chosen) for chosen in itertools.combinations(values, n)])
    expected = n * np.mean(values)
    return np.mean(np.abs(sums - expected) >= abs(sum(values[:n]) - expected) - 1e-9)


@given(small)
def test_tests_of_pairs_equal_the_enumeration_of_all_signs(differences):
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    expected = all_signs(ranks, (ranks * np.sign(nonzero)).sum()) if len(nonzero) else 1.0
    assert permutation.signed_rank_test(differences) == pytest.approx(expected)
    assert permutation.sign_flip_test(differences) == pytest.approx(
        all_signs(np.abs(nonzero), nonzero.sum()) if len(nonzero) else 1.0
    )


@given(group, group)
def test_tests_of_two_groups_equal_the_enumeration_of_all_labels(a, b):
    both = np.concatenate([a, b])
    ranks = stats.rankdata(both)
    assert permutation.rank_sum_test(a, b) == pytest.approx(all_labels(ranks, len(a)))
    assert permutation.mean_test(a, b) == pytest.approx(all_labels(both, len(a)))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (9, 9), (25, 25), (5, 20), (60, 3)])
def test_rank_tests_without_ties_equal_the_exact_tests_of_scipy(n, m):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0, 1, n), rng.normal(0.7, 1, m)
    expected = stats.mannwhitneyu(a, b, method="exact").pvalue
    assert permutation.rank_sum_test(a, b) == pytest.approx(expected, rel=1e-9)
    assert permutation.signed_rank_test(a - 0.2) == pytest.approx(
        stats.wilcoxon(a - 0.2, method="exact").pvalue, rel=1e-9
    )


def test_approximations_for_large_samples_agree_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 400), rng.normal(0.15, 1, 300)
    expected = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False).pvalue
    assert permutation.rank_sum_test(a, b) == pytest.approx(expected, rel=1e-9)
    expected = stats.wilcoxon(a - 0.1, method="asymptotic").pvalue
    assert permutation.signed_rank_test(a - 0.1) == pytest.approx(expected, rel=1e-6)
    assert permutation.mean_test(a, b) == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=0.05)
    assert permutation.sign_flip_test(a - 0.1) == pytest.approx(
        stats.ttest_1samp(a - 0.1, 0).pvalue, rel=0.05
    )


def test_rounding_to_the_grid_changes_p_values_little_and_keeps_separation():
    rng = np.random.default_rng(1)
    for n in (6, 9, 11):
        differences = rng.lognormal(9, 1, n) * rng.choice([-1, 1], n, p=[0.2, 0.8])
        exact = all_signs(np.abs(differences), differences.sum())
        assert permutation.sign_flip_test(differences) == pytest.approx(exact, abs=0.003)
    a, b = rng.lognormal(9, 1, 6), rng.lognormal(9.5, 1, 6)
    exact = all_labels(np.concatenate([a, b]), 6)
    assert permutation.mean_test(a, b) == pytest.approx(exact, abs=0.005)
    outlier = np.array([6.0, 7.0, 8.0, 9.0, 1e9])
    assert permutation.sign_flip_test(outlier) == 2 / 2**5
    assert permutation.mean_test(outlier - 5.0, -outlier) == pytest.approx(2 / 252)


def test_complete_separation_gives_the_smallest_p_value():
    for n in (3, 8, 9, 20):
        low, high = np.arange(n) * 1.0, np.arange(n) + 100.0
        separated = permutation.smallest_p(n, n, is_paired=False)
        assert permutation.rank_sum_test(low, high) == pytest.approx(separated)
        assert permutation.mean_test(low, high) == pytest.approx(separated)
        paired = permutation.smallest_p(n, n, is_paired=True)
        assert permutation.signed_rank_test(low - high) == paired == 2 / 2**n
        assert permutation.sign_flip_test(low - high) == paired
    assert permutation.smallest_p(3, 3, is_paired=False) == pytest.approx(0.1)


@given(group, group)
def test_no_p_value_is_below_the_smallest_one(a, b):
    smallest = permutation.smallest_p(len(a), len(b), is_paired=False)
    for test in (permutation.rank_sum_test, permutation.mean_test):
        assert test(a, b) >= smallest * (1.0 - 1e-12)


def test_unequal_groups_may_have_one_assignment_that_is_the_most_extreme():
    skewed = np.array([100.0, 101.0, 102.0]), np.array([1.0, 2.0, 3.0, 4.0])
    tied = np.array([1.0, 2.0, 3.0]), np.full(4, np.inf)
    assert all_labels(np.concatenate(skewed), 3) == pytest.approx(1 / 35)
    assert permutation.smallest_p(3, 4, is_paired=False) == pytest.approx(1 / 35)
    assert permutation.mean_test(*skewed) == pytest.approx(1 / 35)
    assert permutation.rank_sum_test(*tied) == pytest.approx(1 / 35)


def test_the_smallest_p_value_of_large_groups_is_a_number():
    # C(1200, 600) is larger than any float.
    assert permutation.smallest_p(600, 600, is_paired=False) == 0.0
    assert permutation.combined([0.0, 0.0]) == 0.0


def test_an_infinite_score_ranks_above_every_other():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([4.0, np.inf, np.inf])
    assert permutation.rank_sum_test(a, b) == pytest.approx(0.1)
    assert permutation.signed_rank_test(np.array([-1.0, -np.inf, -np.inf])) == 0.25


def test_replicates_needed_is_the_smallest_number_that_can_be_significant():
    # 5 * 2 / 2^8 = 0.039, 5 * 2 / 2^7 = 0.078; 5 * 2 / C(10, 5) = 0.040, 5 * 2 / C(8, 4) = 0.143.
    assert permutation.replicates_needed(5, is_paired=True) == 8
    assert permutation.replicates_needed(5, is_paired=False) == 5
    assert permutation.replicates_needed(1, is_paired=True) == 6
    assert permutation.replicates_needed(1, is_paired=False) == 4


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 4, 5, 7, 10])
def test_equal_groups_differ_significantly_in_at_most_5_percent(n):
    rng = np.random.default_rng(n)
    trials = 1500
    times = np.minimum(rng.geometric(0.02, (trials, 2, n)), 80).astype(float)
    losses = rng.lognormal(0, 1.5, (trials, 2, n)).round(1)
    rejected = {
        "mean": np.mean([permutation.mean_test(a, b) <= 0.05 for a, b in times]),
        "sign flip": np.mean([permutation.sign_flip_test(a - b) <= 0.05 for a, b in times]),
        "rank sum": np.mean([permutation.rank_sum_test(a, b) <= 0.05 for a, b in losses]),
        "signed rank": np.mean([permutation.signed_rank_test(a - b) <= 0.05 for a, b in losses]),
    }
    # Three standard errors of 1,500 trials are 1.7 percentage points.
    assert max(rejected.values()) <= 0.067, rejected
