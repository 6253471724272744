"""A quick version of the simulations of ``benchmarks.statistics``, and the page that it writes."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wilcoxon

import bpexp
from benchmarks import statistics
from benchmarks.peers import rliable_intervals
from benchmarks.simulations import (
    grids,
    groups,
    intervals,
    races,
    reports,
    sections,
    splits,
    studies,
)

DOCS = Path(__file__).resolve().parents[1] / "docs"
REPETITIONS = 25


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("is_time", [True, False])
def test_equal_groups_are_seldom_called_different(is_time, is_paired):
    design = groups.Design(4, 8, is_paired, is_time)
    share = groups.false_positives(design, REPETITIONS, np.random.default_rng(1))
    # Three standard errors above 5%.
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.parametrize("name", intervals.INTERVALS)
def test_printed_intervals_cover(name):
    share = intervals.coverage(name, 8, 60, np.random.default_rng(2))
    assert math.isnan(share) or share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


def test_a_study_prints_no_interval_for_few_runs_and_one_that_covers_for_more():
    rng, draw = np.random.default_rng(3), studies.STUDIES["exponential"]
    assert math.isnan(studies.study_coverage(draw, (10, 30), 2, rng))
    covered = studies.study_coverage(draw, (100, 30), 30, rng)
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 30)
    assert studies.study_positives(draw, 1.0, (10, 10), 30, rng) <= 0.17
    assert studies.study_positives(draw, 20.0, (10, 10), 10, rng) >= 0.5


def test_a_study_prints_no_interval_of_very_skewed_values():
    rng, skewed = np.random.default_rng(3), studies.STUDIES["lognormal, sigma 2"]
    assert math.isnan(studies.study_coverage(skewed, (100, 30), 20, rng))
    assert math.isnan(studies.study_positives(skewed, 1.0, (10, 100), 10, rng))


def test_a_report_finds_what_an_unpaired_test_does_not_find():
    report, _, unpaired, rliable = groups.power(20, 1.0, 10, np.random.default_rng(4))
    assert report > unpaired + 0.3
    assert (rliable is None) == (not rliable_intervals.available())


def test_the_page_in_docs_shows_the_stored_simulations():
    stored = json.loads((DOCS / "simulations.json").read_text())
    assert (DOCS / "simulations.md").read_text() == statistics.page(stored)
    # The last column of "crossed" is that of a test that does not hold. Only the last two of
    # "agreements" are of different means.
    for name, columns in (
        ("errors", slice(None)), ("races", slice(None)), ("few", slice(None)),
        ("spreads", slice(None)), ("crossed", slice(1)), ("agreements", slice(1, None)),
    ):  # fmt: skip
        for title, shares in stored[name]["rows"].items():
            error = math.sqrt(0.05 * 0.95 / stored[name]["repetitions"][title])
            if "ours are 30% higher" not in title:
                assert all(share is None or share <= 0.05 + 3 * error for share in shares[columns])
    # The last columns of "clusters" and "grids" are of intervals that are not printed.
    for name, columns in (
        ("coverage", slice(None)), ("joint", slice(None)), ("studies", slice(None)),
        ("partly", slice(None)), ("race_intervals", slice(None)), ("clusters", slice(3)),
        ("grids", slice(2)),
    ):  # fmt: skip
        for title, shares in stored[name]["rows"].items():
            error = math.sqrt(0.93 * 0.07 / stored[name]["repetitions"][title])
            assert all(share is None or share >= 0.93 - 3 * error for share in shares[columns])
    for title, (printed, wrong, without_rule) in stored["shapes"]["rows"].items():
        error = math.sqrt(0.07 * 0.93 / stored["shapes"]["repetitions"][title])
        assert wrong <= min(printed, 0.07 + 3 * error)
        assert without_rule >= wrong
    for title, (_, _, lost) in stored["savings"]["rows"].items():
        error = math.sqrt(0.05 * 0.95 / stored["savings"]["repetitions"][title])
        assert lost <= 0.05 + 3 * error
    designs = {(measure, kind, k) for measure in ("loss", "epochs, 30% censored")
               for kind in ("paired", "unpaired") for k in sections.N_GROUPS}  # fmt: skip
    shown = {f"{measure}, {kind}, {k} groups" for measure, kind, k in designs}
    assert shown == set(stored["errors"]["rows"])


def test_shares_that_are_0_for_any_data_are_in_parentheses():
    page = (DOCS / "simulations.md").read_text()
    stored = json.loads((DOCS / "simulations.json").read_text())
    for section, rows in sections.IMPOSSIBLE.items():
        for title, flags in rows.items():
            shares = stored[section]["rows"][title]
            assert all(shares[at] == 0.0 for at, flag in enumerate(flags) if flag)
    # All differences have the same sign: the smallest p-value of SciPy's exact test.
    for n in sections.N_REPLICATES:
        smallest = wilcoxon(np.arange(1, n + 1), method="exact").pvalue
        for k in sections.N_GROUPS:
            (line,) = [one for one in page.splitlines() if f"| loss, paired, {k} groups |" in one]
            cell = line.split(" | ")[1 + sections.N_REPLICATES.index(n)]
            assert cell.startswith("(") == (smallest * math.comb(k, 2) >= 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", reports.PRINTED)
def test_the_intervals_of_a_report_hold_together(name):
    share = reports.joint_coverage(name, 3, 12, 60, np.random.default_rng(5))
    assert share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", splits.RUNS)
def test_intervals_of_runs_that_share_splits_cover(name):
    *printed, naive = splits.cluster_coverage(name, 60, np.random.default_rng(6))
    assert min(printed) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)
    assert naive < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", races.RACE_DRAWS)
def test_the_intervals_of_a_race_hold_at_all_looks(name):
    share = races.race_coverage(name, 3, 40, np.random.default_rng(7))
    assert share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 40)


@pytest.mark.slow
def test_the_tests_of_shapes_find_what_scipys_find():
    """Groups with equal medians but another shape differ by SciPy's tests as often."""
    rng, n, hits = np.random.default_rng(8), 20, []
    design = groups.Design(2, n, is_paired=False)
    share = reports.unlike_positives("equal medians, one skewed", design, 100, rng)
    for _ in range(1000):
        first, second = rng.normal(size=(2, n))
        hits.append(mannwhitneyu(first, np.exp(second) - 1.0, method="exact").pvalue < 0.05)
    assert abs(share - np.mean(hits)) <= 3 * math.sqrt(np.mean(hits) * (1 - np.mean(hits)) / 100)


