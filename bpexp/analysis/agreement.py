"""Do two sweeps agree on the configurations that both of them ran?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bpexp.analysis.findings import Comparison, compare
from bpexp.analysis.groups import SWEEP, Group, Grouped, Measure, numbers
from bpexp.analysis.words import ALPHA, interval, listed, p_value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Agreement:
    """Groups that both sweeps have, compared.

    Of ``twice`` runs with the same settings and seed ``same`` are equal in both; these are
    the same draws and are left out of the comparisons. ``shared``: groups of both, ``alone``:
    runs that are not equal to one of the other sweep, ``apart``: the settings in which the
    sweeps differ.
    """

    comparisons: Sequence[Comparison]
    shared: int
    same: int
    twice: int
    alone: int
    apart: Sequence[str]

    @property
    def sentence(self) -> str:
        """The answer, with the largest difference found."""
        if not self.shared:
            return f"The sweeps share no configuration: they differ in {listed(self.apart)}."
        if not self.alone:
            return f"The sweeps agree: they hold the same runs. {self._equal}"
        if not self.comparisons:
            return f"The sweeps agree on all the runs that both hold. {self._equal}"
        return " ".join(part for part in (self._compared, self._equal) if part)

    @property
    def _compared(self) -> str:
        n = len(self.comparisons)
        far = max(self.comparisons, key=lambda c: abs(c.improvement.estimate - 0.5))
        name = " ".join(f"{k}={v}" for k, v in far.a.settings.items() if k != SWEEP) or "all runs"
        most = (
            f"the largest difference is in {name}, where a run of the first sweep does better "
            f"with probability {interval(far.improvement)} ({p_value(far.p_holm)}, corrected)."
        )
        differ = sum(c.p_holm < ALPHA for c in self.comparisons)
        if differ:
            return f"The sweeps do not agree: {differ} of {n} shared groups differ; {most}"
        return f"No difference between the sweeps shows in {n} shared groups; {most}"

    @property
    def _equal(self) -> str:
        if not self.twice:
            return ""
        return (
            f"Of {self.twice} runs with the same settings and seed {self.same} are equal in loss "
            "and epochs to the last bit."
        )


def agree(grouped: Grouped, measure: Measure, seed: int) -> Agreement:
    """Compare two sweeps grouped together, ``sweep`` among what varies."""
    by_settings: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in grouped.groups:
        rest = tuple((k, v) for k, v in group.settings.items() if k != SWEEP)
        by_settings.setdefault(rest, []).append(group)
    pairs, same, twice, alone = [], 0, 0, 0
    shared = [(found[0], found[1]) for found in by_settings.values() if len(found) == 2]
    for a, b in shared:
        both, equal = _equal_seeds(a.rows, b.rows)
        same, twice = same + len(equal), twice + both
        rests = [replace(g, places=g.places[~np.isin(g.column("seed"), equal)]) for g in (a, b)]
        alone += sum(len(rest) for rest in rests)
        if all(len(rest) for rest in rests):
            pairs.append((rests[0], rests[1]))
    apart = [
        f"{key} ({', '.join(values)})" for key, values in grouped.varying.items() if key != SWEEP
    ]
    compared = compare(pairs, measure, seed, len(pairs))
    return Agreement(compared, len(shared), same, twice, alone, apart)


def _equal_seeds(a: "pd.DataFrame", b: "pd.DataFrame") -> tuple[int, list[int]]:
    """How many seeds two groups share, and those whose runs are equal."""
    both = a.merge(b, on="seed", suffixes=("", "_b"))
    equal = (numbers(both["final_loss"]) == numbers(both["final_loss_b"])) & (
        numbers(both["epochs_run"]) == numbers(both["epochs_run_b"])
    )
    return len(both), both["seed"][equal].tolist()
