"""Compare two sweeps on the combinations that both contain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bpexp.analysis.findings import Comparison, compare
from bpexp.analysis.groups import REPLICATE, Group, Grouped, as_floats
from bpexp.analysis.permutation import ALPHA
from bpexp.analysis.words import interval, p_value, too_few, with_the_same
from bpexp.render.wording import counted
from bpexp.runs.objective import Objective


@dataclass(frozen=True, eq=False)
class Agreement:
    """The comparison of two sweeps.

    Runs with the same combination and seed that have equal results are not independent samples,
    so the comparisons leave them out.

    Attributes:
        comparisons: One for each shared group, first sweep against second.
        is_complete: Whether both sweeps contain every group.
        n_shared: Number of pairs of runs with the same combination and seed.
        n_identical: Number of those pairs with equal final losses and numbers of epochs.
        n_differing: Number of runs in shared groups without an identical run in the other sweep.
    """

    comparisons: Sequence[Comparison]
    is_complete: bool
    n_shared: int
    n_identical: int
    n_differing: int

    @property
    def sentence(self) -> str:
        """The result in one to three sentences, with the largest difference found."""
        if not self.n_differing and self.is_complete:
            return f"The sweeps agree: they contain the same runs. {self._identical}"
        if not self.comparisons:
            return f"The sweeps agree on all runs that both contain. {self._identical}"
        parts = [self._compared, self._identical]
        if self.n_identical:
            parts.append("These are left out of the comparison.")
        return " ".join(filter(None, parts))

    @property
    def _compared(self) -> str:
        """How many groups differ, with the largest difference."""
        n = len(self.comparisons)
        largest = max(self.comparisons, key=lambda c: abs(c.improvement.estimate - 0.5))
        name = largest.a.without_sweep.name
        corrected = f", corrected for {n} comparisons" if n > 1 else ""
        difference = (
            f"the largest difference is for {name}, where a run of the first sweep is better "
            f"than one of the second{with_the_same(largest)} with probability "
            f"{interval(largest.improvement)} ({p_value(largest.p_adjusted)}{corrected})."
        )
        if n * min(c.smallest_p for c in self.comparisons) >= ALPHA:
            few = too_few(self.comparisons, n, counted(n, "shared group"))
            return f"The sweeps cannot be told apart. {few} {difference[0].upper()}{difference[1:]}"
        differing = sum(c.is_significant for c in self.comparisons)
        if differing:
            return f"The sweeps do not agree: {differing} of {n} shared groups differ; {difference}"
        return f"The sweeps do not differ significantly in {n} shared groups; {difference}"

    @property
    def _identical(self) -> str:
        if not self.n_shared:
            return ""
        return (
            f"Of {counted(self.n_shared, 'run')} with the same combination and seed, "
            f"{self.n_identical} have equal final losses and numbers of epochs."
        )


def compare_sweeps(grouped: Grouped, objective: Objective) -> Agreement | None:
    """Compare two sweeps that were grouped together.

    Args:
        grouped: The groups; ``sweep`` is one of the keys that vary and has two values.
        objective: The objective to compare.

    Returns:
        The comparison of each group that both sweeps contain; None if they share no group.
    """
    by_combination: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in grouped.groups:
        combination = tuple(group.without_sweep.settings.items())
        by_combination.setdefault(combination, []).append(group)
    shared = [(groups[0], groups[1]) for groups in by_combination.values() if len(groups) == 2]
    if not shared:
        return None
    pairs, n_shared, n_identical, n_differing = [], 0, 0, 0
    for a, b in shared:
        n_common, identical = _identical_seeds(a.rows, b.rows)
        n_shared, n_identical = n_shared + n_common, n_identical + len(identical)
        rest_a, rest_b = _without_seeds(a, identical), _without_seeds(b, identical)
        n_differing += len(rest_a) + len(rest_b)
        if len(rest_a) and len(rest_b):
            pairs.append((rest_a, rest_b))
    return Agreement(
        comparisons=compare(pairs, objective),
        is_complete=2 * len(shared) == len(grouped.groups),
        n_shared=n_shared,
        n_identical=n_identical,
        n_differing=n_differing,
    )


def _without_seeds(group: Group, seeds: list[int]) -> Group:
    is_kept = ~np.isin(group.column(REPLICATE), seeds)
    return replace(group, row_indices=group.row_indices[is_kept])


def _identical_seeds(a: pd.DataFrame, b: pd.DataFrame) -> tuple[int, list[int]]:
    """Number of seeds in both groups, and the seeds whose runs have the same loss and epochs."""
    both = a.merge(b, on=REPLICATE, suffixes=("", "_b"))
    losses, losses_b = as_floats(both["final_loss"]), as_floats(both["final_loss_b"])
    # The loss of a diverged run is nan.
    is_same_loss = (losses == losses_b) | (np.isnan(losses) & np.isnan(losses_b))
    is_identical = is_same_loss & (as_floats(both["epochs_run"]) == as_floats(both["epochs_run_b"]))
    return len(both), both[REPLICATE][is_identical].tolist()
