"""Simulated groups of runs: false positives of reports, and differences that they find."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.peers import rliable_intervals
from bpexp.analysis.findings import Comparison, compare_with_best
from bpexp.analysis.groups import REPLICATE, Group, RunTable
from bpexp.analysis.permutation import ALPHA, combined, smallest_p
from bpexp.runs.objective import objectives
from bpexp.runs.variation import Codes
from bpexp.typing import Array

CORRELATION = 0.8
"""Correlation of the replicates with the same seed, in simulations of paired groups."""
MAX_EPOCHS, CONVERGED = 10_000, 0.7
"""Maximum number of epochs, and the share of runs that converge in censored simulations."""


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

    @property
    def can_be_significant(self) -> bool:
        """Whether the correction for all pairs leaves any result of so few runs significant."""
        smallest = smallest_p(self.n, self.n, is_paired=self.is_paired)
        return math.comb(self.n_groups, 2) * smallest < ALPHA


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

    @property
    def can_be_significant(self) -> bool:
        """Whether any result of so few splits and seeds could be significant."""
        smallest = [smallest_p(n, n, is_paired=True) for n in (self.n_splits, self.n_seeds)]
        return combined(smallest) < ALPHA


def crossed_groups(design: Crossing, rng: np.random.Generator) -> list[Group]:
    """Two groups with all combinations of splits and seeds."""
    shape = design.n_splits, design.n_seeds
    split = design.of_split * rng.normal(size=(shape[0], 1))
    seed = design.of_seed * rng.normal(size=shape[1])
    first = rng.normal(size=shape)
    second = first + split + seed + rng.normal(size=shape)
    replicates = np.arange(first.size)
    return groups_of(
        np.exp(0.1 * np.stack([first, second])).reshape(2, -1),
        Design(2, first.size, is_paired=True),
        {"split": replicates // shape[1], "seed": replicates % shape[1]},
    )


def crossed_positives(
    design: Crossing, repetitions: int, rng: np.random.Generator
) -> list[float | None]:
    """Share of comparisons of equal groups that are called different.

    Returns:
        By the report, and by the signed-rank test that takes all runs for independent.
    """
    objective, hits = objectives()["final_loss"], []
    for _ in range(repetitions):
        a, b = crossed_groups(design, rng)
        (compared,) = compare_with_best([(a, b)], objective)
        naive = stats.wilcoxon(a.scores(objective), b.scores(objective)).pvalue
        hits.append((compared.p_adjusted < ALPHA, naive < ALPHA))
    ours, of_runs = np.mean(hits, axis=0)
    return [float(ours), float(of_runs)]


def normal_values(design: Design, rng: np.random.Generator) -> Array:
    """Normal values with the standard deviation 1, (n_groups, n), correlated in paired groups."""
    shared = rng.normal(size=design.n) * math.sqrt(CORRELATION) if design.is_paired else 0.0
    own = rng.normal(size=(design.n_groups, design.n))
    found: Array = shared + own * (math.sqrt(1.0 - CORRELATION) if design.is_paired else 1.0)
    found[0] -= design.effect
    return found


def values(design: Design, rng: np.random.Generator) -> Array:
    """Skewed values of an objective, (n_groups, n); +inf for runs that do not converge."""
    latent = normal_values(design, rng)
    found: Array = np.exp(0.5 * latent)
    if design.is_time:
        limit = math.exp(0.5 * stats.norm.ppf(CONVERGED))
        found = np.where(found <= limit, np.rint(1000.0 * found), np.inf)
    return found


def groups_of(
    found: Array, design: Design, levels: Mapping[str, Codes] | None = None
) -> list[Group]:
    """The groups of a report with these values, (n_groups, n).

    Args:
        found: The values.
        design: How they were drawn.
        levels: The split, seed or so on of each replicate, (n,), if several sources vary.
    """
    k, n = found.shape
    converged = np.isfinite(found).ravel()
    replicates = np.arange(n) if design.is_paired else np.arange(k * n).reshape(k, n)
    table = RunTable(
        frame=pd.DataFrame(index=range(k * n)),
        columns={
            "final_loss": np.where(converged, found.ravel(), 0.0),
            "epochs_run": np.where(converged, found.ravel(), float(MAX_EPOCHS)),
            "epochs": np.full(k * n, float(MAX_EPOCHS)),
            REPLICATE: np.broadcast_to(replicates, (k, n)).ravel().astype(float),
        },
        outcomes=np.where(converged & design.is_time, "converged", "completed").astype(object),
        levels=levels or {},
    )
    return [Group({"group": str(g)}, table, np.arange(g * n, (g + 1) * n), 0) for g in range(k)]


def comparisons(found: Array, design: Design) -> Sequence[Comparison]:
    """The comparisons of the report on these values."""
    objective = objectives()["epochs_to_converge" if design.is_time else "final_loss"]
    horizon = float(MAX_EPOCHS)

    def key(group: Group) -> tuple[float, ...]:
        return objective.ranking_key(group.scores(objective), horizon)

    best, *others = sorted(groups_of(found, design), key=key)
    return compare_with_best([(best, other) for other in others], objective)


def false_positives(design: Design, repetitions: int, rng: np.random.Generator) -> float:
    """Share of reports on equal groups that call any difference significant."""
    hits = [
        min(c.p_adjusted for c in comparisons(values(design, rng), design)) < ALPHA
        for _ in range(repetitions)
    ]
    return float(np.mean(hits))


def power(n: int, effect: float, repetitions: int, rng: np.random.Generator) -> list[float | None]:
    """Share of simulations that find the first of six paired groups better than the second.

    Returns:
        By the report; by SciPy's signed-rank test and by its Mann-Whitney test, and by the interval
        of rliable's probability of improvement, None if it is not installed; all but the report
        with Bonferroni's correction for all 15 pairs.
    """
    design, found = Design(6, n, is_paired=True, effect=effect), []
    has_rliable = rliable_intervals.available()
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
            has_rliable and rliable_intervals.is_better(a, b, 1.0 - ALPHA / 15, rng),
        ])  # fmt: skip
    shares = [float(share) for share in np.mean(found, axis=0)]
    return shares if has_rliable else [*shares[:-1], None]


def errors_of_two(n: int, repetitions: int, rng: np.random.Generator) -> list[float | None]:
    """Share of comparisons of two equal unpaired groups that are called different.

    Returns:
        By the report, and by the interval of rliable's probability of improvement.
    """
    design, has_rliable = Design(2, n, is_paired=False), rliable_intervals.available()
    found = []
    for _ in range(repetitions):
        drawn = values(design, rng)
        (ours,) = comparisons(drawn, design)
        theirs = has_rliable and rliable_intervals.differ(*drawn, 1.0 - ALPHA, rng)
        found.append([ours.p_adjusted < ALPHA, theirs])
    ours, theirs = (float(share) for share in np.mean(found, axis=0))
    return [ours, theirs if has_rliable else None]
