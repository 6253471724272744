"""What the benchmarks make of their figures; the figures themselves are no test's matter."""

import json
from pathlib import Path

from benchmarks import page, targets
from benchmarks.rounds import Row, Table

DOCS = Path(__file__).resolve().parents[1] / "docs"


def table(title, **costs):
    rows = [Row(name.replace("_", " "), list(c)) for name, c in costs.items()]
    return Table(title, "ms", "", rows)


def said(part, measured):
    return [line.split(" | ")[1:] for line in targets.lines({part: [measured]})][2:]


def test_a_target_is_held_against_the_median_of_the_ratios_within_rounds():
    # The ratios are 2, 4 and 0.5 for the one, 5, 3 and 10 for the other.
    measured = table("parity 4-8-1", bpexp=(1, 2, 10), one=(2, 8, 5), other=(5, 6, 100))
    assert said("training", measured) == [["at least 1", "2", "reached |"]]
    measured = table("parity 4-8-1", bpexp=(1, 2, 10), one=(0.5, 8, 4))
    assert said("training", measured) == [["at least 1", "0.5", "not reached, by a factor of 2 |"]]


def test_growth_is_to_be_at_most_what_was_asked():
    measured = Table("Growth: runs", "ms", "", [Row("10,000 runs, 500 MiB", [5.0, 4.5, 9.0])])
    assert said("growth", measured) == [["at most 3", "5", "not reached, by a factor of 1.667 |"]]


def test_what_is_missing_is_said_to_be():
    measured = table("The whole sweep: 9 runs", bpexp=(1,))
    measured.rows.append(Row("Hydra + joblib launcher + MLflow", missing="not installed"))
    assert said("sweep", measured) == [["at least 200", "| not measured |"]]
    assert "missing: not installed" in page.markdown({"sweep": [measured]}, {"sweep": "today"})


def test_the_page_that_is_kept_is_made_of_the_figures_that_are_kept():
    measured = json.loads((DOCS / "benchmarks.json").read_text())
    parts = {part: [Table.of(t) for t in m["tables"]] for part, m in measured.items()}
    text = page.markdown(parts, {part: m["told"] for part, m in measured.items()})
    assert (DOCS / "benchmarks.md").read_text() == text
