"""How each setting that varies matters: its marginal effect over the other settings.

The values of a setting are compared within the same combinations of all other settings. Each seed
gives one marginal result per value, the median over these combinations, so that seeds stay the
independent units of the tests. Times to converge are averaged, as in the ranking.

Settings that change together, as those of a zip, are compared as one setting. Where no two values
occur in the same combination, as in sub-sweeps with settings of their own, the best groups with
each value are described without a test: the other settings differ, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bpexp.analysis import estimates, intervals, statistics
from bpexp.analysis.findings import Comparison, Findings, Summary, compare_with_best
from bpexp.analysis.groups import REPLICATE, SWEEP, Group, RunTable
from bpexp.analysis.intervals import Interval
from bpexp.analysis.permutation import ALPHA
from bpexp.analysis.words import counted_units, number_pair, p_value
from bpexp.render.wording import abbreviated, counted, listed
from bpexp.runs.objective import Objective
from bpexp.runs.result import Outcome
from bpexp.runs.variation import are_independent
from bpexp.typing import Array

Value = tuple[str, ...]
"""The values of a setting, or of settings that change together."""
Cells = dict[Value, dict[tuple[str, ...], dict[float, float]]]
"""The score of each run by value, combination of the other settings, and replicate."""


@dataclass(frozen=True, eq=False)
class Level:
    """The results with one value of a setting.

    Attributes:
        value: The value; of settings that change together, their values.
        name: The value with the name of its setting, such as ``lr=1``. Where values are not
            compared within the same combinations, the name of the best group with the value.
        center: Median, or mean of epochs to converge, over the replicates of the marginal results.
        interval: The median with an interval that holds for all values of the setting together.
        by_combination: The median or mean of the scores of each combination of the other
            settings: smaller is better.
    """

    value: str
    name: str
    center: float
    interval: Interval
    by_combination: Sequence[float]


@dataclass(frozen=True, eq=False)
class Effect:
    """How one setting matters, or several settings that change together.

    Attributes:
        keys: The setting, or the settings that change together.
        objective: What was measured.
        levels: The values, in their own order.
        ranked: The same, the best first.
        comparisons: The best value with each other one, corrected for all pairs of values; none
            without replicates.
        left_out: The values that were not run with the same seeds and other settings.
        is_only: Whether no other setting varies.
        is_matched: Whether the values are compared within the same combinations of the other
            settings. Otherwise a level is the best group with a value, and nothing is tested.
        n_settings: Number of settings whose effects are tested.
        p: The smallest p-value of the comparisons, corrected for all settings; nan without any.
        n_unpaired: Number of runs with the compared values and other settings that are left out,
            because not all values were run with their seeds.
    """

    keys: tuple[str, ...]
    objective: Objective
    levels: Sequence[Level]
    ranked: Sequence[Level]
    comparisons: Sequence[Comparison]
    left_out: Sequence[str] = ()
    is_only: bool = False
    is_matched: bool = True
    n_settings: int = 1
    p: float = np.nan
    n_unpaired: int = 0

    @property
    def key(self) -> str:
        """The setting, or the settings that change together, separated by commas."""
        return ", ".join(self.keys)

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
        """How the setting matters, with how certain that is, and what was compared."""
        best, worst = self.ranked[0], self.ranked[-1]
        center, worst_center = number_pair(best.center, worst.center)
        if np.isinf(worst.center):
            worst_center = "most results are of diverged runs"
        result = (
            f"{best.name} is best ({self.objective.center_label} {center}), "
            f"{worst.name} worst ({worst_center})"
        )
        if best.center == worst.center:
            result = f"the {self.objective.center_label} is {center} with all values"
        if not self.is_matched and self.is_only:
            return (
                f"{self.key}: no two values were run with the same seeds, and no other setting "
                f"varies, so that its effect is the difference of the groups above: {result}."
            )
        if not self.is_matched:
            return (
                f"{self.key}: no two values were run with the same seeds and the same values of "
                f"the other settings, so that its own effect is not tested. Of the best groups "
                f"with each value {result}."
            )
        subject = f"{listed(self.keys)}, which change together," if self.keys[1:] else self.key
        sentence = f"{subject} {self.verdict}: {result}{self._consistency}."
        return f"{sentence}{self._next}{self._reverse}{self._others}{self._shared}"

    @property
    def as_json(self) -> dict[str, Any]:
        """The effect for programs."""
        return {
            "key": self.key, "p": self.p, "within_other_settings": self.is_matched,
            "values": [
                {"value": level.value, "center": level.center, "median": list(level.interval)}
                for level in self.levels
            ],
        }  # fmt: skip

    @property
    def verdict(self) -> str:
        """Whether the setting matters, as the predicate of a sentence."""
        if not self.is_matched:
            return "see the groups" if self.is_only else "best group with each value, not tested"
        seeds = counted_units(self.comparisons[0]) if self.comparisons else "one seed"
        matter, have = ("matter", "have") if self.keys[1:] else ("matters", "has")
        if not self.can_be_significant:
            return f"cannot be tested with {seeds}"
        if self.p < ALPHA:
            return f"{matter} ({p_value(self.p)})"
        return f"{have} no effect that {seeds} can show ({p_value(self.p)})"

    @property
    def _consistency(self) -> str:
        """In how many combinations of the other settings the best value is the best one."""
        if self.is_only:
            return "; no other setting varies"
        n = len(self.ranked[0].by_combination)
        if self.ranked[0].center == self.ranked[-1].center:
            return ""
        if n == 1:
            return "; in one combination of the other settings"
        scores = np.array([level.by_combination for level in self.ranked])
        n_best = int(np.sum(scores[0] <= scores.min(axis=0)))
        best = self.ranked[0].name
        return f"; {best} is best in {n_best} of {n} combinations of the other settings"

    @property
    def _others(self) -> str:
        """A remark if some values could not be compared."""
        if not self.left_out:
            return ""
        return (
            f" Not compared: {self.key}={abbreviated(self.left_out)}, without runs with the same "
            "seeds and other settings."
        )

    @property
    def _shared(self) -> str:
        """A remark if runs do not count because other values were not run with their seeds."""
        if not self.n_unpaired:
            return ""
        are = "is" if self.n_unpaired == 1 else "are"
        runs = counted(self.n_unpaired, "run")
        return f" {runs} with seeds that not all values have {are} left out."

    @property
    def _next(self) -> str:
        """A remark if the setting matters, but its best value may not be the best one."""
        similar = [c.b.settings[self.key] for c in self.comparisons if not c.is_significant]
        if not self.can_be_significant or self.p >= ALPHA or not similar:
            return ""
        names = self._named(similar)
        return f" {self.ranked[0].name} is not statistically distinguishable from {names}."

    @property
    def _reverse(self) -> str:
        """A remark if the test favors a value that the ranking does not."""
        better = [c.b.settings[self.key] for c in self.comparisons if c.is_worse]
        if self.p >= ALPHA or not better:
            return ""
        return (
            f" By the ranks, which are tested, it is significantly worse than "
            f"{self._named(better)}, although not by the {self.objective.statistic}."
        )

    def _named(self, values: Sequence[str]) -> str:
        """Some values with the name of the setting, in the order of the ranking."""
        if len(self.keys) == 1:
            return f"{self.key}={', '.join(values)}"
        return listed([level.name for level in self.ranked if level.value in values])


def effects(findings: Findings) -> list[Effect]:
    """The effect of each setting that varies, in the order of the settings.

    Args:
        findings: The groups, ranked by an objective.
    """
    if not findings.has_scores:
        return []
    settings = _settings_that_vary(findings)
    found = [_effect(findings, keys) for keys in settings]
    tested = [effect for effect in found if effect.comparisons]
    adjusted = statistics.holm([min(c.p_adjusted for c in e.comparisons) for e in tested])
    p_of = {effect.keys: p for effect, p in zip(tested, adjusted, strict=True)}
    return [
        replace(
            effect, is_only=len(settings) == 1, n_settings=max(1, len(tested)),
            p=p_of.get(effect.keys, np.nan),
        )
        for effect in found
    ]  # fmt: skip


def _settings_that_vary(findings: Findings) -> list[tuple[str, ...]]:
    """The keys of each setting: several if they change together, as in a zip."""
    found: dict[tuple[int, ...], list[str]] = {}
    for key in findings.grouped.varying:
        if key != SWEEP:
            places: dict[str, int] = {}
            values = [group.settings[key] for group in findings.grouped.groups]
            pattern = tuple(places.setdefault(value, len(places)) for value in values)
            found.setdefault(pattern, []).append(key)
    return [tuple(keys) for keys in found.values()]


def _effect(findings: Findings, keys: tuple[str, ...]) -> Effect:
    """The effect of a setting, or of settings that change together; not yet corrected for others.

    Each replicate has one marginal result per value: the center over the combinations of the other
    settings. The values are compared by these results.
    """
    objective, horizon = findings.objective, findings.horizon
    all_cells = _cells(findings, keys)
    cells = _balanced(all_cells)
    if len(cells) < 2:
        return _best_groups(findings, keys)
    replicates = sorted({r for by_seed in next(iter(cells.values())).values() for r in by_seed})
    marginal = {
        value: np.array([
            objective.center([of[r] for of in combinations.values() if r in of], horizon)
            for r in replicates
        ])
        for value, combinations in cells.items()
    }  # fmt: skip
    table = findings.grouped.groups[0].table
    is_independent = are_independent(table.units_of(np.array(replicates)), len(replicates))
    level_of_each = intervals.confidence_of_each(len(cells))
    levels = [
        Level(
            _text(value),
            " ".join(f"{key}={part}" for key, part in zip(keys, value, strict=True)),
            objective.as_measured(objective.center(marginal[value], horizon)),
            estimates.median(objective, marginal[value], level_of_each, is_independent),
            [objective.center([*by_seed.values()], horizon) for by_seed in combinations.values()],
        )
        for value, combinations in cells.items()
    ]
    scores = {_text(value): results for value, results in marginal.items()}
    order = sorted(levels, key=lambda level: objective.ranking_key(scores[level.value], horizon))
    joined = ", ".join(keys)
    groups = [
        _group(findings, {joined: level.value}, scores[level.value], replicates) for level in order
    ]
    pairs = [(groups[0], other) for other in groups[1:]] if len(replicates) > 1 else []
    left_out = [_text(value) for value in all_cells if value not in cells]
    n_unpaired = sum(
        len(all_cells[value][others]) - len(by_seed)
        for value, combinations in cells.items()
        for others, by_seed in combinations.items()
    )
    return Effect(
        keys, objective, levels, order, compare_with_best(pairs, objective), left_out,
        n_unpaired=n_unpaired,
    )  # fmt: skip


def _text(value: Value) -> str:
    return ", ".join(value)


def _best_groups(findings: Findings, keys: tuple[str, ...]) -> Effect:
    """The best group with each value, for values that no two groups can be compared by."""
    objective, horizon = findings.objective, findings.horizon
    level_of_each = intervals.confidence_of_each(len(findings.summaries))
    with_value: dict[Value, list[Summary]] = {}
    for summary in findings.summaries:
        value = tuple(summary.group.settings[key] for key in keys)
        with_value.setdefault(value, []).append(summary)

    def score(summary: Summary) -> float:
        return objective.center(summary.group.scores(objective), horizon)

    def level_of(value: Value) -> Level:
        first = with_value[value][0]
        scores, is_independent = first.group.scores(objective), first.group.is_independent
        return Level(
            _text(value),
            first.group.name,
            objective.as_measured(score(first)),
            estimates.median(objective, scores, level_of_each, is_independent),
            list(map(score, with_value[value])),
        )

    ranked = {value: level_of(value) for value in with_value}
    order = list(findings.grouped.varying[keys[0]])
    levels = [ranked[value] for value in sorted(ranked, key=lambda value: order.index(value[0]))]
    return Effect(keys, objective, levels, list(ranked.values()), (), is_matched=False)


def _cells(findings: Findings, keys: tuple[str, ...]) -> Cells:
    """The scores of all runs, in the order of the values."""
    objective = findings.objective
    cells: Cells = {}
    order = {value: place for place, value in enumerate(findings.grouped.varying[keys[0]])}
    for group in sorted(findings.grouped.groups, key=lambda group: order[group.settings[keys[0]]]):
        scores = group.scores(objective)
        value = tuple(group.settings[key] for key in keys)
        others = tuple(part for key, part in group.settings.items() if key not in keys)
        by_replicate = zip(group.column(REPLICATE).tolist(), scores.tolist(), strict=True)
        cells.setdefault(value, {})[others] = dict(by_replicate)
    return cells


def _balanced(cells: Cells) -> Cells:
    """The part of the cells in which each combination and replicate has all values.

    Of several parts, such as those of an optimizer that has a setting and one that has not, the
    one with the most cells is taken.
    """
    values_of: dict[tuple[str, ...], list[Value]] = {}
    for value, combinations in cells.items():
        for others in combinations:
            values_of.setdefault(others, []).append(value)
    parts = {tuple(values) for values in values_of.values() if len(values) > 1}
    if not parts:
        return {}

    def n_cells(part: tuple[Value, ...]) -> tuple[int, tuple[Value, ...]]:
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
    objective, n = findings.objective, len(scores)
    outcome = Outcome.CONVERGED if objective.is_time else Outcome.COMPLETED
    table = RunTable(
        findings.grouped.groups[0].table.frame.iloc[:0],
        {
            objective.metric: np.array([objective.as_measured(score) for score in scores]),
            REPLICATE: np.array(replicates),
            "epochs": np.full(n, findings.horizon),
        },
        np.full(n, outcome.value, object),
        findings.grouped.groups[0].table.levels,
    )
    return Group(settings, table, np.arange(n), 0)
