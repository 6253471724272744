"""The number of seeds to detect a difference is planned from the spread; simulations confirm it."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, nct, t
from test_report import built, by_lr

from bpexp.analysis import permutation
from bpexp.analysis.planning import NamedDifference, replicates_to_detect, upper_limit
from bpexp.fields.checks import ConfigError


def power(n, shift, draw, n_comparisons, *, is_paired, is_ranked, rng):
    """The share of 150 simulated experiments in which the test of the reports is significant."""
    if is_paired:
        test = permutation.signed_rank_test if is_ranked else permutation.sign_flip_test
        p = [test(draw(rng, n) + shift) for _ in range(150)]
    else:
        test = permutation.rank_sum_test if is_ranked else permutation.mean_test
        p = [test(draw(rng, n) + shift, draw(rng, n)) for _ in range(150)]
    return np.mean(np.array(p) < 0.05 / n_comparisons)


@pytest.mark.slow
@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("is_ranked", [True, False])
@pytest.mark.parametrize(("n_comparisons", "shift"), [(1, 1.5), (6, 1.2)])
def test_the_planned_number_has_the_power_that_is_promised(
    n_comparisons, shift, is_ranked, is_paired
):
    n = replicates_to_detect(shift, 1.0, n_comparisons, is_paired=is_paired, is_ranked=is_ranked)
    case = {"is_paired": is_paired, "is_ranked": is_ranked, "rng": np.random.default_rng(7)}

    def normal(rng, n):
        return rng.normal(size=n)

    def laplace(rng, n):
        return rng.laplace(scale=math.sqrt(0.5), size=n)

    # Two standard errors of a simulated share of 80% are 6.5 percentage points.
    assert power(n, shift, normal, n_comparisons, **case) > 0.735
    assert power(n, shift, laplace, n_comparisons, **case) > 0.735
    assert power(n // 2, shift, normal, n_comparisons, **case) < 0.7


@pytest.mark.parametrize("ratio", [0.3, 0.5, 1.0])
def test_without_ranks_it_is_the_number_of_the_t_test(ratio):
    n = replicates_to_detect(ratio, 1.0, 1, is_paired=True, is_ranked=False)

    def exact(n):
        limit = t.isf(0.025, n - 1)
        return nct.sf(limit, n - 1, ratio * math.sqrt(n)) + nct.cdf(-limit, n - 1, ratio * n**0.5)

    expected = next(n for n in range(3, 500) if exact(n) >= 0.8)
    assert 0 <= n - expected <= 1


def test_the_limit_of_the_standard_deviation_is_above_the_true_one_in_80_percent_of_samples():
    rng = np.random.default_rng(3)
    for n in (3, 5, 20):
        sds = rng.normal(size=(4000, n)).std(axis=1, ddof=1)
        limits = sds * upper_limit(1.0, n - 1)
        assert np.mean(limits > 1.0) == pytest.approx(0.8, abs=0.025)
    assert upper_limit(2.0, 9) == pytest.approx(2.0 * math.sqrt(9 / chi2.ppf(0.2, 9)))


def test_a_report_says_how_many_seeds_detect_a_named_difference():
    rng = np.random.default_rng(0)
    first = rng.normal(10.0, 1.0, 12)
    second = first + 0.2 + rng.normal(0.0, 0.5, 12)
    frame = by_lr({0.1: list(first), 1: list(second)})
    made = built(frame, detect=NamedDifference.parse("5%"))
    size = 0.05 * min(np.median(first), np.median(second))
    sd = upper_limit(float(np.std(first - second, ddof=1)), 11)
    n = replicates_to_detect(size, sd, 1, is_paired=True, is_ranked=True)
    assert f"difference of 5% in final loss ({size:.4g}) between the first two" in made.answer
    assert f"in 80% of cases, plan {n} seeds: by the formula" in made.answer
    assert f"standard deviation of {sd:.4g} (80% upper limit)" in made.answer
    absolute = built(frame, detect=NamedDifference(size, is_percent=False))
    assert f"plan {n} seeds" in absolute.answer
    assert "seeds: by the formula" not in built(frame).answer
    # It depends on the spread alone, not on the difference that was observed.
    moved = by_lr({0.1: list(first), 1: list(second + 3.0)})
    assert built(moved, detect=NamedDifference(size, is_percent=False)).plan == absolute.plan


@pytest.mark.parametrize("text", ["0", "-1", "0%", "ten", "", "nan", "inf%"])
def test_a_difference_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--detect must be a difference above 0, such as 10% or"):
        NamedDifference.parse(text)


def test_a_plan_needs_two_groups_and_a_value_that_percent_refers_to():
    ten = NamedDifference.parse("10%")
    with pytest.raises(ConfigError, match="--detect needs at least two groups"):
        built(by_lr({0.1: [0.1, 0.2, 0.3]}), detect=ten)
    with pytest.raises(ConfigError, match="--detect must be a number without %"):
        built(by_lr({0.1: [0.0, 0.0, 0.0], 1: [0.1, 0.2, 0.3]}), detect=ten)
    diverged = by_lr({0.1: [0.1, 0.2, 0.3], 1: [0.1, 0.2, math.inf]})
    assert "No number of seeds can be planned" in built(diverged, detect=ten).answer
