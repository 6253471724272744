"""Simulated studies: differences of means from a publication of the same or another mean."""

import math
from dataclasses import replace

import numpy as np

from benchmarks.simulations.intervals import DISTRIBUTIONS, Draw, covered
from bpexp.analysis.permutation import ALPHA
from bpexp.studies.comparison import (
    difference_of_means,
    exceeds_skewness_limit,
    p_values_of_statistics,
    varies_too_much,
)
from bpexp.studies.definition import Published
from bpexp.typing import Array

STUDIES: dict[str, Draw] = {
    "normal": lambda rng, size: 100.0 + 20.0 * rng.normal(size=size),
    "gamma": lambda rng, size: rng.gamma(4.0, 25.0, size),
    "exponential": lambda rng, size: rng.exponential(100.0, size),
    "lognormal, sigma 1": lambda rng, size: rng.lognormal(0.0, 1.0, size),
    "lognormal, sigma 1.5": lambda rng, size: rng.lognormal(0.0, 1.5, size),
    "lognormal, sigma 2": lambda rng, size: rng.lognormal(0.0, 2.0, size),
    "Pareto, exponent 2.5": lambda rng, size: 1.0 + rng.pareto(2.5, size),
    "bimodal": DISTRIBUTIONS["bimodal"],
}
"""Distributions of our values and of the published ones; the last one is that of losses of XOR."""
FEW_SIZES = ((10, 10), (20, 20), (10, 100), (100, 10))
"""Numbers of our runs and of the published ones that have no interval."""
SIZES = ((100, 25), (100, 100), (400, 25), (400, 100))
"""Numbers of our runs and of the published ones, that have an interval."""

PARTLY = {
    f"{name}, {kept} published": (STUDIES[name], kept)
    for name in ("normal", "gamma", "exponential", "lognormal, sigma 1", "Pareto, exponent 2.5")
    for kept in ("range", "only the mean")
}
"""Distributions, and what was published instead of a standard deviation."""
PARTLY_SIZES = SIZES[:2]
SPREAD_SIZE, SPREADS = (200, 100), ("sd", "median", "min", "max")
"""Number of our runs and of the published ones, and what else is compared than means."""

LEAST_PRINTED = 0.1
"""The coverage of intervals that fewer simulations print is not known well."""


def study_coverage(
    draw: Draw,
    sizes: tuple[int, int],
    repetitions: int,
    rng: np.random.Generator,
    kept: str = "all",
) -> float:
    """The share of printed intervals that contain the true difference, which is 0.

    It is nan if fewer than ``LEAST_PRINTED`` of the simulations print one.

    Args:
        draw: Draws our values and the published ones.
        sizes: Number of our runs and of the published ones.
        repetitions: Number of simulations.
        rng: Draws the values.
        kept: What is published, see ``PARTLY``.
    """
    hits = []
    for _ in range(repetitions):
        ours, published = _drawn(draw, sizes, rng)
        if kept != "all":
            published = replace(published, sd=None)
        if kept == "only the mean":
            published = replace(published, min=None, max=None)
        if not varies_too_much(ours, published) and not exceeds_skewness_limit(ours, published):
            hits.append(covered(difference_of_means(ours, published).percent, 0.0))
    return float(np.mean(hits)) if len(hits) >= LEAST_PRINTED * repetitions else math.nan


def spread_positives(draw: Draw, repetitions: int, rng: np.random.Generator) -> list[float | None]:
    """The share of equal samples whose ``SPREADS`` are called different.

    Args:
        draw: Draws our values and the published ones.
        repetitions: Number of simulations.
        rng: Draws the values.
    """
    hits = []
    for _ in range(repetitions):
        ours, published = _drawn(draw, SPREAD_SIZE, rng)
        found = {} if varies_too_much(ours, published) else p_values_of_statistics(ours, published)
        hits.append([found.get(name, 1.0) < ALPHA for name in SPREADS])
    return [float(share) for share in np.mean(hits, axis=0)]


def study_positives(
    draw: Draw, factor: float, sizes: tuple[int, int], repetitions: int, rng: np.random.Generator
) -> float:
    """The share of comparisons with a publication that call the means different.

    Args:
        draw: Draws our values and the published ones.
        factor: Our values are multiplied by this.
        sizes: Number of our runs and of the published ones.
        repetitions: Number of simulations.
        rng: Draws the values.
    """
    hits = []
    for _ in range(repetitions):
        ours, published = _drawn(draw, sizes, rng, factor)
        if varies_too_much(ours, published):
            hits.append(False)
        else:
            hits.append(difference_of_means(ours, published).p < ALPHA)
    return float(np.mean(hits))


def _drawn(
    draw: Draw, sizes: tuple[int, int], rng: np.random.Generator, factor: float = 1.0
) -> tuple[Array, Published]:
    """Our values, and a publication of others."""
    ours, theirs = (draw(rng, (n,)) for n in sizes)
    published = Published(
        sizes[1], float(theirs.mean()), float(theirs.std(ddof=1)), float(np.median(theirs)),
        float(theirs.min()), float(theirs.max()),
    )  # fmt: skip
    return factor * ours, published
