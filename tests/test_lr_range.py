"""``search=lr_range``: the learning rate from which on training diverges, and the best one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.analysis.lr_range import LrRange, Replicates, best_rate, diverges, threshold
from bpexp.runs.objective import objectives
from bpexp.sweeps.samplers.lr_range import rates

LOSS = objectives()["final_loss"]
SEEDS = Replicates("9 seeds")


@given(st.floats(1e-6, 10), st.floats(1.5, 1e6), st.integers(2, 60))
def test_rates_are_ascending_and_have_equal_ratios(low, ratio, count):
    found = rates(low, low * ratio, count)
    assert len(found) == count
    assert (found[0], found[-1]) == (low, low * ratio)
    assert all(a < b for a, b in itertools.pairwise(found))
    np.testing.assert_allclose(found, np.geomspace(low, low * ratio, count), rtol=0.006)


@pytest.mark.slow
def test_a_linear_unit_diverges_from_two_over_the_largest_curvature_on(
    tmp_path, monkeypatch, put_store
):
    """Gradient descent on a quadratic loss converges below 2 / lambda_max and diverges above it.

    The gradient is that of the sum of the squared errors over the samples, by half.
    """
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    rng = np.random.RandomState(5)
    X = rng.normal(size=(40, 2)) * [3.0, 1.0] + [0.5, -0.2]
    table = bpexp.sweep(
        data=(X, X @ [1.5, -2.0] + 0.3), data__standardize=False, data__scale_target=False,
        model="regressor", hidden=[[]], search="lr_range", lr="tag(log,interval(5e-4,5e-2))",
        search__trials=41, search__generation=41, seed=range(8), epochs=400, backend="serial",
    )  # fmt: skip
    assert table["lr"].nunique() == 41
    inputs = np.column_stack([X, np.ones(len(X))])
    largest = np.linalg.eigvalsh(inputs.T @ inputs).max()
    report = bpexp.report("latest")
    found = report.lr_range
    assert found.threshold.low <= 2.0 / largest <= found.threshold.high
    # Neighboring rates have a ratio of 10^(2 / 40).
    assert found.threshold.high / found.threshold.low < 1.14
    assert found.best.low <= found.best.estimate <= found.best.high < found.threshold.low
    assert found.sentence in report.answer
    assert {"lr_range"} <= report.figures.keys()
    assert not {"history", "slices"} & report.figures.keys()


def test_the_interval_of_the_threshold_holds_in_simulations():
    """Thresholds of seeds that are drawn from a lognormal distribution, with median 1."""
    rng, grid = np.random.RandomState(1), np.geomspace(0.05, 20.0, 41)
    covered = 0
    for _ in range(400):
        diverges = grid[:, None] >= np.exp(0.5 * rng.normal(size=12))
        found = threshold(grid, diverges)
        covered += found.low <= 1.0 <= found.high
        assert found.low < found.estimate < found.high
    assert covered >= 0.95 * 400


@pytest.mark.long
def test_the_interval_of_the_best_rate_holds_in_simulations():
    """Losses with the lowest median at the rate 1, and seeds that prefer other rates."""
    rng, grid = np.random.RandomState(2), np.geomspace(0.1, 10.0, 21)
    covered = 0
    for _ in range(200):
        optimum = 0.6 * rng.normal(size=15)
        scores = (np.log(grid)[:, None] - optimum) ** 2 + 0.3 * rng.normal(size=(21, 15)) ** 2
        found = best_rate(grid, scores, LOSS, np.inf)
        covered += found.low <= 1.0 + 1e-9 and found.high >= 1.0 - 1e-9
    assert covered >= 0.93 * 200


def test_a_threshold_outside_of_the_rates_is_open():
    grid, n = np.array([0.1, 1.0]), 9
    none = LrRange.of(grid, np.zeros((2, n), bool), np.zeros((2, n)), LOSS, SEEDS)
    assert (none.threshold.low, none.threshold.high) == (1.0, np.inf)
    assert "training diverges at none of them for most seeds (95% interval: above 1)" in (
        none.sentence
    )
    is_not_finite = diverges(np.full((2, n), np.nan), np.ones(n))
    every = LrRange.of(grid, is_not_finite, np.full((2, n), np.inf), LOSS, SEEDS)
    assert (every.threshold.low, every.threshold.high) == (0.0, 0.1)
    assert "at all of them" in every.sentence
    assert "no rate has a finite final loss" in every.sentence


def test_of_an_even_number_of_seeds_the_smaller_one_in_the_middle_counts():
    grid = np.array([0.1, 1.0, 10.0])
    never, from_1, always = np.array([[0, 0, 0], [0, 1, 1], [1, 1, 1]], bool)
    half = np.array([from_1, from_1, never, never]).T
    assert threshold(grid, half).estimate == pytest.approx(np.sqrt(0.1))
    found = LrRange.of(grid, half, np.ones((3, 4)), LOSS, SEEDS)
    assert "training diverges from lr=0.3162 on" in found.sentence
    mirrored = np.array([from_1, from_1, always, always]).T
    assert threshold(grid, mirrored).estimate == 0.0
    found = LrRange.of(grid, mirrored, np.ones((3, 4)), LOSS, SEEDS)
    assert "at all of them for at least half of the seeds" in found.sentence
    most = np.array([from_1, from_1, never, never, never]).T
    assert threshold(grid, most).estimate == np.inf


def test_a_best_rate_at_an_end_is_said_to_be_there():
    grid = np.array([0.1, 1.0, 10.0])
    for best, end in enumerate([", the smallest rate that was tried.", ").", ", the largest rate"]):
        losses = np.where(np.arange(3) == best, 0.1, 0.2)[:, None] * np.ones(9)
        found = LrRange.of(grid, losses > 1.0, losses, LOSS, SEEDS)
        assert end in found.sentence.rpartition("lowest")[2]


@pytest.mark.parametrize("n", [1, 5, 6])
def test_few_seeds_give_no_interval(n):
    """The smallest and largest of 5 values enclose the median with probability 1 - 2 / 32 only."""
    grid = np.geomspace(0.1, 10.0, 5)
    losses = np.array([0.3, 0.2, 0.1, 2.0, 2.0])[:, None] * np.ones(n)
    found = LrRange.of(grid, losses > 1.0, losses, LOSS, Replicates(f"{n} seeds"))
    assert ("95% interval" in found.sentence) == (n == 6)
    assert ("Too few seeds for an interval: it needs 6" in found.sentence) == (n < 6)
    assert found.best.has_bounds == found.threshold.has_bounds == (n == 6)


def test_folds_are_no_independent_seeds(tmp_path, monkeypatch, put_store):
    monkeypatch.chdir(tmp_path)
    put_store(tmp_path)
    bpexp.sweep(
        data="iris", model="classifier", data__folds=3, seed=range(2), search="lr_range",
        search__trials=3, epochs=3, backend="serial",
    )  # fmt: skip
    said = bpexp.report("latest").lr_range.sentence
    assert "over 6 replicates (" in said
    assert "95% interval" not in said
    assert said.endswith("The rates have no interval, because runs share seeds and folds.")


def test_the_program_ends_with_both_rates(inside, a_store):
    done = inside("-m", "search=lr_range", "search.trials=6", "seed=range(0,6)", "epochs=20")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("Of 6 learning rates from 0.0001 to 10 over 6 seeds: training diverges")
    assert "lowest median final loss at lr=" in last
    assert inside("resume", "latest").stdout.splitlines()[-1] == last
    assert "6 of 6 trials proposed again." in inside("reproduce", "latest").stdout
    done = inside("extend", "latest", "search.trials=12")
    assert done.returncode == 2
    assert "start a new sweep" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hidden=2,3"], "searches an interval of learning rates above 0 and nothing else"),
        (["lr=0.1,1"], "searches an interval of learning rates above 0 and nothing else"),
        (["lr=interval(0,1)"], "searches an interval of learning rates above 0 and nothing else"),
        (["lr=0.1"], "needs a setting to search"),
        (["search.trials=1"], "search.trials must be at least 2"),
        (["tracking.runs=false"], "tracking.runs must be true with search=lr_range"),
        (["search.halving=2", "search.min_epochs=3"], "search.halving must be null with search=lr"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(refused, arguments, message):
    assert message in refused("-m", "search=lr_range", "seed=0,1", *arguments)
