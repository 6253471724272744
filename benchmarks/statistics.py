"""Simulate the statistics of reports and studies, and write docs/simulations.md, .json and .png.

Equal groups show how often a report calls a difference significant, samples of known distributions
how often an interval contains the true value, and different groups how often it is found.

    python -m benchmarks.statistics --repetitions 400
"""

import argparse
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.simulations.groups import (
    Crossing,
    Design,
    crossed_positives,
    errors_of_two,
    false_positives,
    power,
)
from benchmarks.simulations.intervals import INTERVALS, coverage
from benchmarks.simulations.races import (
    RACE_BLOCK,
    RACE_DRAWS,
    RACE_EFFECTS,
    RACE_SEEDS,
    RACE_SIZES,
    race_errors,
    race_savings,
)
from benchmarks.simulations.studies import (
    FEW_SIZES,
    PARTLY,
    PARTLY_SIZES,
    SIZES,
    SPREAD_SIZE,
    SPREADS,
    STUDIES,
    spread_positives,
    study_coverage,
    study_positives,
)
from bpexp.render.document import Table
from bpexp.render.markdown import table as markdown_table

N_GROUPS, N_REPLICATES = (2, 4, 6, 20), (3, 5, 10, 20)
LEAST_COVERAGE = 0.93
"""Coverage below which an interval of 95% is not to be printed."""
RACES_PER_REPETITION = 10
"""Races are simulated together, which is fast."""

Shares = list[float | None]
"""The numbers of a row; None where nothing is printed or a tool is not installed."""
Simulation = Callable[[int, np.random.Generator], Shares]
"""Simulates a row of a table as often as is asked."""
Rows = dict[str, Simulation]
Results = dict[str, dict[str, Any]]
"""By section: the shares of each row (``rows``), and how often each was simulated
(``repetitions``)."""


def _errors() -> Rows:
    found: Rows = {}
    for is_time, is_paired in itertools.product((False, True), (True, False)):
        measure = "epochs, 30% censored" if is_time else "loss"
        for k in N_GROUPS:
            designs = [Design(k, n, is_paired, is_time) for n in N_REPLICATES]
            name = f"{measure}, {'paired' if is_paired else 'unpaired'}, {k} groups"
            found[name] = _for_each(false_positives, designs)
    return found


def _coverage() -> Rows:
    return {name: _for_each(partial(coverage, name), N_REPLICATES) for name in INTERVALS}


def _power() -> Rows:
    return {
        f"{effect:g} sd, {n} seeds": partial(power, n, effect)
        for effect in (0.75, 1.5)
        for n in (10, 20)
    }


def _errors_of_two() -> Rows:
    return {f"{n} replicates": partial(errors_of_two, n) for n in N_REPLICATES}


def _crossed() -> Rows:
    return {
        f"{n} splits, {m} seeds, {name}": partial(
            crossed_positives, Crossing(n, m, of_split, of_seed)
        )
        for n, m in ((6, 20), (10, 10), (20, 5))
        for name, of_split, of_seed in (
            ("splits matter", 1.0, 0.0), ("both matter", 1.0, 1.0), ("neither matters", 0.0, 0.0)
        )
    }  # fmt: skip


def _studies() -> Rows:
    return {name: _for_each(partial(study_coverage, draw), SIZES) for name, draw in STUDIES.items()}


def _partly() -> Rows:
    return {
        name: _for_each(partial(study_coverage, draw, kept=kept), PARTLY_SIZES)
        for name, (draw, kept) in PARTLY.items()
    }


def _spreads() -> Rows:
    return {name: partial(spread_positives, draw) for name, draw in STUDIES.items()}


def _few() -> Rows:
    return {
        f"{name}, {said}": _for_each(partial(study_positives, draw, factor), FEW_SIZES)
        for factor, said in ((1.0, "equal"), (1.3, "ours are 30% higher"))
        for name, draw in STUDIES.items()
    }


def _races() -> Rows:
    return {name: _for_each(partial(race_errors, name), RACE_SIZES) for name in RACE_DRAWS}


