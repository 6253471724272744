"""Simulate the statistics of reports and studies, and write docs/simulations.md, .json and .png.

The section ``grids`` also draws the runs that it trains: docs/initial_weights.png.

Equal groups show how often a report calls a difference significant, samples of known distributions
how often an interval contains the true value, and different groups how often it is found.

    python -m benchmarks.statistics --repetitions 400
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulations.grids import grid_picture
from benchmarks.simulations.page import page, plot
from benchmarks.simulations.sections import SECTIONS, Shares

FAST, FAST_PER_REPETITION = ("races", "savings", "grids"), 10
"""Sections whose rows are simulated more often, because that is fast."""

Results = dict[str, dict[str, Any]]
"""By section: the shares of each row (``rows``), and how often each was simulated
(``repetitions``)."""


def simulate(
    repetitions: int,
    sections: Iterable[str] = SECTIONS,
    part_of_name: str = "",
    known: Results | None = None,
    seed: int = 0,
) -> Iterator[Results]:
    """Simulate rows of the page, each with random numbers of its own.

    Args:
        repetitions: Number of simulations of a row.
        sections: Names of sections.
        part_of_name: Only the rows with this name or, in a section without such a row, with names
            that contain it as whole words are simulated; "sigma 1" is no part of "sigma 1.5".
        known: Results to start from; the other rows are taken from them.
        seed: Seed of the random numbers.

    Yields:
        The results after each row: only those of the page, in its order.
    """
    sections, known = set(sections), known or {}
    found: dict[str, dict[str, tuple[int, Shares]]] = {
        name: {
            row: (known[name]["repetitions"][row], known[name]["rows"][row])
            for row in rows_of()
            if row in known.get(name, {}).get("rows", {})
        }
        for name, rows_of in SECTIONS.items()
    }
    for place, (section, rows_of) in enumerate(SECTIONS.items()):
        n = repetitions * (FAST_PER_REPETITION if section in FAST else 1)
        rows = rows_of()
        wanted = _matching(rows, part_of_name) if section in sections else []
        for number, (row, simulation) in enumerate(rows.items()):
            if row in wanted:
                rng = np.random.default_rng([seed, place, number])
                found[section][row] = n, simulation(n, rng)
                yield {name: _table(of, list(SECTIONS[name]())) for name, of in found.items()}


def _matching(rows: Iterable[str], text: str) -> list[str]:
    """The row with this name; without such a row, those that contain it as whole words."""
    if not text:
        return list(rows)
    if text in rows:
        return [text]
    part = re.compile(rf"(?<![\w.]){re.escape(text)}(?![\w.])")
    return [row for row in rows if part.search(row)]


def _table(rows: Mapping[str, tuple[int, Shares]], order: Sequence[str]) -> dict[str, Any]:
    """The results of a section, with its rows in an order."""
    known = [row for row in order if row in rows]
    return {
        "repetitions": {row: rows[row][0] for row in known},
        "rows": {row: rows[row][1] for row in known},
    }


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.statistics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--output", type=Path, default=Path("docs"))
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION",
        help=f"simulate these again and keep the others: {', '.join(SECTIONS)}",
    )  # fmt: skip
    parser.add_argument(
        "--rows", default="", metavar="TEXT",
        help="of these, only the row TEXT, or the rows whose names contain these words",
    )  # fmt: skip
    args = parser.parse_args()
    if args.repetitions < 2:
        parser.error(f"--repetitions must be at least 2, got {args.repetitions}")
    stored = args.output / "simulations.json"
    args.output.mkdir(parents=True, exist_ok=True)
    known = json.loads(stored.read_text()) if stored.exists() else {}
    results: Results = {}
    for results in simulate(args.repetitions, args.only, args.rows, known):
        stored.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{stored} is renewed", flush=True)
    if not results:
        parser.error(f"--rows must be the name of a row or words of it, got {args.rows!r}")
    if missing := [name for name in SECTIONS if not results[name]["rows"]]:
        parser.error(f"the page also needs {', '.join(missing)}: simulate these, too")
    (args.output / "simulations.md").write_text(page(results))
    if "grids" in args.only:
        (args.output / "initial_weights.png").write_bytes(grid_picture())
    figure = plot(results)
    figure.savefig(args.output / "simulations.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
