"""The benchmarks compare their measurements with the targets; the measurements are not tested."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import accuracy, loading, page, targets
from benchmarks.page import Part
from benchmarks.peer_process import PeerProcess
from benchmarks.rounds import Row, Table

DOCS = Path(__file__).resolve().parents[1] / "docs"


def table(title, **costs):
    rows = [Row(name, list(c)) for name, c in costs.items()]
    return Table(title, "ms", "", rows)


def results(part, measured):
    return [row[1:] for row in targets.rows({part: [measured]})]


def test_a_target_is_compared_with_the_median_ratio_of_the_fastest_other_candidate():
    # The ratios are 2, 4 and 0.5 for the one, 5, 3 and 10 for the other.
    measured = table("parity 4-8-1", bpexp=(1, 2, 10), one=(2, 8, 5), other=(5, 6, 100))
    assert results("training", measured) == [["at least 1", "2", "reached"]]
    measured = table("parity 4-8-1", bpexp=(1, 2, 10), one=(0.5, 8, 4))
    assert results("training", measured) == [["at least 1", "0.5", "missed by a factor of 2"]]


def test_mini_batches_are_compared_with_the_fastest_other_tool_for_each_number_of_runs():
    for runs in ("1 run", "16 runs"):
        measured = table(f"784-128-10, batches of 64, {runs}", bpexp=(2,), one=(3,), other=(5,))
        assert results("minibatch", measured) == [["at least 1", "1.5", "reached"]]


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["minibatch_numpy", "minibatch_torch"])
def test_peers_train_several_runs_unless_their_library_is_not_installed(peer):
    with closing(PeerProcess(peer, "table 20-64-64-1, batches of 128", 2, 1)) as process:
        assert process.first.get("seconds", 0) > 0 or "No module" in process.first["missing"]


@pytest.mark.slow
def test_a_peer_that_fails_is_an_error_and_not_missing():
    with pytest.raises(RuntimeError, match="minibatch_numpy"):
        PeerProcess("minibatch_numpy", "no such problem", 1, 1)


def test_loading_is_compared_with_a_library_that_only_reads():
    peer = {"pyarrow.csv.read_csv": (2.0, 3.0, 2.1)}
    measured = table("CSV of integers, 9 rows", bpexp=(4.0, 3.0, 3.0), **peer)
    assert results("loading", measured) == [["at least 0.667", "0.7", "reached"]]


@pytest.mark.parametrize("title", loading.FILES)
def test_both_readers_load_the_whole_table_that_is_timed(title, tmp_path):
    name, write, peer = loading.FILES[title]
    write(tmp_path / name, 20)
    dataset = loading.loader("bpexp", str(tmp_path / name))()
    assert dataset.X.shape == (20, loading.COLUMNS)
    read = loading.loader(peer, str(tmp_path / name))()
    shape = read[0].shape if isinstance(read, list) else read.shape
    assert shape[0] == 20
    assert shape[1] in (loading.COLUMNS, loading.COLUMNS + 1)


def test_a_target_for_growth_is_an_upper_limit():
    measured = Table("Growth: runs", "ms", "", [Row("10,000 runs, 500 MiB", [5.0, 4.5, 9.0])])
    assert results("growth", measured) == [["at most 3", "5", "missed by a factor of 1.667"]]


def test_missing_candidates_are_listed_as_missing():
    measured = table("Sweep of 9 runs", bpexp=(1,))
    measured.rows.append(Row("Hydra + joblib launcher + MLflow", missing="not installed"))
    assert results("sweep", measured) == [["at least 200", "", "not measured"]]
    text = page.markdown({"sweep": Part("today", [measured])})
    assert "missing: not installed" in text


def test_the_page_in_docs_shows_the_stored_measurements():
    stored = json.loads((DOCS / "benchmarks.json").read_text())
    assert (DOCS / "benchmarks.md").read_text() == page.markdown(page.load(stored))


def test_the_page_about_accuracy_is_of_the_present_program():
    introduction = accuracy.INTRODUCTION.format(seeds=20)
    text = (DOCS / "accuracy.md").read_text()
    assert "Of 300 seeds" in text
    assert text.startswith(f"{introduction}\n| {next(iter(accuracy.PROBLEMS))} |")
