"""How much of the variance between runs each setting, each pair of settings and the seed explain.

For a full grid, in which every combination of settings has the same seeds, the sum of squares is
the sum of those of each setting, of each pair, of three and more settings together, and of the
seed: an analysis of variance, without a model of the surface. A share is corrected for what the
seeds alone would give (epsilon squared, Kelley 1935). Its interval is a jackknife over seeds (Efron
and Tibshirani 1993, chapter 11), because the runs of one seed are not independent.

>>> values = np.add.outer([0.0, 1.0, 2.0], np.zeros(4))  # three settings, four seeds
>>> [(share.name, share.estimate) for share in shares(values, ["lr"])]
[('lr', 1.0), ('the seed', 0.0)]
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from bpexp.analysis.findings import Findings
from bpexp.analysis.groups import REPLICATE, SWEEP
from bpexp.analysis.intervals import CONFIDENCE
from bpexp.runs.objective import Objective
from bpexp.typing import Array

HIGHER, SEED = "three and more settings together", "the seed"
MIN_SEEDS = 3
"""A jackknife over fewer seeds says nothing."""
MIN_SHOWN = 0.005
"""Smaller shares of pairs are not listed in the sentence."""


class Share(NamedTuple):
    """A share of the variance between runs.

    Attributes:
        name: A setting, "lr and hidden" for what the pair adds to its settings, ``HIGHER`` or
            ``SEED``: the seed's own effect, and how it changes those of the settings.
        estimate: The share; the estimates of all shares add up to 1. A small one may be negative.
        low: Lower limit of its interval, at least 0.
        high: Upper limit, at most 1.
    """

    name: str
    estimate: float
    low: float
    high: float


class Decomposition(NamedTuple):
    """The shares of the variance in a full grid, and what varies: "log final loss"."""

    quantity: str
    shares: Sequence[Share]

    @property
    def sentence(self) -> str:
        """The shares, those of settings first."""
        first = [s for s in self.shares if " and " not in s.name or s.estimate >= MIN_SHOWN]
        listed = ", ".join(
            f"{s.name} {_percent(s.estimate)} ({_percent(s.low)} to {_percent(s.high)})"
            for s in first
        )
        return f"Of the variance of the {self.quantity} between runs: {listed}."


def decompose(findings: Findings) -> Decomposition | None:
    """The shares of the settings that vary; None if they are no full grid with shared seeds.

    A run without a value counts as the worst one that has a value.
    """
    measure, keys = findings.measure, list(findings.grouped.varying)
    if not keys or SWEEP in keys or not findings.has_scores:
        return None
    places = {
        key: {level: place for place, level in enumerate(levels)}
        for key, levels in findings.grouped.varying.items()
    }
    groups = findings.grouped.groups
    shape = tuple(len(levels) for levels in places.values())
    seeds = sorted(set.intersection(*(set(g.column(REPLICATE).tolist()) for g in groups)))
    if len(groups) != np.prod(shape) or len(seeds) < MIN_SEEDS:
        return None
    values = np.empty((*shape, len(seeds)))
    for group in groups:
        cell = tuple(places[key][group.settings[key]] for key in keys)
        by_seed = dict(zip(group.column(REPLICATE), group.costs(measure), strict=True))
        values[cell] = [by_seed[seed] for seed in seeds]
    known = values[np.isfinite(values)]
    values = np.where(np.isfinite(values), values, known.max())
    # Epochs to converge are ranked by their mean.
    is_log = not measure.is_maximized and not measure.is_time and bool(values.min() > 0.0)
    values = np.log(values) if is_log else values
    return (
        Decomposition(_quantity(measure, is_log), shares(values, keys)) if np.ptp(values) else None
    )


def shares(values: Array, names: Sequence[str]) -> list[Share]:
    """The shares of settings, of pairs, and of the seed.

    Args:
        values: The value of each run, an axis for each setting and one for the seeds,
            (n_1, ..., n_k, n_seeds) with at least ``MIN_SEEDS`` seeds.
        names: The settings, k of them.
    """
    n = values.shape[-1]
    whole = _estimates(values)
    without_one = np.array([_estimates(np.delete(values, seed, axis=-1)) for seed in range(n)])
    error = np.sqrt((n - 1) / n * ((without_one - without_one.mean(axis=0)) ** 2).sum(axis=0))
    half = error * stats.t.ppf(0.5 + CONFIDENCE / 2.0, n - 1)
    pairs = [f"{a} and {b}" for a, b in itertools.combinations(names, 2)]
    all_names = [*names, *pairs, *([HIGHER] if len(names) > 2 else []), SEED]
    return [
        Share(name, float(share), float(max(0.0, share - h)), float(min(1.0, share + h)))
        for name, share, h in zip(all_names, whole, half, strict=True)
    ]


def _estimates(values: Array) -> Array:
    """The shares of settings, pairs, higher orders (of more than two settings) and the seed."""
    *levels, n_seeds = values.shape
    cells = values.mean(axis=-1)
    total = float(((values - values.mean()) ** 2).sum())
    between = n_seeds * float(((cells - cells.mean()) ** 2).sum())
    of_seed = values.mean(axis=tuple(range(len(levels))))
    interaction = total - between - cells.size * float(((of_seed - of_seed.mean()) ** 2).sum())
    # What an effect without any influence would have, by degree of freedom.
    noise = interaction / max(1, (cells.size - 1) * (n_seeds - 1))
    found, freedom_left, left = [], cells.size - 1, between
    orders = [1, 2] if len(levels) > 1 else [1]
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(len(levels)), order) for order in orders
    ):
        freedom = int(np.prod([levels[axis] - 1 for axis in axes]))
        square = n_seeds * cells.size * float((_effect(cells, axes) ** 2).mean())
        found.append((square - freedom * noise) / total)
        freedom_left, left = freedom_left - freedom, left - square
    if len(levels) > 2:
        found.append((left - freedom_left * noise) / total)
    return np.array([*found, 1.0 - sum(found)])


def _effect(cells: Array, axes: Sequence[int]) -> Array:
    """The effect of one setting or, beyond those of its settings, of a pair, at each level."""
    others = tuple(axis for axis in range(cells.ndim) if axis not in axes)
    effect = cells.mean(axis=others) - cells.mean()
    if effect.ndim > 1:
        effect = effect - effect.mean(axis=1, keepdims=True) - effect.mean(axis=0, keepdims=True)
    return np.asarray(effect)


def _quantity(measure: Objective, is_log: bool) -> str:
    return f"logarithm of the {measure.label}" if is_log else measure.label


def _percent(share: float) -> str:
    # A corrected estimate may be a little outside of 0 to 1.
    return f"{100.0 * min(1.0, max(0.0, share)):.0f}%"
