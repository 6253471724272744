"""Simulate the statistics of reports and studies, and write docs/simulations.md, .json and .png.

Equal groups show how often a report calls a difference significant, samples of known distributions
how often an interval contains the true value, and different groups how often it is found.

    python -m benchmarks.statistics --repetitions 400
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from bpexp.analysis import intervals, statistics
from bpexp.analysis.findings import Comparison, compare_with_best
from bpexp.analysis.groups import REPLICATE, Group, RunTable
from bpexp.analysis.intervals import Interval
from bpexp.analysis.permutation import ALPHA
from bpexp.render.document import Table
from bpexp.render.markdown import table as markdown_table
from bpexp.runs.objective import objectives
from bpexp.studies.comparison import difference_of_means
from bpexp.studies.definition import Published
from bpexp.sweeps.samplers import racing
from bpexp.sweeps.samplers.racing import Race
from bpexp.typing import Array

CORRELATION = 0.8
"""Correlation of the replicates with the same seed, in simulations of paired groups."""
MAX_EPOCHS, CONVERGED = 10_000, 0.7
"""Maximum number of epochs, and the share of runs that converge in censored simulations."""
RACE_SETTINGS, RACE_EFFECTS = (2, 6, 20), (0.25, 0.5, 1.0, 2.0)
"""Numbers of settings of races, and by how many standard deviations the first is better."""
RACE_SEEDS, RACE_BLOCK = 200, 10
RACES_PER_REPETITION = 10
"""Races are simulated together, which is fast."""
N_GROUPS, N_REPLICATES = (2, 4, 6, 20), (3, 5, 10, 20)
LEAST_COVERAGE = 0.93
"""Coverage below which an interval of 95% is not to be printed."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _bimodal(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Losses of XOR: most runs near 0, some stuck at 0.125 or 0.25."""
    stuck = rng.choice([0.0, 0.125, 0.25], p=[0.6, 0.25, 0.15], size=size)
    return np.asarray(stuck + 0.002 * rng.lognormal(0.0, 0.5, size))


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, size: 10.0 + rng.normal(size=size),
    "lognormal": lambda rng, size: rng.lognormal(0.0, 1.0, size),
    "bimodal": _bimodal,
}
"""Distributions of a measure; the last one is that of losses of XOR."""


@dataclass(frozen=True)
class Design:
    """How the replicates of simulated groups are drawn.

    Attributes:
        n_groups: Number of groups.
        n: Replicates per group.
        is_paired: Whether the groups share their seeds.
        is_time: Whether epochs to converge are compared, of which some are censored.
        effect: By how many standard deviations the first group is better than all others.
    """

    n_groups: int
    n: int
    is_paired: bool
    is_time: bool = False
    effect: float = 0.0


@dataclass(frozen=True)
class Crossing:
    """Two equal groups whose runs share splits and seeds, all combinations of both.

    Which group is better depends on the split and on the seed.

    Attributes:
        n_splits: Number of splits.
        n_seeds: Number of seeds.
        of_split: Standard deviation of what the split changes in the difference of the groups.
        of_seed: Likewise of the seed; that of a single run is 1.
    """

    n_splits: int
    n_seeds: int
    of_split: float
    of_seed: float = 0.0


def crossed_groups(design: Crossing, rng: np.random.Generator) -> list[Group]:
    """Two groups with all combinations of splits and seeds."""
    shape = design.n_splits, design.n_seeds
    split = design.of_split * rng.normal(size=(shape[0], 1))
    seed = design.of_seed * rng.normal(size=shape[1])
    first = rng.normal(size=shape)
    second = first + split + seed + rng.normal(size=shape)
    return _two_groups(np.exp(0.1 * np.stack([first, second])).reshape(2, -1), shape)


