"""The page docs/simulations.md and its picture."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.simulations.grids import GRID_POINTS, GRID_SEEDS, STUDY_SEEDS, TOO_FEW_SEEDS
from benchmarks.simulations.races import RACE_BLOCK, RACE_LOOKS, RACE_SEEDS, RACE_SIZES
from benchmarks.simulations.sections import IMPOSSIBLE, N_REPLICATES, N_UNLIKE
from benchmarks.simulations.splits import SHARE
from benchmarks.simulations.studies import (
    FEW_SIZES,
    OTHER_SHAPES_SIZE,
    PARTLY_SIZES,
    SIZES,
    SPREAD_SIZE,
    SPREADS,
)
from bpexp.render.document import Table
from bpexp.render.markdown import table as markdown_table
from bpexp.render.wording import listed

LEAST_COVERAGE = 0.93
"""Coverage below which an interval of 95% is not to be printed."""

_DESIGNS = ("loss, paired", "loss, unpaired", "epochs, 30% censored, paired",
            "epochs, 30% censored, unpaired")  # fmt: skip
_COLORS = dict(zip(_DESIGNS, ("#2a78b5", "#e07b00", "#2e9e4f", "#a03cb0"), strict=True))
_LINES = dict(zip(_DESIGNS, ("-", "-", ":", ":"), strict=True))
_MARKERS = {"2 groups": "o", "4 groups": "s", "6 groups": "^", "20 groups": "D"}
"""How the false positives of a row are drawn: by the values and by the number of groups."""

INTRODUCTION = """# Do the statistics hold?

`python -m benchmarks.statistics` simulates the [statistics](explanation/statistics.md) of reports
and studies, and writes this page. Each number is a share of simulations, whose number stands below
the table. If the true share is 5%, two standard errors of the simulated one are 2.2 percentage
points for 400 simulations and 0.7 for 4,000.

![The share of false positives and of intervals that contain the true value](simulations.png)
"""
ERRORS = """## False positives

Groups that do not differ: the share of reports that call any difference significant. It is to be
at most 5%. Values are skewed (lognormal); paired replicates have a correlation of 0.8. A share in
parentheses is 0% by construction: no result could be significant with so few replicates.
"""
COVERAGE = """## Intervals

How often the interval of 95% contains the true value: of medians, their differences and P = 0.5 the
lowest share over a normal, a lognormal and a bimodal distribution, the last like losses of XOR; the
lowest of several shares is below the true one by chance. Many intervals are wider than necessary,
because they hold for any distribution. A dash: no interval is printed for so few runs.
"""
JOINT = """## All intervals of a report

Intervals of a report are to hold together: the share of reports on equal groups (lognormal, paired
ones correlated) in which the intervals of all groups, or of all comparisons with the best group,
contain the true values. A dash: for so few runs, none or not all are printed.
"""
UNLIKE = """## Groups of another shape

Two groups with the same median or mean, of which the first is normal, and the second spreads more
or is skewed: the share of reports that call them different. They are different, but in their shape
only. What a report calls significant is that two groups do not have the same distribution, and not
that their medians or means differ: one of two groups with the same median can win most pairs. A
share in parentheses is 0% by construction.
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
that takes all runs for independent. In parentheses: no result of so few splits and seeds could be
significant.
"""
CLUSTERS = """How often intervals of 95% over several splits contain the true value of {share:.0%}:
of the share of converged runs, and of P(best is better), paired and unpaired. Half of the variance
of a run comes from the split (a third, and a third from the seed, if all splits have the same
seeds). In the last column, the interval of the share counts all runs as independent.
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
different; if they are equal, it is to be at most 5%. A dash: fewer than 10% are tested.
"""
SHAPES = """The published values may have another shape than ours. The interval takes them to have
the same, and is withheld if the published spread differs significantly. Equal means, {} of ours and
{} published, of which the mean and the standard deviation are known; rare values: 3% that are five
times the mean. The share of studies that print an interval, the share that print one without the
true difference, which is to be at most 7%, and the same if none were withheld.
"""
AGREEMENTS = """The verdict "agrees within 10%" by the true difference: at 10% and more it is wrong,
which is to happen in at most 5% of studies.
"""
GRIDS = """The interval of a mean over a grid is that of the means of the seeds. The study
`initial_weights` on a coarse grid of {points} by {points} points with {seeds} seeds: how often the
interval of a few of these seeds contains the share of all; that of {few} is not printed, because it
contains it less often than in 93%. In the last column, each point and seed counts as independent.
"""
SPREAD_ERRORS = """The other published numbers of equal samples, {} of ours and {} published: the
share that is called different, to be at most 5%. A dash: fewer than 10% are compared, such as the
standard deviations of values with an L-skewness above 0.4.
"""
RACE_ERRORS = """## Races of equal combinations

`seeds=auto` with blocks of {block} and at most {seeds} seeds: the share of
races between equal combinations that stop any combination as worse. It is to be at most 5%.
Correlated values have a correlation of 0.8 between runs with the same seed.
"""
RACE_INTERVALS = """The intervals of medians, or of mean epochs, of a race hold for all combinations
and at every number of seeds together: the share of races in which all of them contain the true
value at {looks} seeds.
"""
RACE_SAVINGS = """## What a race saves