def _savings() -> Rows:
    return {
        f"{k} combinations, {effect:g} sd": partial(race_savings, k, effect)
        for k in RACE_SIZES
        for effect in RACE_EFFECTS
    }


def _for_each(simulate: Callable[..., float], cases: Iterable[Any]) -> Simulation:
    """A row with a number for each case: ``simulate(case, repetitions, rng)``; nan is None."""

    def row(repetitions: int, rng: np.random.Generator) -> Shares:
        found = [simulate(case, repetitions, rng) for case in cases]
        return [None if math.isnan(share) else share for share in found]

    return row


SECTIONS: dict[str, Callable[[], Rows]] = {
    "errors": _errors, "coverage": _coverage, "power": _power, "errors_of_two": _errors_of_two,
    "crossed": _crossed, "studies": _studies, "few": _few, "races": _races, "savings": _savings,
    "partly": _partly, "spreads": _spreads,
}  # fmt: skip
"""The tables of the page; the place of each one determines its random numbers."""


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
        n = repetitions * (RACES_PER_REPETITION if section in ("races", "savings") else 1)
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


INTRODUCTION = """# Do the statistics hold?

`python -m benchmarks.statistics` simulates the [statistics](explanation/statistics.md) of reports
and studies, and writes this page. Each number is a share of simulations, whose number stands below
the table. If the true share is 5%, two standard errors of the simulated one are 2.2 percentage
points for 400 simulations and 0.7 for 4,000.

![The share of false positives and of intervals that contain the true value](simulations.png)
"""
ERRORS = """## False positives

Groups that do not differ: the share of reports that call any difference significant. It is to be
at most 5%. Values are skewed (lognormal); paired replicates have a correlation of 0.8.
"""
COVERAGE = """## Intervals

How often the interval of 95% contains the true value: of medians, their differences and P = 0.5 the
lowest share over a normal, a lognormal and a bimodal distribution, the last like losses of XOR; the
lowest of several shares is below the true one by chance. Many intervals are wider than necessary,
because they hold for any distribution. A dash: no interval is printed for so few runs.
"""
POWER = """## Differences that are found

The first of six groups is better than all others by the given number of standard deviations; all
have the same seeds, and values of a seed have a correlation of 0.8. The share of simulations that
find the first group significantly better than the second. SciPy's tests, and rliable's interval of
the probability of improvement (Agarwal et al. 2021), which is to lie above 0.5, are corrected for
all 15 pairs. rliable and the test of Mann and Whitney do not use the pairs. rliable 1.2 is called
if it is installed; it needs pandas before 3. A dash: it was not.
"""
ERRORS_OF_TWO = """rliable's interval is a percentile bootstrap, which is too narrow for few runs.
Two equal unpaired groups: the share of simulations that call them different, to be at most 5%.
"""
CROSSED = """## Splits and seeds

Two combinations of settings that are equal on average, on all pairs of splits and seeds. Which
one is better depends on the split, or on split and seed, with the standard deviation of a run. The
share of simulations that call the combinations different, by the report and by a signed-rank test
that takes all runs for independent:
"""
STUDIES_COVERAGE = """## Differences from a publication

How often the interval of the difference of means in a study contains the true one, for numbers of
our runs and of the published ones. It is to be at least 93%. Very skewed values have no interval:
those with an L-skewness above 0.5, or a standard deviation of more than twice the mean. They are
left out; a dash: fewer than 10% of the simulations have an interval.
"""
PARTLY_KNOWN = """The same without a published standard deviation. The range tells it, too. If only
the mean is published, values have an interval only with an L-skewness of at most 0.3, because our
own runs alone tell how much the published values vary.
"""
FEW_RUNS = """With fewer than 100 runs of ours or 25 published ones, a study has no interval. The p
value counts the larger one of both standard deviations, in relation to the means. It is not given
for fewer than 10 runs or for very skewed values. The share of simulations in which means are called
different; if they are equal, it is to be at most 5%.
"""
SPREAD_ERRORS = """The other published numbers of equal samples, {} of ours and {} published: the
share that is called different, to be at most 5%. The standard deviations of values with an
L-skewness above 0.4 are not compared.
"""
RACE_ERRORS = """## Races of equal combinations

`seeds=auto` with blocks of {block} and at most {seeds} seeds: the share of
races between equal combinations that stop any combination as worse. It is to be at most 5%.
Correlated values have a correlation of 0.8 between runs with the same seed.
"""
RACE_SAVINGS = """## What a race saves

The first combination is better than all others, which are equal, by the given number of standard
deviations of a run (lognormal, correlated): the share of the runs that is saved, compared with
{seeds} seeds of each combination; the share of races that decide for the first combination; and the
share that stop it. Intervals (`seeds.width`) do not end these races.
"""


