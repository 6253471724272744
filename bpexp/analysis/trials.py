"""The trials of a search: their values, and what they say of each setting."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.importance import MIN_TRIALS, ped_anova
from bpexp.analysis.words import number
from bpexp.render.wording import listed
from bpexp.typing import Array

MAX_NAMED = 6
"""Maximum number of values of a setting that a sentence names."""


@dataclass(frozen=True, eq=False)
class Trials:
    """The groups of a search in the order of its trials.

    Attributes:
        findings: The groups, ranked and compared.
        groups: The same groups in the order of the trials; at least one.
    """

    findings: Findings
    groups: Sequence[Summary]

    @cached_property
    def scores(self) -> Array:
        """What trials are judged by, (n_trials,): smaller is better, inf without a value."""
        objective, horizon = self.findings.objective, self.findings.horizon
        scores = [summary.group.scores(objective) for summary in self.groups]
        # A trial of which no run converged has the mean of the maximum, which is no value.
        return np.array(
            [objective.center(one, horizon) if np.isfinite(one).any() else np.inf for one in scores]
        )

    def values(self, key: str) -> list[str]:
        """The value of a setting in each trial."""
        return [summary.group.settings[key] for summary in self.groups]

    def numeric_values(self, key: str) -> Array:
        """The value of a numeric setting in each trial, (n_trials,)."""
        return np.array(self.values(key), float)

    def is_numeric(self, key: str) -> bool:
        """Whether a setting has more than two values, all of them finite numbers."""
        levels = self.findings.grouped.varying[key]
        try:
            return len(levels) > 2 and bool(np.isfinite([float(level) for level in levels]).all())
        except ValueError:
            return False

    def has_setting_with_more_values(self, limit: int) -> bool:
        """Whether a setting has more than ``limit`` values: most pairs of values have no trial."""
        return any(len(levels) > limit for levels in self.findings.grouped.varying.values())

    @cached_property
    def importance(self) -> str:
        """The importance of the settings, as a sentence; "" if it is not known."""
        if not self.findings.has_scores:
            return ""
        settings = [summary.group.settings for summary in self.groups]
        found = ped_anova(settings, self.scores.tolist())
        if not found:
            return ""
        listed = ", ".join(f"{key} {100.0 * share:.0f}%" for key, share in found.items())
        return (
            "Importance of the settings for reaching the best tenth (PED-ANOVA of Optuna): "
            f"{listed}."
        )

    @property
    def sentences(self) -> list[str]:
        """For each setting, its values in the best tenth of the trials and in all of them.

        This describes where the search found good values, and is no test: the other settings differ
        between trials, and the search chose their values.
        """
        known = np.flatnonzero(np.isfinite(self.scores))
        if len(known) < MIN_TRIALS:
            return [
                f"How each setting matters cannot be said of fewer than {MIN_TRIALS} trials with a "
                f"value, got {len(known)}."
            ]
        order = known[np.argsort(self.scores[known], kind="stable")]
        n_best = len(known) // 10
        return [self._sentence(key, order, n_best) for key in self.findings.grouped.varying]

    def _sentence(self, key: str, order: NDArray[np.intp], n_best: int) -> str:
        """The values of a setting in the best trials, and in all that have a value.

        Args:
            key: The setting.
            order: The indices of the trials that have a value, the best first.
            n_best: How many of them are compared with all.
        """
        tenth = f"the best tenth ({n_best} of {len(order)} trials with a value)"
        if self.is_numeric(key):
            in_all = self.numeric_values(key)[order]
            in_best = in_all[:n_best]
            return (
                f"{key}: {_limits(in_best)} in {tenth}, "
                f"{_limits(in_all)} in all; not tested, since the other settings differ, too."
            )
        values = [self.values(key)[index] for index in order]
        of_all, counts = Counter(values), Counter(values[:n_best])
        most = counts.most_common(MAX_NAMED)
        named = [f"{n} of the {of_all[value]} with {key}={value}" for value, n in most]
        return (
            f"{key}: {tenth} has {listed(named)}; not tested, since the other settings differ, too."
        )


def _limits(values: Array) -> str:
    """The smallest and the largest number, such as ``0.1 to 1``; one number if they are equal."""
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} to {high}"
