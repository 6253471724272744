"""How much of the variance between runs comes from each source of variation, such as the split.

The estimates are means of squared differences (Koch 1968, Technometrics 10:551): half the mean
squared difference of two runs that share the levels of some sources, and of no other, is the
variance that all other sources cause. This holds for crossed, nested and incomplete designs, and
gives the estimates of an analysis of variance if the design is complete.

>>> values = np.array([0.0, 0.0, 4.0, 4.0])
>>> levels = {"split": np.array([0, 0, 1, 1]), "seed": np.array([0, 1, 0, 1])}
>>> shares(values, levels)
{'split': 1.0, 'seed': 0.0, '': 0.0}
"""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from bpexp.runs.variation import Codes, codes_of
from bpexp.typing import Array

SETTINGS, REST = "the settings", ""


def shares(values: Array, levels: Mapping[str, Codes]) -> dict[str, float]:
    """The share of each source in the variance of a run, if everything is drawn anew.

    The levels of ``SETTINGS`` are not drawn: their share is what the given ones differ by.

    Args:
        values: The values of the runs, (n_runs,).
        levels: The level of each run by source, (n_runs,); no source is within another one.

    Returns:
        The shares by source, and as ``REST`` what sources do together or within others; they add
        up to 1, and a small one may be negative. Empty if the runs do not tell them apart.
    """
    values = scaled(values)
    fixed = [SETTINGS] if SETTINGS in levels else []
    apart = {name: _half_square(values, levels, [*fixed, name]) for name in levels}
    within = _half_square(values, levels, fixed)
    between = 0.0
    if fixed:
        n = int(levels[SETTINGS].max()) + 1
        between = (n - 1) / n * (_half_square(values, levels, []) - within)
    total = within + between
    if not total > 0.0 or not np.isfinite([total, *apart.values()]).all():
        return {}
    found = {name: (within - apart[name]) / total for name in levels}
    found |= {SETTINGS: between / total} if fixed else {}
    return found | {REST: 1.0 - sum(found.values())}


def scaled(values: Array) -> Array:
    """Deviations from the mean in units of the largest one; zeros if all values are equal.

    Shares of the variance do not depend on the unit, and squares of the deviations can neither be
    too large nor too small for a float.
    """
    values = values / (np.abs(values).max() or 1.0)
    deviations = values - values.mean()
    return np.asarray(deviations / (np.abs(deviations).max() or 1.0))


def _half_square(values: Array, levels: Mapping[str, Codes], shared: Iterable[str]) -> float:
    """Half the mean squared difference of runs that share these levels and no others.

    Nan if there are no such runs.
    """
    shared = list(dict.fromkeys(shared))
    others = [name for name in levels if name not in shared]
    squares, pairs = 0.0, 0.0
    # Inclusion and exclusion of the pairs that share further levels.
    for n_more in range(len(others) + 1):
        for more in itertools.combinations(others, n_more):
            of_pairs = _pairs(values, [levels[name] for name in (*shared, *more)])
            squares += (-1) ** n_more * of_pairs[0]
            pairs += (-1) ** n_more * of_pairs[1]
    return 0.5 * squares / pairs if pairs > 0.5 else np.nan


def _pairs(values: Array, levels: list[Codes]) -> tuple[float, float]:
    """Sum of squared differences of pairs that share at least these levels, and their number."""
    codes = codes_of(levels) if levels else np.zeros(len(values), np.intp)
    centered = values - values.mean()
    n, first, second = (np.bincount(codes, weights=w) for w in (centered**0, centered, centered**2))
    return float((n * second - first**2).sum()), float((n * (n - 1) / 2).sum())
