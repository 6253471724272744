"""How much of the variance between runs each setting, each pair of settings and the seed explain.

For a full grid, in which every combination of settings has the same seeds, the sum of squares is
the sum of those of each setting, of each pair, of three and more settings together, and of the
seed: an analysis of variance, without a model of the surface. A share is corrected for what the
seeds alone would give (epsilon squared, Kelley 1935).

If runs share levels of several sources, such as splits and seeds, each source has a share of its
own, see ``components``.

Shares have no intervals.

>>> values = np.add.outer([0.0, 1.0, 2.0], np.zeros(4))  # three settings, four seeds
>>> [(share.name, share.estimate) for share in shares(values, ["lr"])]
[('lr', 1.0), ('the seed', 0.0)]
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bpexp.analysis import components
from bpexp.analysis.findings import Findings
from bpexp.analysis.groups import REPLICATE, SWEEP
from bpexp.render.wording import counted, listed
from bpexp.runs.objective import Objective
from bpexp.runs.variation import SEED
from bpexp.typing import Array

HIGHER = "three and more settings together"
MIN_SEEDS = 3
"""With fewer seeds the shares say nothing."""
MIN_SHOWN = 0.005
"""Smaller shares of interactions are not listed in the sentence."""


class Share(NamedTuple):
    """A share of the variance between runs.

    Attributes:
        name: A setting, "lr and hidden" for what the pair adds to its settings, ``HIGHER`` or
            "the seed": the seed's own effect, and how it changes those of the settings.
        estimate: The share; the estimates of all shares add up to 1. A small one may be negative.
        is_interaction: Whether it is that of several settings together, beyond their own shares.
    """

    name: str
    estimate: float
    is_interaction: bool = False


class Decomposition(NamedTuple):
    """The shares of the variance between runs.

    Attributes:
        quantity: What varies: "logarithm of the final loss".
        shares: The shares, those of settings first.
        of: What the estimates are from: "10 seeds".
    """

    quantity: str
    shares: Sequence[Share]
    of: str

    @property
    def sentence(self) -> str:
        """The shares in their order, without small ones of interactions."""
        shown = [s for s in self.shares if not s.is_interaction or s.estimate >= MIN_SHOWN]
        # A small estimate may be negative; those that are shown are to add up to 100%.
        total = sum(max(0.0, share.estimate) for share in shown)
        named = ", ".join(
            f"{share.name} {_percent(max(0.0, share.estimate) / total)}" for share in shown
        )
        return (
            f"Of the variance of the {self.quantity} between runs, estimated from {self.of}: "
            f"{named}."
        )


def decompose(findings: Findings) -> Decomposition | None:
    """The shares of the settings that vary, or of several sources of variation.

    A run without a value counts as the worst one that has a value.

    Returns:
        The shares; None if the settings are no full grid with shared seeds, if the runs do not
        tell several sources apart, or if no run on the shared seeds has a finite value.
    """
    objective, keys = findings.objective, list(findings.grouped.varying)
    if SWEEP in keys or not findings.has_scores:
        return None
    if not all(group.is_independent for group in findings.grouped.groups):
        return _of_sources(findings)
    if not keys:
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
        by_seed = dict(zip(group.column(REPLICATE), group.costs(objective), strict=True))
        values[cell] = [by_seed[seed] for seed in seeds]
    if not np.isfinite(values).any():
        return None
    quantity, values = _on_scale(values, objective)
    if values.min() == values.max():
        return None
    sources = groups[0].table.varying_sources or [SEED]
    of = counted(len(seeds), sources[0])
    if len(sources) > 1:
        of = f"{len(seeds)} combinations of {listed(sources)}"
    return Decomposition(quantity, shares(values, keys, f"the {listed(sources)}"), of)


def _of_sources(findings: Findings) -> Decomposition | None:
    """The shares of all settings together and of each source of variation."""
    groups = findings.grouped.groups
    replicates = np.concatenate([group.column(REPLICATE) for group in groups])
    units = groups[0].table.units_of(replicates)
    values = np.concatenate([group.costs(findings.objective) for group in groups])
    quantity, values = _on_scale(values, findings.objective)
    levels = {f"the {unit.name}": unit.codes for unit in units}
    if len(groups) > 1:
        of_combination = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        levels = {components.SETTINGS: of_combination, **levels}
    found = components.shares(values, levels)
    if not found:
        return None
    rest = "the two together" if len(units) == 2 else "several of these together"
    if len(units) == 1:
        within = [name for name in groups[0].table.varying_sources if name != units[0].name]
        rest = f"the {listed(within or [SEED])} within each {units[0].name}"
    named = {name or rest: share for name, share in found.items()}
    return Decomposition(
        quantity,
        [Share(name, share) for name, share in named.items()],
        listed([counted(unit.n, unit.name) for unit in units]),
    )


def _percent(share: float) -> str:
    """A share in whole per cent; 0% and 100% mean exactly that.

    >>> _percent(0.0), _percent(0.003), _percent(0.42), _percent(0.998)
    ('0%', 'less than 1%', '42%', 'more than 99%')
    """
    if 0.0 < share < 0.005:
        return "less than 1%"
    if 0.995 <= share < 1.0:
        return "more than 99%"
    return f"{100.0 * share:.0f}%"


def _on_scale(values: Array, objective: Objective) -> tuple[str, Array]:
    """What varies, and the values without infinities; positive losses by their logarithm."""
    known = values[np.isfinite(values)]
    values = np.where(np.isfinite(values), values, known.max())
    # Epochs to converge are ranked by their mean.
    if not objective.is_maximized and not objective.is_time and bool(values.min() > 0.0):
        return f"logarithm of the {objective.label}", np.log(values)
    return objective.label, values


def shares(values: Array, names: Sequence[str], of_seed: str = "the seed") -> list[Share]:
    """The shares of settings, of pairs, and of the seed.

    Args:
        values: The value of each run, an axis for each setting and one for the seeds,
            (n_1, ..., n_k, n_seeds) with at least ``MIN_SEEDS`` seeds.
        names: The settings, k of them.
        of_seed: The name of the seeds' share.
    """
    interactions = [f"{a} and {b}" for a, b in itertools.combinations(names, 2)]
    if len(names) > 2:
        interactions.append(HIGHER)
    estimates = _estimates(components.scaled(values))
    return [
        Share(name, float(share), name in interactions)
        for name, share in zip([*names, *interactions, of_seed], estimates, strict=True)
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
