"""Compares results in the sweep that chose combinations with results on fresh seeds.

>>> import numpy as np
>>> from bpexp.runs.objective import objectives
>>> lr_1 = Confirmed("lr=1", np.array([0.01, 0.02, 0.03]), np.arange(1.0, 10.0), max_epochs=100)
>>> summary(objectives()["final_loss"], [lr_1])
'Final loss, median, in the sweep and on fresh seeds: lr=1: 0.02 in the sweep, 5 (2 to 8) over 9
fresh runs. In parentheses: the 95% confidence interval.'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bpexp.analysis import estimates
from bpexp.analysis.groups import SWEEP, Grouped
from bpexp.analysis.intervals import confidence_of_each
from bpexp.analysis.words import interval, number
from bpexp.render.wording import counted
from bpexp.runs.objective import Objective
from bpexp.typing import Array


@dataclass(frozen=True, eq=False)
class Confirmed:
    """A combination that was trained again.

    Attributes:
        name: The combination.
        before: Its scores in the sweep that chose it, (n,).
        after: Its scores on fresh seeds, (m,).
        max_epochs: Its maximum number of epochs.
        is_independent: Whether no two fresh runs share a level of a source of variation.
    """

    name: str
    before: Array
    after: Array
    max_epochs: float
    is_independent: bool = True


def summary(objective: Objective, confirmed: Sequence[Confirmed]) -> str:
    """The results of combinations in the sweep and on fresh seeds, the best on these first.

    The intervals of all medians hold together (Bonferroni), so that the one of the combination that
    is best on the fresh seeds holds, too.

    Args:
        objective: What the combinations are compared by.
        confirmed: The combinations; those without a fresh run that has a result are left out.
    """
    known = [one for one in confirmed if len(one.after)]
    if not known:
        return "No fresh run has a result."
    horizon, level = min(one.max_epochs for one in known), confidence_of_each(len(known))
    ranked = sorted(known, key=lambda one: (objective.ranking_key(one.after, horizon), one.name))
    sentences, has_interval = [], False
    for one in ranked:
        median = estimates.median(objective, one.after, level, one.is_independent)
        before, after = (
            number(objective.as_measured(objective.center(scores, horizon)))
            for scores in (one.before, one.after)
        )
        runs = counted(len(one.after), "fresh run")
        is_reached = not objective.is_time or math.isfinite(median.estimate)
        shown = interval(median) if is_reached else "not reached"
        has_interval = has_interval or (is_reached and median.has_bounds)
        if objective.is_time:
            found = f"{after} over {runs} (median {shown})"
        else:
            found = f"{shown} over {runs}"
        sentences.append(f"{one.name or 'the combination'}: {before} in the sweep, {found}")
    listed = "; ".join(sentences)
    said = f"{objective.title}, {objective.statistic}, in the sweep and on fresh seeds: {listed}."
    if not has_interval:
        return said
    if len(known) == 1:
        return f"{said} In parentheses: the 95% confidence interval."
    which = "both" if len(known) == 2 else f"all {len(known)}"
    return f"{said} In parentheses: 95% confidence intervals that hold for {which} together."


def summary_of_groups(objective: Objective, grouped: Grouped) -> str:
    """The summary for the groups of a sweep and of the sweep that confirms it.

    Args:
        objective: What the combinations are compared by.
        grouped: Groups of both sweeps; the sweep with the choice comes first.

    Returns:
        The summary; "" if the sweeps have no group in common.
    """
    first, second = grouped.varying[SWEEP]
    groups = {(g.settings[SWEEP], g.without_sweep.name): g for g in grouped.groups}
    confirmed = [
        Confirmed(
            name=name,
            before=groups[first, name].scores(objective),
            after=group.scores(objective),
            max_epochs=group.max_epochs,
            is_independent=group.is_independent,
        )
        for (sweep, name), group in groups.items()
        if sweep == second and (first, name) in groups
    ]
    return summary(objective, confirmed) if confirmed else ""