def _two_groups(found: Array, shape: tuple[int, int]) -> list[Group]:
    n = found.shape[1]
    replicates = np.arange(n)
    table = RunTable(
        frame=pd.DataFrame(index=range(2 * n)),
        numbers={
            "final_loss": found.ravel(),
            "epochs_run": np.full(2 * n, float(MAX_EPOCHS)),
            "epochs": np.full(2 * n, float(MAX_EPOCHS)),
            REPLICATE: np.tile(replicates, 2).astype(float),
        },
        outcomes=np.full(2 * n, "completed", object),
        levels={"split": replicates // shape[1], "seed": replicates % shape[1]},
    )
    return [Group({"group": str(g)}, table, np.arange(g * n, (g + 1) * n), 0) for g in range(2)]


def crossed_positives(
    design: Crossing, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of comparisons of equal groups that are called different.

    Returns:
        By the report, and by the signed-rank test that takes all runs for independent.
    """
    measure, hits = objectives()["final_loss"], []
    for _ in range(repetitions):
        a, b = crossed_groups(design, rng)
        (compared,) = compare_with_best([(a, b)], measure)
        naive = stats.wilcoxon(a.scores(measure), b.scores(measure)).pvalue
        hits.append((compared.p_adjusted < ALPHA, naive < ALPHA))
    ours, of_runs = np.mean(hits, axis=0)
    return float(ours), float(of_runs)


def values(design: Design, rng: np.random.Generator) -> Array:
    """Skewed values of a measure, (n_groups, n); +inf for runs that do not converge."""
    shared = rng.normal(size=design.n) * math.sqrt(CORRELATION) if design.is_paired else 0.0
    own = rng.normal(size=(design.n_groups, design.n))
    latent = shared + own * (math.sqrt(1.0 - CORRELATION) if design.is_paired else 1.0)
    latent[0] -= design.effect
    found: Array = np.exp(0.5 * latent)
    if design.is_time:
        limit = math.exp(0.5 * stats.norm.ppf(CONVERGED))
        found = np.where(found <= limit, np.rint(1000.0 * found), np.inf)
    return found


def groups_of(found: Array, design: Design) -> list[Group]:
    """The groups of a report with these values, (n_groups, n)."""
    k, n = found.shape
    converged = np.isfinite(found).ravel()
    replicates = np.arange(n) if design.is_paired else np.arange(k * n).reshape(k, n)
    table = RunTable(
        frame=pd.DataFrame(index=range(k * n)),
        numbers={
            "final_loss": np.where(converged, found.ravel(), 0.0),
            "epochs_run": np.where(converged, found.ravel(), float(MAX_EPOCHS)),
            "epochs": np.full(k * n, float(MAX_EPOCHS)),
            REPLICATE: np.broadcast_to(replicates, (k, n)).ravel().astype(float),
        },
        outcomes=np.where(converged & design.is_time, "converged", "completed").astype(object),
    )
    return [Group({"group": str(g)}, table, np.arange(g * n, (g + 1) * n), 0) for g in range(k)]


def comparisons(found: Array, design: Design) -> Sequence[Comparison]:
    """The comparisons of the report on these values."""
    measure = objectives()["epochs_to_converge" if design.is_time else "final_loss"]
    horizon = float(MAX_EPOCHS)

    def key(group: Group) -> tuple[float, ...]:
        return measure.ranking_key(group.scores(measure), horizon)

    best, *others = sorted(groups_of(found, design), key=key)
    return compare_with_best([(best, other) for other in others], measure)


def false_positives(design: Design, repetitions: int, rng: np.random.Generator) -> float:
    """Share of reports on equal groups that call any difference significant."""
    hits = [
        min(c.p_adjusted for c in comparisons(values(design, rng), design)) < ALPHA
        for _ in range(repetitions)
    ]
    return float(np.mean(hits))


def covered(interval: Interval, true: float) -> float:
    """Whether the interval contains the true value; nan if it is not printed."""
    if math.isnan(interval.low) and math.isnan(interval.high):
        return math.nan
    return float(interval.low <= true <= interval.high)


def _median(a: Array, _: Array, n: int) -> Interval:
    return intervals.median_interval(a)


def _share(a: Array, _: Array, n: int) -> Interval:
    return intervals.share_interval(int((a < 0.0).sum()), n)


def _paired_share(a: Array, b: Array, n: int) -> Interval:
    return statistics.paired_improvement(a, b)


def _unpaired_share(a: Array, b: Array, n: int) -> Interval:
    return statistics.improvement_interval(a, b)


def _paired_difference(a: Array, b: Array, n: int) -> Interval:
    return intervals.median_interval(statistics.paired_differences(a, b))


def _unpaired_difference(a: Array, b: Array, n: int) -> Interval:
    return intervals.median_difference(a, b)


def _study(a: Array, b: Array, n: int) -> Interval:
    published = Published(n, float(b.mean()), float(b.std(ddof=1)))
    return difference_of_means(a, published).percent


@dataclass(frozen=True)
class Case:
    """An interval that is printed.

    Attributes:
        interval: Of two samples, (n,) each, and n.
        true: The true value; None for the median of the distribution.
        draws: The distributions; all where it assumes nothing about them.
    """

    interval: Callable[[Array, Array, int], Interval]
    true: float | None
    draws: Mapping[str, Draw]


def _centered(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.normal(-1.2815515655446004, 1.0, size)


def _skewed(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.gamma(4.0, 25.0, size)


INTERVALS = {
    "median": Case(_median, None, DISTRIBUTIONS),
    "share of runs, 90%": Case(_share, 0.9, {"normal": _centered}),
    "P(first is better), paired": Case(_paired_share, 0.5, DISTRIBUTIONS),
    "P(first is better), unpaired": Case(_unpaired_share, 0.5, DISTRIBUTIONS),
    "median difference, paired": Case(_paired_difference, 0.0, DISTRIBUTIONS),
    "difference of medians, unpaired": Case(_unpaired_difference, 0.0, DISTRIBUTIONS),
    "difference from a publication": Case(_study, 0.0, {"normal": DISTRIBUTIONS["normal"],
                                                        "gamma": _skewed}),
}  # fmt: skip


def coverage(name: str, n: int, repetitions: int, rng: np.random.Generator) -> float:
    """The lowest coverage of an interval over its distributions; nan if it is not printed."""
    case, lowest = INTERVALS[name], math.nan
    for draw in case.draws.values():
        true = case.true
        if true is None:
            true = float(np.median(draw(np.random.default_rng(0), (1_000_001,))))
        hits = [covered(case.interval(*draw(rng, (2, n)), n), true) for _ in range(repetitions)]
        lowest = float(np.fmin(lowest, np.mean(hits)))
    return lowest


def power(n: int, effect: float, repetitions: int, rng: np.random.Generator) -> list[float]:
    """Share of simulations that find the first of six paired groups better than the second.

    Returns:
        By the report; by SciPy's signed-rank test and by its Mann-Whitney test, both with
        Bonferroni's correction for all 15 pairs.
    """
    design, found = Design(6, n, is_paired=True, effect=effect), []
    for _ in range(repetitions):
        drawn = values(design, rng)
        compared = comparisons(drawn, design)
        # The report compares the group that looks best: it must be the first.
        ours = {c.b.settings["group"]: c.p_adjusted for c in compared}
        is_best = compared[0].a.settings["group"] == "0"
        a, b = drawn[:2]
        found.append([
            is_best and ours["1"] < ALPHA,
            15 * stats.wilcoxon(a, b).pvalue < ALPHA,
            15 * stats.mannwhitneyu(a, b).pvalue < ALPHA,
        ])  # fmt: skip
    return [float(share) for share in np.mean(found, axis=0)]


def race_of(scores: Array, measure: str) -> Race:
    """Races with these scores of all seeds, (races, k, n), which do not end before the last one."""
    is_time, horizon = objectives()[measure].is_time, float(MAX_EPOCHS)

    def centers(found: Array) -> Array:
        if is_time:
            return np.asarray(np.minimum(found, horizon).mean(axis=-1))
        return np.asarray(np.median(found, axis=-1))

    outcomes = partial(racing.outcomes, objectives()[measure], horizon)
    race = racing.Race(scores.shape[1], outcomes, centers, scores.shape[:1])
    for first in range(0, scores.shape[2], RACE_BLOCK):
        race.add(scores[..., first : first + RACE_BLOCK])
    return race


def _correlated(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Standard normal values, (races, k, n), with ``CORRELATION`` between those of a seed."""
    shared = rng.normal(size=(size[0], 1, size[2])) * math.sqrt(CORRELATION)
    return np.asarray(shared + rng.normal(size=size) * math.sqrt(1.0 - CORRELATION))


def _censored(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Epochs to converge; +inf for runs that do not."""
    latent = _correlated(rng, size)
    epochs = np.rint(1000.0 * np.exp(0.5 * latent))
    return np.where(latent <= stats.norm.ppf(CONVERGED), epochs, np.inf)


RACE_DRAWS: dict[str, tuple[str, Draw]] = {
    "lognormal, correlated": ("final_loss", lambda rng, size: np.exp(_correlated(rng, size))),
    "Cauchy, independent": ("final_loss", lambda rng, size: rng.standard_cauchy(size)),
    "accuracies with ties": (
        "accuracy", lambda rng, size: -np.round(0.9 + 0.03 * _correlated(rng, size), 2)
    ),
    "epochs, 30% censored": ("epochs_to_converge", _censored),
}  # fmt: skip
"""The measure and the scores of races, (races, k, n)."""


def race_errors(name: str, n_settings: int, repetitions: int, rng: np.random.Generator) -> float:
    """Share of races between equal settings in which any is stopped before the last seed."""
    measure, draw = RACE_DRAWS[name]
    race = race_of(draw(rng, (repetitions, n_settings, RACE_SEEDS)), measure)
    return float(np.mean(~race.is_racing.all(axis=-1)))


def race_savings(
    n_settings: int, effect: float, repetitions: int, rng: np.random.Generator
) -> list[float]:
    """Races in which the first setting is better than all others, which are equal.

    Args:
        n_settings: Number of settings.
        effect: By how many standard deviations of a run the first one is better.
        repetitions: Number of races.
        rng: Draws the scores.

    Returns:
        The share of the runs that is saved compared with all seeds of all settings; the share of
        races that decide for the first setting; and the share in which it is stopped.
    """
    latent = _correlated(rng, (repetitions, n_settings, RACE_SEEDS))
    latent[:, 0] -= effect
    race = race_of(np.exp(latent), "final_loss")
    n_seeds, is_decided = race.n_seeds, race.is_racing.sum(axis=-1) == 1
    # A race that is decided ends when its last other setting stops.
    last = np.where(race.is_racing, 0, n_seeds).max(axis=-1)
    n_seeds = np.where(race.is_racing & is_decided[:, None], last[:, None], n_seeds)
    saved = 1.0 - float(n_seeds.mean()) / RACE_SEEDS
    first = race.is_racing[:, 0]
    return [saved, float(np.mean(is_decided & first)), float(np.mean(~first))]


def simulate_races(repetitions: int, seed: int = 0) -> dict[str, Any]:
    """The results of the tables of races as plain values."""
    rng, errors = np.random.default_rng(seed), {}
    for name in RACE_DRAWS:
        errors[name] = [race_errors(name, k, repetitions, rng) for k in RACE_SETTINGS]
        print("race", name, errors[name], flush=True)
    savings = {
        f"{k} settings, {effect:g} sd": race_savings(k, effect, repetitions, rng)
        for k in RACE_SETTINGS
        for effect in RACE_EFFECTS
    }
    return {"repetitions": repetitions, "errors": errors, "savings": savings}


def simulate(repetitions: int, seed: int = 0) -> dict[str, Any]:
    """All results of the page as plain values, by table."""
    rng = np.random.default_rng(seed)
    errors = {}
    for is_time in (False, True):
        for is_paired in (True, False):
            for k in N_GROUPS:
                designs = [Design(k, n, is_paired, is_time) for n in N_REPLICATES]
                measure = "epochs, 30% censored" if is_time else "loss"
                name = f"{measure}, {'paired' if is_paired else 'unpaired'}, {k} groups"
                errors[name] = [false_positives(d, repetitions, rng) for d in designs]
                print(name, errors[name], flush=True)
    intervals = {
        name: [coverage(name, n, repetitions, rng) for n in N_REPLICATES] for name in INTERVALS
    }
    detected = {
        f"{effect:g} sd, {n} seeds": power(n, effect, repetitions, rng)
        for effect in (0.75, 1.5)
        for n in (10, 20)
    }
    return {
        "repetitions": repetitions, "errors": errors, "power": detected,
        "races": simulate_races(RACES_PER_REPETITION * repetitions, seed),
        "coverage": {k: [None if math.isnan(v) else v for v in found]
                     for k, found in intervals.items()},
    }  # fmt: skip


INTRODUCTION = """# Do the statistics hold?

`python -m benchmarks.statistics` simulates the [statistics](explanation/statistics.md) of reports
and studies, and writes this page. Each number is a share of {repetitions} simulations; two standard
errors of a share of 5% are {error:.1f} percentage points.

![The share of false positives and of intervals that contain the true value](simulations.png)
"""
ERRORS = """## False positives

Groups that do not differ: the share of reports that call any difference significant. It is to be
at most 5%. Values are skewed (lognormal); paired replicates have a correlation of 0.8.
"""
COVERAGE = """## Intervals

How often the interval of 95% contains the true value: the lowest share over a normal, a lognormal
and a bimodal distribution, the last like losses of XOR (for publications a normal and a gamma
distribution), which is below the true one by chance. A dash: no interval is printed for so few
runs.
"""
POWER = """## Differences that are found

The first of six groups is better than all others by the given number of standard deviations: the
share of simulations that find it significantly better than the second. The tests of SciPy are
corrected for all 15 pairs.
"""
RACE_ERRORS = """## Races of equal settings

`seeds=auto` with blocks of {block} and at most {seeds} seeds, in {repetitions} simulated races: the
share of races between equal settings that stop any setting as worse. It is to be at most 5%.
Correlated values have a correlation of 0.8 between runs with the same seed.
"""
RACE_SAVINGS = """## What a race saves

The first setting is better than all others, which are equal, by the given number of standard
deviations of a run (lognormal, correlated): the share of the runs that is saved, compared with
{seeds} seeds of each setting; the share of races that decide for the first setting; and the share
that stop it. Intervals (`seeds.width`) do not end these races.
"""


def page(results: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    repetitions = results["repetitions"]
    error = 200.0 * math.sqrt(0.05 * 0.95 / repetitions)
    sizes = [f"{n} replicates" for n in N_REPLICATES]
    tables = [
        (ERRORS, ["groups", *sizes], results["errors"]),
        (COVERAGE, ["interval", *sizes], results["coverage"]),
        (POWER, ["effect", "report", "SciPy signed-rank", "SciPy Mann-Whitney"], results["power"]),
    ]
    races = results["races"]
    counts = {"block": RACE_BLOCK, "seeds": RACE_SEEDS, "repetitions": races["repetitions"]}
    settings = [f"{k} settings" for k in RACE_SETTINGS]
    tables += [
        (RACE_ERRORS.format(**counts), ["values", *settings], races["errors"]),
        (RACE_SAVINGS.format(**counts), ["race", "saved", "decided", "best one stopped"],
         races["savings"]),
    ]  # fmt: skip
    parts = [INTRODUCTION.format(repetitions=repetitions, error=error)]
    for text, header, found in tables:
        rows = [[name, *map(_percent, shares)] for name, shares in found.items()]
        table = Table(header, rows, "l" + "r" * (len(header) - 1))
        parts.append(f"{text}\n{markdown_table(table).strip()}\n")
    return "\n".join(parts)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f}%"


def plot(results: Mapping[str, Any]) -> Figure:
    """The false positives and the coverage by the number of replicates."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for shares in results["errors"].values():
        left.plot(N_REPLICATES, [100 * share for share in shares], "o-", color="#2a78b5", alpha=0.5)
    left.axhline(5.0, color="black", linestyle="--")
    left.set(title="False positives of equal groups", ylabel="% of reports", ylim=(0.0, 12.0))
    for name, shares in results["coverage"].items():
        known = [math.nan if share is None else 100 * share for share in shares]
        right.plot(N_REPLICATES, known, "o-", label=name)
    right.axhline(100 * LEAST_COVERAGE, color="black", linestyle="--")
    right.set(title="Intervals that contain the true value", ylabel="%", ylim=(85.0, 101.0))
    right.legend(fontsize=7, loc="lower left")
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
    args = parser.parse_args()
    if args.repetitions < 2:
        parser.error(f"--repetitions must be at least 2, got {args.repetitions}")
    results = simulate(args.repetitions)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "simulations.json").write_text(json.dumps(results, indent=1) + "\n")
    (args.output / "simulations.md").write_text(page(results))
    figure = plot(results)
    figure.savefig(args.output / "simulations.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
