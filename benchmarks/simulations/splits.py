"""Simulated intervals of shares and of P(best is better) where runs share splits or seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from benchmarks.simulations.groups import Design, groups_of
from benchmarks.simulations.intervals import covered
from bpexp.analysis.findings import compare, find
from bpexp.analysis.groups import Grouped
from bpexp.analysis.intervals import share_interval
from bpexp.runs.objective import objectives
from bpexp.runs.variation import Codes
from bpexp.typing import Array

SHARE = 0.8
"""The true share of converged runs, and the true probability that the first group is better."""


@dataclass(frozen=True)
class Runs:
    """The splits and seeds of the runs of a group.

    Attributes:
        splits: The split of each run, (n_runs,).
        seeds: The seed of each run, (n_runs,).
        of_seed: Standard deviation of what the seed changes; that of a split and of a single run
            is 1.
    """

    splits: Codes
    seeds: Codes
    of_seed: float = 0.0

    def values(self, n: int, rng: np.random.Generator) -> Array:
        """Values of runs, (n, n_runs), normal with the mean 0 and the standard deviation 1."""
        found = rng.normal(size=(n, len(self.splits)))
        found += rng.normal(size=(n, self.splits.max() + 1))[:, self.splits]
        found += self.of_seed * rng.normal(size=(n, self.seeds.max() + 1))[:, self.seeds]
        return np.asarray(found / math.sqrt(2.0 + self.of_seed**2))


def _unbalanced(*sizes: int) -> Runs:
    splits = np.repeat(np.arange(len(sizes)), sizes)
    return Runs(splits, np.arange(len(splits)))


RUNS: dict[str, Runs] = {
    "10 splits, 10 seeds of each": _unbalanced(*[10] * 10),
    "10 splits with the same 10 seeds": Runs(
        np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10), of_seed=1.0
    ),
    "20 splits with the same 5 seeds": Runs(
        np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20), of_seed=1.0
    ),
    "10 splits with 2 to 30 runs": _unbalanced(2, 2, 2, 4, 4, 6, 10, 10, 20, 30),
    "5 splits with 1 to 40 runs": _unbalanced(1, 2, 5, 10, 40),
}
"""The runs of each group."""


def cluster_coverage(name: str, repetitions: int, rng: np.random.Generator) -> list[float | None]:
    """How often intervals of 95% contain the true value ``SHARE``.

    Returns:
        Of the share of converged runs; of P(best is better) in pairs; of the same of unpaired
        groups, each with splits of its own; and of the share, if all runs were independent.
    """
    simulations: tuple[Callable[[Runs, np.random.Generator], list[float]], ...] = (
        _of_share, _of_pairs, _of_unpaired,
    )  # fmt: skip
    hits = [
        [hit for simulate in simulations for hit in simulate(RUNS[name], rng)]
        for _ in range(repetitions)
    ]
    share, naive, paired, unpaired = (float(one) for one in np.mean(hits, axis=0))
    return [share, paired, unpaired, naive]


def _of_share(runs: Runs, rng: np.random.Generator) -> list[float]:
    latent = runs.values(1, rng)
    epochs = np.where(latent <= norm.ppf(SHARE), 100.0, np.inf)
    design = Design(1, latent.size, is_paired=True, is_time=True)
    groups = groups_of(epochs, design, {"split": runs.splits, "seed": runs.seeds})
    found = find(Grouped({}, groups, ["xor"], latent.size, 0), objectives()["final_loss"], 0)
    naive = share_interval(float(np.isfinite(epochs).sum()), epochs.size)
    return [covered(found.summaries[0].converged, SHARE), covered(naive, SHARE)]


def _of_pairs(runs: Runs, rng: np.random.Generator) -> list[float]:
    (differences,) = runs.values(1, rng)
    first = rng.normal(size=differences.size)
    values = np.stack([first, first + differences + norm.ppf(SHARE)])
    design = Design(2, first.size, is_paired=True)
    return _improvement(values, design, runs.splits, runs.seeds)


def _of_unpaired(runs: Runs, rng: np.random.Generator) -> list[float]:
    values = runs.values(2, rng)
    values[1] += math.sqrt(2.0) * norm.ppf(SHARE)
    splits = np.concatenate([runs.splits, runs.splits + runs.splits.max() + 1])
    seeds = np.concatenate([runs.seeds, runs.seeds + runs.seeds.max() + 1])
    return _improvement(values, Design(2, values.shape[1], is_paired=False), splits, seeds)


def _improvement(values: Array, design: Design, splits: Codes, seeds: Codes) -> list[float]:
    a, b = groups_of(values, design, {"split": splits, "seed": seeds})
    (compared,) = compare([(a, b)], objectives()["final_loss"])
    return [covered(compared.improvement, SHARE)]
