"""How each setting that varies matters: its marginal effect over the other settings.

The values of a setting are compared within the same combinations of all other settings. Each seed
gives one marginal result per value, the median over these combinations, so that seeds stay the
independent units of the tests. Times to converge are averaged, as in the ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bpexp.analysis import estimates, statistics
from bpexp.analysis.findings import Comparison, Findings, compare_with_best
from bpexp.analysis.groups import REPLICATE, SWEEP, Group, RunTable
from bpexp.analysis.intervals import Interval
from bpexp.analysis.permutation import ALPHA
from bpexp.analysis.words import number, p_value
from bpexp.render.wording import counted
from bpexp.runs.objective import Objective
from bpexp.runs.result import Outcome
from bpexp.typing import Array

Cells = dict[str, dict[tuple[str, ...], dict[float, float]]]
"""The score of each run by value, combination of the other settings, and replicate."""


@dataclass(frozen=True, eq=False)
class Level:
    """The results with one value of a setting.

    Attributes:
        value: The value.
        center: Median, or mean of epochs to converge, over the replicates of the marginal results.
        interval: The median with an interval that holds for all values of the setting together.
        by_combination: The median or mean of each combination of the other settings.
    """

    value: str
    center: float
    interval: Interval
    by_combination: Sequence[float]


@dataclass(frozen=True, eq=False)
class Effect:
    """How one setting matters.

    Attributes:
        key: The setting.
        measure: What was measured.
        levels: The values, in their own order; none if no two values occur in the same combination
            of the other settings.
        ranked: The same, the best first.
        comparisons: The best value with each other one, corrected for all pairs of values; none
            without replicates.
        n_settings: Number of settings whose effects are tested.
        p: The smallest p-value of the comparisons, corrected for all settings; nan without any.
    """

    key: str
    measure: Objective
    levels: Sequence[Level]
    ranked: Sequence[Level]
    comparisons: Sequence[Comparison]
    n_settings: int = 1
    p: float = np.nan

    @property
    def can_be_significant(self) -> bool:
        """Whether there are enough seeds for any significant effect."""
        if not self.comparisons:
            return False
        k = len(self.levels)
        smallest = min(c.smallest_p for c in self.comparisons)
        return self.n_settings * k * (k - 1) / 2 * smallest < ALPHA

    @property
    def sentence(self) -> str:
        """How the setting matters, with how certain that is."""
        if not self.levels:
            return f"{self.key}: its effect cannot be separated from that of the other settings."
        best, worst = self.ranked[0], self.ranked[-1]
        result = (
            f"{self.key}={best.value} is best ({self.measure.statistic} {self.measure.label} "
            f"{number(best.center)}), {self.key}={worst.value} worst ({number(worst.center)})"
        )
        return f"{self.key} {self.verdict}: {result}{self._consistency}.{self._next}"

    @property
    def numbers(self) -> dict[str, Any]:
        """The effect for programs."""
        return {
            "key": self.key, "p": self.p,
            "values": [
                {"value": level.value, "center": level.center, "median": list(level.interval)}
                for level in self.levels
            ],
        }  # fmt: skip

    @property
    def verdict(self) -> str:
        """Whether the setting matters, as the predicate of a sentence."""
        seeds = counted(self.comparisons[0].pairs, "seed") if self.comparisons else "one seed"
        if not self.can_be_significant:
            return f"has an effect that cannot be tested with {seeds}"
        if self.p < ALPHA:
            return f"matters ({p_value(self.p)})"
        return f"has no effect that {seeds} can show ({p_value(self.p)})"

    @property
    def _consistency(self) -> str:
        """In how many combinations of the other settings the best value is the best one."""
        n = len(self.ranked[0].by_combination)
        if n == 1:
            return ""
        scores = np.array([level.by_combination for level in self.ranked])
        n_best = int(np.sum(scores[0] <= scores.min(axis=0)))
        value = f"{self.key}={self.ranked[0].value}"
        return f"; {value} is best in {n_best} of {n} combinations of the other settings"

    @property
    def _next(self) -> str:
        """A remark if the setting matters, but its best value may not be the best one."""
        similar = [c.b.settings[self.key] for c in self.comparisons if c.p_adjusted >= ALPHA]
        if not self.can_be_significant or self.p >= ALPHA or not similar:
            return ""
        values = ", ".join(similar)
        return f" It is not statistically distinguishable from {self.key}={values}."


def effects(findings: Findings) -> list[Effect]:
    """The effect of each setting that varies, in the order of the settings.

    Args:
        findings: The groups, ranked by a measure.
    """
    if not findings.has_scores:
        return []
    keys = [key for key in findings.grouped.varying if key != SWEEP]
    found = [_effect(findings, key) for key in keys]
    tested = [effect for effect in found if effect.comparisons]
    adjusted = statistics.holm([min(c.p_adjusted for c in e.comparisons) for e in tested])
    p_of = {effect.key: p for effect, p in zip(tested, adjusted, strict=True)}
    return [
        replace(effect, n_settings=max(1, len(tested)), p=p_of.get(effect.key, np.nan))
        for effect in found
    ]


def _effect(findings: Findings, key: str) -> Effect:
    measure = findings.measure
    cells = _balanced(_cells(findings, key))
    if len(cells) < 2:
        return Effect(key, measure, (), (), ())
    center = np.mean if measure.is_time else np.median
    replicates = sorted({r for by_seed in next(iter(cells.values())).values() for r in by_seed})
    marginal = {
        value: np.array([
            center([by_seed[r] for by_seed in combinations.values() if r in by_seed])
            for r in replicates
        ])
        for value, combinations in cells.items()
    }  # fmt: skip
    levels = [
        Level(
            value,
            measure.as_measured(float(center(marginal[value]))),
            estimates.median(measure, marginal[value], len(cells)),
            [float(center([*by_seed.values()])) for by_seed in combinations.values()],
        )
        for value, combinations in cells.items()
    ]
    horizon = findings.horizon
    order = sorted(levels, key=lambda level: measure.ranking_key(marginal[level.value], horizon))
    groups = [
        _group(findings, {key: level.value}, marginal[level.value], replicates) for level in order
    ]
    pairs = [(groups[0], other) for other in groups[1:]] if len(replicates) > 1 else []
    return Effect(key, measure, levels, order, compare_with_best(pairs, measure))


def _cells(findings: Findings, key: str) -> Cells:
    """The scores of all runs, in the order of the values."""
    measure = findings.measure
    cells: Cells = {value: {} for value in findings.grouped.varying[key]}
    for group in findings.grouped.groups:
        scores = group.scores(measure)
        if measure.is_time:
            scores = np.minimum(scores, findings.horizon)
        others = tuple(value for k, value in group.settings.items() if k != key)
        by_replicate = zip(group.column(REPLICATE).tolist(), scores.tolist(), strict=True)
        cells[group.settings[key]][others] = dict(by_replicate)
    return cells


def _balanced(cells: Cells) -> Cells:
    """The part of the cells in which each combination and replicate has all values.

    Of several parts, such as those of an optimizer that has a setting and one that has not, the
    one with the most cells is taken.
    """
    values_of: dict[tuple[str, ...], list[str]] = {}
    for value, combinations in cells.items():
        for others in combinations:
            values_of.setdefault(others, []).append(value)
    parts = {tuple(values) for values in values_of.values() if len(values) > 1}
    if not parts:
        return {}

    def n_cells(part: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        return len(part) * sum(set(part) <= set(values) for values in values_of.values()), part

    part = max(parts, key=n_cells)
    balanced: Cells = {value: {} for value in part}
    for others in values_of:
        found = [cells[value].get(others, {}) for value in part]
        shared = [r for r in found[0] if all(r in by_replicate for by_replicate in found)]
        if shared:
            for value, by_replicate in zip(part, found, strict=True):
                balanced[value][others] = {r: by_replicate[r] for r in shared}
    return balanced if balanced[part[0]] else {}


def _group(
    findings: Findings, settings: dict[str, str], scores: Array, replicates: Sequence[float]
) -> Group:
    """The marginal results of one value, as a group with one run per replicate."""
    measure, n = findings.measure, len(scores)
    outcome = Outcome.CONVERGED if measure.is_time else Outcome.COMPLETED
    table = RunTable(
        findings.grouped.groups[0].table.frame,
        {
            measure.metric: np.array([measure.as_measured(score) for score in scores]),
            REPLICATE: np.array(replicates),
            "epochs": np.full(n, findings.horizon),
        },
        np.full(n, outcome.value, object),
    )
    return Group(settings, table, np.arange(n), 0)
