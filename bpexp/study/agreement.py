"""Do two sweeps agree on the configurations that both of them ran?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpexp.study.findings import Comparison, compare
from bpexp.study.groups import SWEEP, Grouped, Measure, numbers
from bpexp.study.words import ALPHA, interval, listed, p_value


@dataclass(frozen=True, eq=False)
class Agreement:
    """The groups both sweeps have, compared; ``same`` of ``twice`` runs are equal in both.

    ``twice`` counts runs of equal settings and seed; ``apart`` the settings that keep the
    sweeps from sharing a group.
    """

    comparisons: Sequence[Comparison]
    same: int
    twice: int
    apart: Sequence[str]

    @property
    def sentence(self) -> str:
        """The answer, with the largest difference found."""
        if not self.comparisons:
            return f"The sweeps share no configuration: they differ in {listed(self.apart)}."
        n = len(self.comparisons)
        equal = (
            f" Of {self.twice} runs with the same settings and seed {self.same} are equal in loss "
            "and epochs to the last bit."
            if self.twice
            else ""
        )
        if self.twice and self.same == self.twice and self._all_paired:
            return f"The sweeps agree: they hold the same runs.{equal}"
        far = max(self.comparisons, key=lambda c: abs(c.improvement.estimate - 0.5))
        name = " ".join(f"{k}={v}" for k, v in far.a.settings.items() if k != SWEEP) or "all runs"
        most = (
            f"the largest difference is in {name}, where a run of the first sweep does better "
            f"with probability {interval(far.improvement)} ({p_value(far.p_holm)}, corrected)"
        )
        differ = sum(c.p_holm < ALPHA for c in self.comparisons)
        if differ:
            return f"The sweeps do not agree: {differ} of {n} shared groups differ; {most}.{equal}"
        return f"No difference between the sweeps shows in {n} shared groups; {most}.{equal}"

    @property
    def _all_paired(self) -> bool:
        runs = sum(len(c.a.runs) + len(c.b.runs) for c in self.comparisons)
        return runs == 2 * self.twice


def agree(grouped: Grouped, measure: Measure, seed: int) -> Agreement:
    """Compare two sweeps grouped together, ``sweep`` among what varies."""
    by_settings: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for place, group in enumerate(grouped.groups):
        rest = tuple((k, v) for k, v in group.settings.items() if k != SWEEP)
        by_settings.setdefault(rest, []).append(place)
    pairs = [
        (grouped.groups[places[0]], grouped.groups[places[1]])
        for places in by_settings.values()
        if len(places) == 2
    ]
    same = twice = 0
    for a, b in pairs:
        both = a.runs.merge(b.runs, on="seed", suffixes=("", "_b"))
        equal = np.logical_and(
            numbers(both["final_loss"]) == numbers(both["final_loss_b"]),
            numbers(both["epochs_run"]) == numbers(both["epochs_run_b"]),
        )
        same, twice = same + int(equal.sum()), twice + len(both)
    apart = [
        f"{key} ({', '.join(values)})" for key, values in grouped.varying.items() if key != SWEEP
    ]
    return Agreement(compare(pairs, measure, seed, len(pairs)), same, twice, apart)