@pytest.mark.slow
def test_a_wrong_paper_seldom_agrees_and_an_interval_for_another_shape_is_withheld():
    rng, (draw, sizes) = np.random.default_rng(9), next(iter(studies.AGREEMENTS.values()))
    assert studies.agreements(draw, sizes, 1.0, 10, rng) > 0.6
    assert studies.agreements(draw, sizes, 1.15, 10, rng) == 0.0
    draws = studies.OTHER_SHAPES["normal, rare large values published"]
    printed, wrong, without_rule = studies.other_shapes(*draws, 10, rng)
    assert wrong <= printed < 0.3
    assert without_rule > 0.2


@pytest.fixture
def small_grid(monkeypatch):
    """A grid of the study ``initial_weights`` that is trained in a second."""
    monkeypatch.setattr(grids, "GRID_SEEDS", 12)
    monkeypatch.setattr(grids, "GRID_POINTS", 2)
    grids.measured.cache_clear()
    yield grids.measured("gradient descent")
    grids.measured.cache_clear()


@pytest.mark.slow
def test_the_grid_that_is_simulated_is_that_of_the_study(small_grid):
    assert small_grid.shape == (4, 12)
    for point, (lr, limit) in enumerate(itertools.product((0.1, 10.0), repeat=2)):
        run = bpexp.train(
            lr=lr, model__init_low=-limit, model__init_high=limit, model="sigmoid", hidden=2,
            epochs=50_000, stop__tolerance=0.4, seed=5,
        )  # fmt: skip
        assert small_grid[point, 5] == (run.outcome.value != "converged")
    ten, twenty, few, naive = grids.grid_coverage("gradient descent", 80, np.random.default_rng(10))
    assert min(ten, twenty) >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / 80)
    assert 0.0 < few < 1.0
    assert naive < twenty


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("median", ["median"]),
        ("P(first is better) = 0.9, paired", ["P(first is better) = 0.9, paired"]),
        ("= 0.9", ["P(first is better) = 0.9, paired", "P(first is better) = 0.9, unpaired"]),
        ("", list(intervals.INTERVALS)),
        ("med", []),
    ],
)
def test_rows_are_selected_by_their_name_or_by_whole_words(monkeypatch, text, rows):
    every = {name: lambda n, rng: [1.0] for name in intervals.INTERVALS}
    monkeypatch.setitem(statistics.SECTIONS, "coverage", lambda: every)
    renewed = [*statistics.simulate(2, ["coverage"], text)]
    assert list(renewed[-1]["coverage"]["rows"] if renewed else {}) == rows


def test_rows_that_are_simulated_again_say_how_often_and_leave_the_others_as_they_were():
    stored, row = json.loads((DOCS / "simulations.json").read_text()), "loss, paired, 2 groups"
    (renewed,) = statistics.simulate(3, ["errors"], row, stored)
    assert f"3 each of {row}" in statistics.page(renewed)
    assert renewed["errors"]["repetitions"][row] == 3
    assert list(statistics.simulate(3, ["errors"], row, renewed)) == [renewed]
    for part in ("repetitions", "rows"):
        renewed["errors"][part][row] = stored["errors"][part][row]
    assert renewed == stored
