"""Sources of variation: what makes the runs of one combination differ.

Each source draws random numbers from a seed: the split of the data from ``data.split_seed``, with
the fold, all others from ``seed`` unless they have a seed of their own. A source acts only if
something is drawn: there is no sample order without mini-batches, and no split without validation
or test rows. Runs that agree in every source that acts are the same run.

Runs that share a level of a source, such as a split, are not independent of each other. What is
independent are the levels:

>>> columns = {"seed": ["0", "1", "0", "1"], "data.split_seed": ["0", "0", "1", "1"]}
>>> [(unit.name, unit.n) for unit in independent_units(sources_of(columns, 4).levels)]
[('seed', 2), ('split', 2)]
>>> columns = {"seed": ["0", "1", "2", "3"], "data.split_seed": ["0", "0", "1", "1"]}
>>> [(unit.name, unit.n) for unit in independent_units(sources_of(columns, 4).levels)]
[('split', 2)]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.config.replicates import OWN_SEEDS, REPLICATE_KEYS, SPLIT_KEYS

Codes = NDArray[np.intp]
"""A number for each run; runs with equal numbers share a level of a source."""

SPLIT, FOLD, SEED, REPLICATE = "split", "fold", "seed", "replicate"
DRAWS = dict(zip(OWN_SEEDS, ("initialization", "sample order", "first-step draw"), strict=True))
"""What a seed of its own draws, by its key; the plural of each ends in s."""
_HAS_SPLIT = ("data.test_fraction", "data.validation_fraction", "data.folds")
KEYS = (
    *REPLICATE_KEYS, *_HAS_SPLIT, "batch_size", "model.init", "model.init_low", "model.init_high",
    "optimizer.step_init_low",
)  # fmt: skip
"""The settings that decide which sources act, and with which seeds."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The sources that act in any of several runs.

    Attributes:
        levels: The level of each run by source, (n_runs,): "seed" for all that follow ``seed``,
            those with a seed of their own, and "split", or "fold" if only the fold varies.
        distinct: Equal for runs that have the same random numbers, (n_runs,).
        keys: The settings that number the levels and differ between the runs.
    """

    levels: Mapping[str, Codes]
    distinct: Codes
    keys: Sequence[str]


@dataclass(frozen=True, eq=False)
class Unit:
    """What is independent: the levels of a source, with the runs of each.

    Attributes:
        name: What a level is, such as "split"; "replicate" if several sources change together, and
            "seed/split replicate" if others do so as well.
        codes: The level of each run, from 0, (n_runs,).
        n: Number of levels.
    """

    name: str
    codes: Codes
    n: int

    @property
    def n_trials(self) -> int:
        """The number of binomial trials that an interval of a share counts.

        If the runs of a level all have the same outcome, the variance of the share is that of n²
        divided by the sum of the squared numbers of runs of the levels (Kish 1965): the number of
        levels, if all have as many runs. Rounded down.
        """
        counts = np.bincount(self.codes)
        return max(1, len(self.codes) ** 2 // max(1, int(np.sum(counts**2))))


def sources_of(columns: Mapping[str, Sequence[str]], n: int) -> Sources:
    """The sources of variation of several runs.

    Args:
        columns: The values of ``KEYS`` as text, "null" if a run has none; any may be missing.
        n: Number of runs.
    """
    null = np.full(n, "null")
    values = {key: np.array(columns[key], str) if key in columns else null for key in KEYS}
    levels: dict[str, Any] = {}
    distinct, keys = [], []
    for key, name in DRAWS.items():
        acts = _acts(key, values)
        if not acts.any():
            continue
        is_own = values[key] != "null"
        drawn = np.where(is_own, values[key], values["seed"])
        distinct.append(np.where(acts, drawn, ""))
        if is_own.any():
            keys.append(key)
        if not is_own.all():
            keys.append("seed")
        levels[name if is_own.any() else SEED] = drawn
    acts = _splits(values, is_known=any(key in columns for key in _HAS_SPLIT))
    if acts.any():
        split_seed, fold = (values[key] for key in SPLIT_KEYS)
        only_folds = len(set(split_seed)) == 1 < len(set(fold))
        split = np.char.add(np.char.add(split_seed, "/"), fold)
        distinct.append(np.where(acts, split, ""))
        keys += SPLIT_KEYS
        levels[FOLD if only_folds else SPLIT] = split
    return Sources(
        {name: codes_of([level]) for name, level in levels.items()},
        codes_of(distinct) if distinct else np.zeros(n, np.intp),
        [key for key in REPLICATE_KEYS if key in keys and len(set(values[key])) > 1],
    )


def independent_units(levels: Mapping[str, Codes]) -> list[Unit]:
    """The sources whose levels are independent: all that vary and are not within another one.

    Sources with the same levels, such as splits that change with the seed, are one unit. Seeds that
    differ from split to split are within the splits. Seeds that all splits share are crossed with
    them: then there are two units, and neither of them alone tells how far a result holds.

    Args:
        levels: The level of each run by source, (n_runs,).
    """
    units: dict[str, Unit] = {}
    sources: dict[str, list[str]] = {}
    for name, level in levels.items():
        _, codes = np.unique(level, return_inverse=True)
        unit = Unit(name, codes, int(codes.max(initial=-1)) + 1)
        equal = next((first for first, u in units.items() if _are_equal(u, unit)), None)
        if equal is not None:
            sources[equal].append(name)
        elif unit.n > 1:
            units[name], sources[name] = unit, [name]
    found = [
        unit
        for unit in units.values()
        if not any(_is_within(unit, other) for other in units.values() if other is not unit)
    ]
    merged = [unit for unit in found if len(sources[unit.name]) > 1]
    for unit in merged:
        name = REPLICATE if len(merged) == 1 else f"{'/'.join(sources[unit.name])} {REPLICATE}"
        found[found.index(unit)] = replace(unit, name=name)
    return found


def are_independent(units: Sequence[Unit], n_runs: int) -> bool:
    """Whether no two of the runs share a level of any source that varies."""
    return n_runs < 2 or (len(units) == 1 and units[0].n == n_runs)


def about_repeated(n_runs: int) -> str:
    """Why some runs, at least one, do not count as replicates, as a sentence."""
    repeat = "run repeats" if n_runs == 1 else "runs repeat"
    return (
        f"{n_runs} {repeat} the settings and seed of another run, or differ from it only in a seed "
        "from which nothing is drawn. The same run twice counts as one replicate."
    )


def codes_of(columns: Sequence[Any]) -> Codes:
    """A number for each combination of the values of several arrays, (n,)."""
    found = np.zeros(len(columns[0]), np.intp)
    for column in columns:
        _, codes = np.unique(column, return_inverse=True)
        _, found = np.unique(found * (codes.max(initial=0) + 1) + codes, return_inverse=True)
    return found


def _is_within(unit: Unit, other: Unit) -> bool:
    """Whether each level of a unit lies within one level of another one."""
    n_joint = int(codes_of([unit.codes, other.codes]).max(initial=-1)) + 1
    return n_joint == unit.n


def _are_equal(unit: Unit, other: Unit) -> bool:
    """Whether two units have the same levels."""
    return unit.n == other.n and _is_within(unit, other)


def _acts(key: str, values: Mapping[str, Any]) -> Any:
    """For which runs a seed of its own would draw anything, (n_runs,)."""
    if key == "order_seed":
        return values["batch_size"] != "null"
    if key == "optimizer.step_init_seed":
        return values["optimizer.step_init_low"] != "null"
    low = values["model.init_low"]
    is_constant = (low != "null") & (low == values["model.init_high"])
    return (values["model.init"] != "uniform") | ~is_constant


def _splits(values: Mapping[str, Any], *, is_known: bool) -> Any:
    """For which runs rows are assigned at random, (n_runs,)."""
    if not is_known:
        return values["data.split_seed"] != "null"
    fractions = [~np.isin(values[key], ("null", "0", "0.0")) for key in _HAS_SPLIT]
    return np.logical_or.reduce(fractions)
