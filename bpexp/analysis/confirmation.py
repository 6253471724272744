"""Compares what combinations looked like in the sweep that chose them with what fresh seeds show.

>>> import numpy as np
>>> from bpexp.runs.objective import objectives
>>> sentence(objectives()["final_loss"], "lr=1", np.array([0.01, 0.02, 0.03]), np.arange(1.0, 10.0))
'lr=1 looked like 0.02, is 5 (2 to 8) over 9 fresh runs'
"""

from collections.abc import Sequence

import numpy as np

from bpexp.analysis import estimates
from bpexp.analysis.groups import SWEEP, Grouped
from bpexp.analysis.words import interval, number
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def sentence(
    objective: Objective, name: str, before: Array, after: Array, is_independent: bool = True
) -> str:
    """What a combination looked like, and what it is on fresh seeds: medians, with an interval.

    Args:
        objective: What the combinations are compared by.
        name: The combination.
        before: Its scores in the sweep that chose it, (n,).
        after: Its scores on fresh seeds, (m,).
        is_independent: Whether no two fresh runs share a level of a source of variation.
    """
    looked = estimates.median(objective, before).estimate
    found = estimates.median(objective, after, is_independent=is_independent)
    return (
        f"{name or 'the combination'} looked like {number(looked)}, is {interval(found)} over "
        f"{len(after)} fresh runs"
    )


def summary(objective: Objective, sentences: Sequence[str]) -> str:
    """The sentences of all combinations, with what they are about."""
    return f"{objective.title}, median, on seeds that chose nothing: {'; '.join(sentences)}."


def of_groups(objective: Objective, grouped: Grouped) -> str:
    """The summary for the groups of a sweep and of the sweep that confirms it.

    Args:
        objective: What the combinations are compared by.
        grouped: Groups of both sweeps; the sweep with the choice comes first.

    Returns:
        The summary; "" if the sweeps have no group in common.
    """
    first, second = grouped.varying[SWEEP]
    groups = {(g.settings[SWEEP], g.without_sweep.name): g for g in grouped.groups}
    scores = {key: group.scores(objective) for key, group in groups.items()}
    names = [name for sweep, name in groups if sweep == second and (first, name) in groups]
    names.sort(key=lambda name: float(np.median(scores[second, name])))
    found = [
        sentence(
            objective,
            name,
            scores[first, name],
            scores[second, name],
            groups[second, name].is_independent,
        )
        for name in names
    ]
    return summary(objective, found) if found else ""