The first combination is better than all others, which are equal, by the given number of standard
deviations of a run (lognormal, correlated): the share of the runs that is saved, compared with
{seeds} seeds of each combination; the share of races that decide for the first combination; and the
share that stop it. Intervals (`seeds.width`) do not end these races.
"""


def page(results: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION]
    for name, (text, header) in _tables().items():
        found, impossible = results[name], IMPOSSIBLE.get(name, {})
        rows = [
            [title, *map(_cell, shares, _padded(impossible.get(title, []), len(shares)))]
            for title, shares in found["rows"].items()
        ]
        table = Table(header, rows, "l" + "r" * (len(header) - 1))
        parts.append(f"{text}\n{markdown_table(table).strip()}\n\n{_simulations(found)}\n")
    return "\n".join(parts)


def _tables() -> dict[str, tuple[str, list[str]]]:
    """The text before each table, and its columns, by section in the order of the page."""
    sizes = [f"{n} replicates" for n in N_REPLICATES]
    runs = [f"{n} ours, {m} published" for n, m in SIZES]
    few = [f"{n} ours, {m} published" for n, m in FEW_SIZES]
    combinations = [f"{k} combinations" for k in RACE_SIZES]
    seeds = [f"{n} seeds" for n in STUDY_SEEDS]
    seeds += [f"{TOO_FEW_SEEDS} seeds", f"{seeds[-1]}, all runs as independent"]
    counts = {"block": RACE_BLOCK, "seeds": RACE_SEEDS}
    peers = ["SciPy signed-rank", "SciPy Mann-Whitney", "rliable"]
    grid = GRIDS.format(points=GRID_POINTS, seeds=GRID_SEEDS, few=TOO_FEW_SEEDS)
    looks = RACE_INTERVALS.format(looks=listed([str(n) for n in RACE_LOOKS]))
    return {
        "errors": (ERRORS, ["groups", *sizes]),
        "unlike": (UNLIKE, ["groups", *(f"{n} replicates" for n in N_UNLIKE)]),
        "coverage": (COVERAGE, ["interval", *sizes]),
        "joint": (JOINT, ["intervals", *sizes]),
        "power": (POWER, ["effect", "report", *peers]),
        "errors_of_two": (ERRORS_OF_TWO, ["equal groups", "report", "rliable"]),
        "crossed": (CROSSED, ["design", "report", "all runs as independent"]),
        "clusters": (
            CLUSTERS.format(share=SHARE),
            ["runs", "share", "P, paired", "P, unpaired", "share, all runs as independent"],
        ),
        "studies": (STUDIES_COVERAGE, ["values", *runs]),
        "partly": (PARTLY_KNOWN, ["values", *runs[: len(PARTLY_SIZES)]]),
        "shapes": (
            SHAPES.format(*OTHER_SHAPES_SIZE),
            ["values", "interval printed", "wrong one printed", "wrong without the rule"],
        ),
        "agreements": (AGREEMENTS, ["values", "equal", "10% higher", "15% higher"]),
        "few": (FEW_RUNS, ["means", *few]),
        "spreads": (SPREAD_ERRORS.format(*SPREAD_SIZE), ["values", *SPREADS]),
        "grids": (grid, ["row", *seeds]),
        "races": (RACE_ERRORS.format(**counts), ["values", *combinations]),
        "race_intervals": (looks, ["values", *combinations]),
        "savings": (
            RACE_SAVINGS.format(**counts), ["race", "saved", "decided", "best one stopped"]
        ),
    }  # fmt: skip


def _simulations(found: Mapping[str, Any]) -> str:
    """The number of simulations of each row of a table."""
    rows_of: dict[int, list[str]] = {}
    for name, n in found["repetitions"].items():
        rows_of.setdefault(n, []).append(name)
    most = max(rows_of, key=lambda n: len(rows_of[n]))
    others = [f"{n} each of {', of '.join(rows)}" for n, rows in rows_of.items() if n != most]
    return f"{most} simulations each{', but ' if others else ''}{'; '.join(others)}."


def _padded(flags: Sequence[bool], n: int) -> list[bool]:
    return [*flags, *[False] * (n - len(flags))]


def _cell(share: float | None, is_impossible: bool) -> str:
    """A share; in parentheses where it is 0 for any data."""
    percent = "-" if share is None else f"{100.0 * share:.1f}%"
    return f"({percent})" if is_impossible else percent


def plot(results: Mapping[str, Any]) -> Figure:
    """The false positives and the coverage by the number of replicates."""
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, shares in results["errors"]["rows"].items():
        (design, groups), impossible = name.rsplit(", ", 1), IMPOSSIBLE["errors"][name]
        # What is 0 for any data shows nothing.
        known = [math.nan if no else 100 * s for s, no in zip(shares, impossible, strict=True)]
        style = f"{_MARKERS[groups]}{_LINES[design]}"
        label = name.replace(", 30% censored", "")
        left.plot(N_REPLICATES, known, style, color=_COLORS[design], ms=4, lw=1.0, label=label)
    left.axhline(5.0, color="black", linestyle="--")
    left.legend(fontsize=6, loc="upper left", frameon=False, ncols=2)
    left.set(title="False positives of equal groups", ylabel="% of reports", ylim=(0.0, 12.0))
    markers = itertools.cycle("os^")
    for name, shares in results["coverage"]["rows"].items():
        known = [math.nan if share is None else 100 * share for share in shares]
        right.plot(N_REPLICATES, known, f"{next(markers)}-", ms=4, lw=1.0, label=name)
    right.axhline(100 * LEAST_COVERAGE, color="black", linestyle="--")
    right.set(title="Intervals that contain the true value", ylabel="%", ylim=(85.0, 101.0))
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside right upper", frameon=False)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="replicates per group", xlim=(2.8, 21.5))
        axes.set_xticks(N_REPLICATES, [str(n) for n in N_REPLICATES], minor=False)
        axes.minorticks_off()
    return figure
