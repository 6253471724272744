"""A quick version of the simulations of ``benchmarks.statistics``, and the page that it writes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import statistics
from benchmarks.peers import rliable_intervals
from benchmarks.simulations import groups, intervals, studies

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
    assert studies.study_positives(skewed, 1.0, (10, 100), 10, rng) == 0.0


def test_a_report_finds_what_an_unpaired_test_does_not_find():
    report, _, unpaired, rliable = groups.power(20, 1.0, 10, np.random.default_rng(4))
    assert report > unpaired + 0.3
    assert (rliable is None) == (not rliable_intervals.available())


def test_the_page_in_docs_shows_the_stored_simulations():
    stored = json.loads((DOCS / "simulations.json").read_text())
    assert (DOCS / "simulations.md").read_text() == statistics.page(stored)
    for name in ("errors", "races", "few", "spreads", "crossed"):
        limit = 0.05
        for title, shares in stored[name]["rows"].items():
            error = math.sqrt(0.05 * 0.95 / stored[name]["repetitions"][title])
            if "higher" not in title:
                # The last column of "crossed" is that of a test that does not hold.
                assert max(shares[:1] if name == "crossed" else shares) <= limit + 3 * error
    for name in ("coverage", "studies", "partly"):
        for title, shares in stored[name]["rows"].items():
            error = math.sqrt(0.93 * 0.07 / stored[name]["repetitions"][title])
            assert all(share is None or share >= 0.93 - 3 * error for share in shares)
    for title, (_, _, lost) in stored["savings"]["rows"].items():
        error = math.sqrt(0.05 * 0.95 / stored["savings"]["repetitions"][title])
        assert lost <= 0.05 + 3 * error
    designs = {(measure, kind, k) for measure in ("loss", "epochs, 30% censored")
               for kind in ("paired", "unpaired") for k in statistics.N_GROUPS}  # fmt: skip
    shown = {f"{measure}, {kind}, {k} groups" for measure, kind, k in designs}
    assert shown == set(stored["errors"]["rows"])


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
