"""Simulate the statistics of reports and studies, and write docs/simulations.md, .json and .png.

Equal groups show how often a report calls a difference significant, samples of known distributions
how often an interval contains the true value, and different groups how often it is found.

    python -m benchmarks.statistics --repetitions 400
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
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
from benchmarks.simulations.studies import SIZES, STUDIES, study_coverage, study_positives
from bpexp.render.document import Table
from bpexp.render.markdown import table as markdown_table

N_GROUPS, N_REPLICATES = (2, 4, 6, 20), (3, 5, 10, 20)
LEAST_COVERAGE = 0.93
"""Coverage below which an interval of 95% is not to be printed."""
RACES_PER_REPETITION = 10
"""Races are simulated together, which is fast."""

Shares = dict[str, list[float | None]]
"""The rows of a table by name; None where nothing is printed or a tool is not installed."""


def _errors(repetitions: int, rng: np.random.Generator) -> Shares:
    found: Shares = {}
    for is_time in (False, True):
        for is_paired in (True, False):
            for k in N_GROUPS:
                designs = [Design(k, n, is_paired, is_time) for n in N_REPLICATES]
                measure = "epochs, 30% censored" if is_time else "loss"
                name = f"{measure}, {'paired' if is_paired else 'unpaired'}, {k} groups"
                found[name] = [false_positives(d, repetitions, rng) for d in designs]
    return found


def _coverage(repetitions: int, rng: np.random.Generator) -> Shares:
    found = {
        name: [coverage(name, n, repetitions, rng) for n in N_REPLICATES] for name in INTERVALS
    }
    return {name: [None if math.isnan(v) else v for v in row] for name, row in found.items()}


def _power(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        f"{effect:g} sd, {n} seeds": power(n, effect, repetitions, rng)
        for effect in (0.75, 1.5)
        for n in (10, 20)
    }


def _errors_of_two(repetitions: int, rng: np.random.Generator) -> Shares:
    return {f"{n} replicates": errors_of_two(n, repetitions, rng) for n in N_REPLICATES}


def _crossed(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        f"{n} splits, {m} seeds, {name}": list(
            crossed_positives(Crossing(n, m, of_split, of_seed), repetitions, rng)
        )
        for n, m in ((6, 20), (10, 10), (20, 5))
        for name, of_split, of_seed in (
            ("splits matter", 1.0, 0.0), ("both matter", 1.0, 1.0), ("neither matters", 0.0, 0.0)
        )
    }  # fmt: skip


def _studies(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        name: [study_coverage(draw, sizes, repetitions, rng) for sizes in SIZES]
        for name, draw in STUDIES.items()
    }


def _few(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        f"{name}, {said}": [
            study_positives(STUDIES[name], (n, n), factor, repetitions, rng) for n in N_REPLICATES
        ]
        for factor, said in ((1.0, "equal"), (1.3, "ours are 30% higher"))
        for name in STUDIES
    }


def _races(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        name: [race_errors(name, k, repetitions, rng) for k in RACE_SIZES] for name in RACE_DRAWS
    }


def _savings(repetitions: int, rng: np.random.Generator) -> Shares:
    return {
        f"{k} combinations, {effect:g} sd": list(race_savings(k, effect, repetitions, rng))
        for k in RACE_SIZES
        for effect in RACE_EFFECTS
    }


SECTIONS: dict[str, Callable[[int, np.random.Generator], Shares]] = {
    "errors": _errors, "coverage": _coverage, "power": _power, "errors_of_two": _errors_of_two,
    "crossed": _crossed, "studies": _studies, "few": _few, "races": _races, "savings": _savings,
}  # fmt: skip
"""The tables of the page; each is simulated with random numbers of its own."""


def simulate(repetitions: int, names: Iterable[str] = SECTIONS, seed: int = 0) -> dict[str, Any]:
    """The results of some sections of the page as plain values: repetitions and rows of each."""
    found: dict[str, Any] = {}
    for place, (name, section) in enumerate(SECTIONS.items()):
        if name in names:
            n = repetitions * (RACES_PER_REPETITION if name in ("races", "savings") else 1)
            rows = section(n, np.random.default_rng([seed, place]))
            found[name] = {"repetitions": n, "rows": rows}
            print(name, found[name], flush=True)
    return found


INTRODUCTION = """# Do the statistics hold?

`python -m benchmarks.statistics` simulates the [statistics](explanation/statistics.md) of reports
and studies, and writes this page. Each number is a share of simulations, whose number stands below
the table. If the true share is 5%, two standard errors of the simulated one are 4.4 percentage
points for 100 simulations and 2.2 for 400.

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
our runs and of the published ones. Values whose standard deviation is more than twice the mean have
no interval and are left out.
"""
FEW_RUNS = """With fewer than 25 runs, published or ours, a study prints no interval; its p value is
made in the same way. The share of simulations in which means of as many published runs as ours are
called different; if they are equal, it is to be at most 5%.
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
        "few": (FEW_RUNS, ["means", *(f"{n} runs" for n in N_REPLICATES)]),
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
    """The number of simulations of a table; ``fewer`` has rows that were simulated less often."""
    fewer = found.get("fewer", {})
    rows = "; ".join(f"{n} each of {name}" for name, n in fewer.items())
    return f"{found['repetitions']} simulations each{f', but {rows}' if rows else ''}."


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
    args = parser.parse_args()
    if args.repetitions < 2:
        parser.error(f"--repetitions must be at least 2, got {args.repetitions}")
    stored = args.output / "simulations.json"
    kept = json.loads(stored.read_text()) if len(args.only) < len(SECTIONS) else {}
    results = kept | simulate(args.repetitions, args.only)
    args.output.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(results, indent=1) + "\n")
    (args.output / "simulations.md").write_text(page(results))
    figure = plot(results)
    figure.savefig(args.output / "simulations.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
