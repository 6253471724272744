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
from bpexp.studies.definition import Published, Study, StudyRow
from bpexp.studies.verdict import Verdict, judge
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
"""The coverage of intervals that fewer simulations print is not known well, and neither are the
errors of tests."""


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

    It is None if fewer than ``LEAST_PRINTED`` of the samples are compared.

    Args:
        draw: Draws our values and the published ones.
        repetitions: Number of simulations.
        rng: Draws the values.
    """
    hits = []
    for _ in range(repetitions):
        ours, published = _drawn(draw, SPREAD_SIZE, rng)
        found = {} if varies_too_much(ours, published) else p_values_of_statistics(ours, published)
        hits.append([found.get(name, math.nan) for name in SPREADS])
    return [_significant(p) for p in np.transpose(hits)]


def study_positives(
    draw: Draw, factor: float, sizes: tuple[int, int], repetitions: int, rng: np.random.Generator
) -> float:
    """The share of comparisons with a publication that call the means different.

    It is nan if fewer than ``LEAST_PRINTED`` of them are tested.

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
        is_tested = not varies_too_much(ours, published)
        hits.append(difference_of_means(ours, published).p if is_tested else math.nan)
    share = _significant(np.array(hits))
    return math.nan if share is None else share


def _significant(p_values: Array) -> float | None:
    """The share of significant p-values, (n,), nan without a test; None if hardly any is tested."""
    if np.mean(np.isfinite(p_values)) < LEAST_PRINTED:
        return None
    return float(np.mean(p_values < ALPHA))


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


RATIOS = (1.0, 1.1, 1.15)
"""Our mean divided by the published one."""
AGREEMENTS: dict[str, tuple[Draw, tuple[int, int]]] = {
    "normal, sd 10% of the mean, 100 ours, 25 published": (
        lambda rng, size: 100.0 + 10.0 * rng.normal(size=size), (100, 25)
    ),
    "gamma, sd 15% of the mean, 100 ours, 100 published": (
        lambda rng, size: rng.gamma(44.0, 1.0, size), (100, 100)
    ),
    "lognormal, sd 20% of the mean, 200 ours, 100 published": (
        lambda rng, size: rng.lognormal(0.0, 0.2, size), (200, 100)
    ),
}  # fmt: skip
"""Distributions, and the numbers of our runs and of the published ones."""


def agreements(
    draw: Draw, sizes: tuple[int, int], ratio: float, repetitions: int, rng: np.random.Generator
) -> float:
    """The share of rows with the verdict "agrees within 10%".

    Args:
        draw: Draws our values and the published ones, of which mean and sd are published.
        sizes: Number of our runs and of the published ones.
        ratio: What our values are multiplied by.
        repetitions: Number of simulations.
        rng: Draws the values.
    """
    hits = []
    for _ in range(repetitions):
        ours, published = _drawn(draw, sizes, rng, ratio)
        hits.append(_verdict(ours, published).text.startswith("agrees"))
    return float(np.mean(hits))


def _rare(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Values near 87.6 with the mean 100, of which 3% are near 500."""
    center = np.where(rng.random(size) < 0.03, 500.0, 85.0 / 0.97)
    return np.asarray(center * (1.0 + 0.05 * rng.normal(size=size)))


OTHER_SHAPES: dict[str, tuple[Draw, Draw]] = {
    "gamma, exponential published": (STUDIES["gamma"], STUDIES["exponential"]),
    "exponential, gamma published": (STUDIES["exponential"], STUDIES["gamma"]),
    "normal, rare large values published": (STUDIES["normal"], _rare),
    "gamma, rare large values published": (STUDIES["gamma"], _rare),
}
"""Distributions of our values and of the published ones, with the same mean of 100."""
OTHER_SHAPES_SIZE = (100, 25)


def other_shapes(
    ours: Draw, theirs: Draw, repetitions: int, rng: np.random.Generator
) -> list[float | None]:
    """Studies whose published values have another shape than ours, but the same mean.

    Returns:
        The share of studies that print an interval of the difference of the means; that print one
        which does not contain the true difference, 0; and of those that would print such a one if
        it were not withheld where the spread differs.
    """
    found = []
    for _ in range(repetitions):
        values = ours(rng, OTHER_SHAPES_SIZE[:1])
        _, published = _drawn(theirs, OTHER_SHAPES_SIZE, rng)
        published = replace(published, median=None, min=None, max=None)
        printed = _verdict(values, published).difference
        ends = math.nan if printed is None else covered(printed.percent, 0.0)
        raw = difference_of_means(values, published).percent
        is_wrong = printed is not None and covered(raw, 0.0) == 0.0
        found.append([not math.isnan(ends), ends == 0.0, is_wrong])
    return [float(share) for share in np.mean(found, axis=0)]


def _verdict(ours: Array, published: Published) -> Verdict:
    """The verdict of a study of one row."""
    row = StudyRow("row", (), {"final_loss": published})
    study = Study("study", "simulated", ("final_loss",), len(ours), (), (row,))
    (verdict,) = judge(study, [[ours]])
    return verdict