def page(results: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    sizes = [f"{n} replicates" for n in N_REPLICATES]
    runs = [f"{n} ours, {m} published" for n, m in SIZES]
    few = [f"{n} ours, {m} published" for n, m in FEW_SIZES]
    combinations = [f"{k} combinations" for k in RACE_SIZES]
    counts = {"block": RACE_BLOCK, "seeds": RACE_SEEDS}
    peers = ["SciPy signed-rank", "SciPy Mann-Whitney", "rliable"]
    tables = {
        "errors": (ERRORS, ["groups", *sizes]),
        "coverage": (COVERAGE, ["interval", *sizes]),
        "power": (POWER, ["effect", "report", *peers]),
        "errors_of_two": (ERRORS_OF_TWO, ["equal groups", "report", "rliable"]),
        "crossed": (CROSSED, ["design", "report", "all runs as independent"]),
        "studies": (STUDIES_COVERAGE, ["values", *runs]),
        "partly": (PARTLY_KNOWN, ["values", *runs[: len(PARTLY_SIZES)]]),
        "few": (FEW_RUNS, ["means", *few]),
        "spreads": (SPREAD_ERRORS.format(*SPREAD_SIZE), ["values", *SPREADS]),
        "races": (RACE_ERRORS.format(**counts), ["values", *combinations]),
        "savings": (
            RACE_SAVINGS.format(**counts), ["race", "saved", "decided", "best one stopped"]
        ),
    }  # fmt: skip
    parts = [INTRODUCTION]
    for name, (text, header) in tables.items():
        found = results[name]
        rows = [[title, *map(_percent, shares)] for title, shares in found["rows"].items()]
        table = Table(header, rows, "l" + "r" * (len(header) - 1))
        parts.append(f"{text}\n{markdown_table(table).strip()}\n\n{_simulations(found)}\n")
    return "\n".join(parts)


def _simulations(found: Mapping[str, Any]) -> str:
    """The number of simulations of each row of a table."""
    rows_of: dict[int, list[str]] = {}
    for name, n in found["repetitions"].items():
        rows_of.setdefault(n, []).append(name)
    most = max(rows_of, key=lambda n: len(rows_of[n]))
    others = [f"{n} each of {', of '.join(rows)}" for n, rows in rows_of.items() if n != most]
    return f"{most} simulations each{', but ' if others else ''}{'; '.join(others)}."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f}%"


def plot(results: Mapping[str, Any]) -> Figure:
    """The false positives and the coverage by the number of replicates."""
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for shares in results["errors"]["rows"].values():
        left.plot(N_REPLICATES, [100 * share for share in shares], "o-", color="#2a78b5", alpha=0.5)
    left.axhline(5.0, color="black", linestyle="--")
    left.set(title="False positives of equal groups", ylabel="% of reports", ylim=(0.0, 12.0))
    markers = itertools.cycle("os^")
    for name, shares in results["coverage"]["rows"].items():
        known = [math.nan if share is None else 100 * share for share in shares]
        right.plot(N_REPLICATES, known, f"{next(markers)}-", ms=4, lw=1.0, label=name)
    right.axhline(100 * LEAST_COVERAGE, color="black", linestyle="--")
    right.set(title="Intervals that contain the true value", ylabel="%", ylim=(85.0, 101.0))
    figure.legend(fontsize=7, loc="outside right upper", frameon=False)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="replicates per group")
        axes.set_xticks(N_REPLICATES, [str(n) for n in N_REPLICATES], minor=False)
        axes.minorticks_off()
    return figure


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
    figure = plot(results)
    figure.savefig(args.output / "simulations.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
