"""A quick version of the simulations of ``benchmarks.statistics``, and the page that it writes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import statistics

DOCS = Path(__file__).resolve().parents[1] / "docs"
REPETITIONS = 25


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("is_time", [True, False])
def test_equal_groups_are_seldom_called_different(is_time, is_paired):
    design = statistics.Design(4, 8, is_paired, is_time)
    share = statistics.false_positives(design, REPETITIONS, np.random.default_rng(1))
    # Three standard errors above 5%.
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.parametrize("name", [n for n in statistics.INTERVALS if "publication" not in n])
def test_printed_intervals_cover(name):
    share = statistics.coverage(name, 8, 60, np.random.default_rng(2))
    assert math.isnan(share) or share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


def test_a_study_prints_no_interval_for_few_runs_and_one_that_covers_for_more():
    rng, name = np.random.default_rng(3), "difference from a publication"
    assert math.isnan(statistics.coverage(name, 10, 2, rng))
    assert statistics.coverage(name, 25, 30, rng) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 30)


def test_a_report_finds_what_an_unpaired_test_does_not_find():
    report, _, unpaired = statistics.power(20, 1.0, 10, np.random.default_rng(4))
    assert report > unpaired + 0.3


def test_the_page_in_docs_shows_the_stored_simulations():
    stored = json.loads((DOCS / "simulations.json").read_text())
    assert (DOCS / "simulations.md").read_text() == statistics.page(stored)
    for shares in stored["errors"].values():
        error = math.sqrt(0.05 * 0.95 / stored["repetitions"])
        assert max(shares) <= 0.05 + 3 * error
    for shares in stored["coverage"].values():
        known = [share for share in shares if share is not None]
        assert min(known, default=1.0) >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / stored["repetitions"])
    races = stored["races"]
    error = math.sqrt(0.05 * 0.95 / races["repetitions"])
    assert max(max(shares) for shares in races["errors"].values()) <= 0.05 + 3 * error
    assert max(lost for _, _, lost in races["savings"].values()) <= 0.05 + 3 * error
