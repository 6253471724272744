"""The tables of docs/simulations.md: the rows of each one, and how a row is simulated."""

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.simulations.grids import GRIDS, grid_coverage
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
    RACE_DRAWS,
    RACE_EFFECTS,
    RACE_SIZES,
    race_coverage,
    race_errors,
    race_savings,
)
from benchmarks.simulations.reports import PRINTED, UNLIKE, joint_coverage, unlike_positives
from benchmarks.simulations.splits import RUNS, cluster_coverage
from benchmarks.simulations.studies import (
    AGREEMENTS,
    FEW_SIZES,
    OTHER_SHAPES,
    PARTLY,
    PARTLY_SIZES,
    RATIOS,
    SIZES,
    STUDIES,
    agreements,
    other_shapes,
    spread_positives,
    study_coverage,
    study_positives,
)

N_GROUPS, N_REPLICATES = (2, 4, 6, 20), (3, 5, 10, 20)
N_UNLIKE = (5, 10, 20, 50)
"""Numbers of replicates of groups that are unlike in shape."""

Shares = list[float | None]
"""The numbers of a row; None where nothing is printed or a tool is not installed."""
Simulation = Callable[[int, np.random.Generator], Shares]
"""Simulates a row of a table as often as is asked."""
Rows = dict[str, Simulation]


def _equal_groups() -> dict[str, list[Design]]:
    """The designs of the false positives of equal groups, a row for each number of groups."""
    found = {}
    for is_time, is_paired in itertools.product((False, True), (True, False)):
        measure = "epochs, 30% censored" if is_time else "loss"
        for k in N_GROUPS:
            name = f"{measure}, {'paired' if is_paired else 'unpaired'}, {k} groups"
            found[name] = [Design(k, n, is_paired, is_time) for n in N_REPLICATES]
    return found


EQUAL = _equal_groups()
"""The designs of ``false_positives``."""
TWO = {f"{n} replicates": Design(2, n, is_paired=False) for n in N_REPLICATES}
"""The designs of ``errors_of_two``."""
CROSSED = {
    f"{n} splits, {m} seeds, {name}": Crossing(n, m, of_split, of_seed)
    for n, m in ((6, 20), (10, 10), (20, 5))
    for name, of_split, of_seed in (
        ("splits matter", 1.0, 0.0), ("both matter", 1.0, 1.0), ("neither matters", 0.0, 0.0)
    )
}  # fmt: skip
"""The designs of ``crossed_positives``."""
OTHER = {
    f"{name}, {'paired' if is_paired else 'unpaired'}": (
        name, [Design(2, n, is_paired) for n in N_UNLIKE]
    )
    for name in UNLIKE
    for is_paired in (True, False)
}  # fmt: skip
"""The shapes and designs of ``unlike_positives``."""
IMPOSSIBLE: dict[str, dict[str, list[bool]]] = {
    "errors": {name: [not d.can_be_significant for d in of] for name, of in EQUAL.items()},
    "unlike": {name: [not d.can_be_significant for d in of] for name, (_, of) in OTHER.items()},
    "errors_of_two": {name: [not design.can_be_significant] for name, design in TWO.items()},
    "crossed": {name: [not crossing.can_be_significant] for name, crossing in CROSSED.items()},
}
"""By section and row: in which of the first columns no result could be significant, so that the
share is 0 for any data."""


def _errors() -> Rows:
    return {name: _for_each(false_positives, designs) for name, designs in EQUAL.items()}


def _coverage() -> Rows:
    return {name: _for_each(partial(coverage, name), N_REPLICATES) for name in INTERVALS}


def _power() -> Rows:
    return {
        f"{effect:g} sd, {n} seeds": partial(power, n, effect)
        for effect in (0.75, 1.5)
        for n in (10, 20)
    }


def _errors_of_two() -> Rows:
    return {name: partial(errors_of_two, design.n) for name, design in TWO.items()}


def _crossed() -> Rows:
    return {name: partial(crossed_positives, crossing) for name, crossing in CROSSED.items()}


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


def _joint() -> Rows:
    return {
        f"{name}, {k} groups": _for_each(partial(joint_coverage, name, k), N_REPLICATES)
        for name, one in PRINTED.items()
        for k in one.sizes
    }


def _unlike() -> Rows:
    return {
        row: _for_each(partial(unlike_positives, name), designs)
        for row, (name, designs) in OTHER.items()
    }


def _clusters() -> Rows:
    return {name: partial(cluster_coverage, name) for name in RUNS}


def _grids() -> Rows:
    return {name: partial(grid_coverage, name) for name in GRIDS}


def _race_intervals() -> Rows:
    return {name: _for_each(partial(race_coverage, name), RACE_SIZES) for name in RACE_DRAWS}


def _shapes() -> Rows:
    return {name: partial(other_shapes, *draws) for name, draws in OTHER_SHAPES.items()}


def _agreements() -> Rows:
    return {name: _for_each(partial(agreements, *one), RATIOS) for name, one in AGREEMENTS.items()}


def _for_each(simulate: Callable[..., float], cases: Iterable[Any]) -> Simulation:
    """A row with a number for each case: ``simulate(case, repetitions, rng)``; nan is None."""

    def row(repetitions: int, rng: np.random.Generator) -> Shares:
        found = [simulate(case, repetitions, rng) for case in cases]
        return [None if math.isnan(share) else share for share in found]

    return row


SECTIONS: dict[str, Callable[[], Rows]] = {
    "errors": _errors, "coverage": _coverage, "power": _power, "errors_of_two": _errors_of_two,
    "crossed": _crossed, "studies": _studies, "few": _few, "races": _races, "savings": _savings,
    "partly": _partly, "spreads": _spreads, "joint": _joint, "unlike": _unlike,
    "clusters": _clusters, "grids": _grids, "race_intervals": _race_intervals, "shapes": _shapes,
    "agreements": _agreements,
}  # fmt: skip
"""The tables of the page; the place of each one determines its random numbers."""
