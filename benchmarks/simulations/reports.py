"""Simulated reports: intervals of all groups together, and groups that are unlike in shape only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.simulations.groups import (
    CONVERGED,
    MAX_EPOCHS,
    Design,
    comparisons,
    groups_of,
    normal_values,
    values,
)
from benchmarks.simulations.intervals import covered
from bpexp.analysis.findings import Findings, find
from bpexp.analysis.groups import Grouped
from bpexp.analysis.intervals import Interval
from bpexp.analysis.permutation import ALPHA
from bpexp.runs.objective import objectives
from bpexp.typing import Array

Intervals = list[tuple[Interval, float]]
"""Intervals of a report, each with its true value."""


@dataclass(frozen=True)
class Printed:
    """Intervals that a report prints of all groups, or of all comparisons with the best.

    Attributes:
        of: The intervals of a report.
        is_paired: Whether the groups are paired.
        is_time: Whether they are compared by epochs to converge.
        sizes: Numbers of groups.
    """

    of: Callable[[Findings], Intervals]
    is_paired: bool = False
    is_time: bool = False
    sizes: Sequence[int] = (2, 6)


def _medians(found: Findings) -> Intervals:
    return [(summary.estimates["final_loss"]["median"], 1.0) for summary in found.summaries]


def _median_epochs(found: Findings) -> Intervals:
    return [(summary.epochs, 1000.0) for summary in found.summaries]


def _shares(found: Findings) -> Intervals:
    return [(summary.converged, CONVERGED) for summary in found.summaries]


def _improvements(found: Findings) -> Intervals:
    return [(compared.improvement, 0.5) for compared in found.comparisons]


def _differences(found: Findings) -> Intervals:
    return [(compared.difference, 0.0) for compared in found.comparisons]


# The values of ``groups.values`` have the median 1, or, of epochs, 1000.
PRINTED: Mapping[str, Printed] = {
    "medians": Printed(_medians, sizes=(2, 6, 20)),
    "median epochs, 30% censored": Printed(_median_epochs, is_time=True),
    "shares converged": Printed(_shares, is_time=True),
    "P(best is better), paired": Printed(_improvements, is_paired=True, sizes=(2, 6, 20)),
    "P(best is better), unpaired": Printed(_improvements),
    "differences from the best, paired": Printed(_differences, is_paired=True),
    "differences from the best, unpaired": Printed(_differences),
}


def joint_coverage(name: str, k: int, n: int, repetitions: int, rng: np.random.Generator) -> float:
    """The share of reports in which all printed intervals contain the true values.

    Args:
        name: See ``PRINTED``.
        k: Number of equal groups.
        n: Replicates per group.
        repetitions: Number of reports.
        rng: Draws the values.

    Returns:
        nan if a report prints no such interval.
    """
    printed, hits = PRINTED[name], []
    design = Design(k, n, printed.is_paired, printed.is_time)
    objective = objectives()["epochs_to_converge" if printed.is_time else "final_loss"]
    varying = {"group": [str(group) for group in range(k)]}
    for _ in range(repetitions):
        groups = groups_of(values(design, rng), design)
        found = find(Grouped(varying, groups, ["xor"], n, 0), objective, 0)
        hits.append([covered(interval, true) for interval, true in printed.of(found)])
    return float(np.mean(np.min(hits, axis=1)))


def _spread(normal: Array) -> Array:
    return 3.0 * normal


def _skewed(normal: Array) -> Array:
    return np.asarray(np.exp(normal) - 1.0)


Shape = Callable[[Array], Array]
"""From normal values, those of a distribution with the median 0."""
UNLIKE: Mapping[str, tuple[Shape, bool]] = {
    "equal medians, 3 times the spread": (_spread, False),
    "equal medians, one skewed": (_skewed, False),
    "equal means of epochs, 3 times the spread": (_spread, True),
    "equal means of epochs, one skewed": (_skewed, True),
}
"""The shape of the second of two groups, of which the first is normal, and whether they are
compared by epochs to converge, with equal means instead of equal medians."""
EPOCHS, SD_OF_EPOCHS = 3000.0, 200.0
"""Mean of the epochs of both groups, and standard deviation of the first."""


def unlike_positives(
    name: str, design: Design, repetitions: int, rng: np.random.Generator
) -> float:
    """The share of reports that call groups different of which only the shape differs.

    Args:
        name: See ``UNLIKE``.
        design: Two groups, and whether they have the same seeds, with correlated values.
        repetitions: Number of reports.
        rng: Draws the values.
    """
    shape, is_time = UNLIKE[name]
    shift, hits = _mean(shape) if is_time else 0.0, []
    for _ in range(repetitions):
        first, second = normal_values(design, rng)
        found = np.stack([first, shape(second) - shift])
        if is_time:
            found = np.clip(np.rint(EPOCHS + SD_OF_EPOCHS * found), 1.0, MAX_EPOCHS)
        (compared,) = comparisons(found, replace(design, is_time=is_time))
        hits.append(compared.p_adjusted < ALPHA)
    return float(np.mean(hits))


def _mean(shape: Shape) -> float:
    return float(shape(np.random.default_rng(0).normal(size=1_000_000)).mean())
