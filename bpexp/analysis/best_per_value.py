"""The best combination within each value of a key, such as each optimizer or each of several
sweeps.

The objective of the report chooses these combinations. They are compared with each other on the
test rows, which were not used to choose them, or, without test rows, on the same runs that chose
them; p-values are then corrected for all pairs of combinations that could have been chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bpexp.analysis import comparability, statistics
from bpexp.analysis.findings import Findings, Summary, find
from bpexp.analysis.groups import CONFIG_GROUPS, SWEEP, Group, label
from bpexp.analysis.words import answer, interval, number, number_pair, result
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError
from bpexp.render.axes import ascending
from bpexp.render.document import Table, Text
from bpexp.render.wording import counted, listed
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.typing import Array

_LOSSES = {"final_loss": "loss", "last_epoch_loss": "loss", "lowest_validation_loss": "loss"}
"""The common name of the losses on different rows."""


@dataclass(frozen=True, eq=False)
class BestOfValue:
    """The best combination within one value of the key.

    Attributes:
        value: The value.
        summary: The results of the combination.
        groups: All combinations with this value.
        scores: The scores of all runs with this value, (n,); epochs to converge within the
            smallest maximum of all combinations.
        expected_best: What the best of ``BestPerValue.n_drawn`` runs with this value should reach.
    """

    value: str
    summary: Summary
    groups: Sequence[Group]
    scores: Array
    expected_best: float

    def name_without(self, key: str) -> str:
        """The combination without the key, for example ``lr=0.5 hidden=2``."""
        settings = self.summary.group.settings.items()
        return " ".join(f"{k}={v}" for k, v in settings if k != key) or "its only combination"


@dataclass(frozen=True, eq=False)
class BestPerValue:
    """The best combination of each value, and how they compare.

    Attributes:
        key: The key; ``sweep`` for the best combination of each of several sweeps.
        chosen_by: The objective that chose the combinations.
        of_values: One for each value of the key that has runs, in the order of the values.
        findings: The combinations ranked and compared, on test rows if all of them have some.
        n_drawn: The smallest number of runs of any value, for ``BestOfValue.expected_best``.
    """

    key: str
    chosen_by: Objective
    of_values: Sequence[BestOfValue]
    findings: Findings
    n_drawn: int

    @property
    def is_on_test_rows(self) -> bool:
        """Whether the comparison uses rows that did not choose the combinations."""
        return self.findings.objective != self.chosen_by

    @property
    def sentences(self) -> str:
        """The best combination of each value, and how they compare."""
        which = "of each sweep" if self.key == SWEEP else f"within each {self.key}"
        best = "; ".join(f"{one.value}: {self._chosen(one)}" for one in self.of_values)
        compared = "on the test rows, which were not used to choose"
        if not self.is_on_test_rows:
            has_chosen = any(len(one.groups) > 1 for one in self.of_values)
            compared = "on the runs that chose them" if has_chosen else "on all runs"
        return " ".join([
            f"Best combination {which} by {self.chosen_by.label}: {best}.",
            f"Compared {compared}: {answer(self.findings)}",
            *self._as_a_whole,
        ])  # fmt: skip

    def _chosen(self, best: BestOfValue) -> str:
        """The combination, of how many it is the best, and its result unless that is clear."""
        n_combinations = len(best.groups)
        notes = [f"best of {n_combinations}"] if n_combinations > 1 else []
        if self.is_on_test_rows:
            notes.append(result(best.summary, self.chosen_by))
        name = best.name_without(self.key)
        return f"{name} ({', '.join(notes)})" if notes else name

    @property
    def _as_a_whole(self) -> list[str]:
        """How all runs of two sweeps compare."""
        if self.key != SWEEP or len(self.of_values) != 2 or not self.findings.has_scores:
            return []
        a, b = self.of_values
        share = statistics.probability_of_improvement(a.scores, b.scores)
        reached = listed(number_pair(a.expected_best, b.expected_best))
        if self.chosen_by.is_time:
            reached = f"converge after {reached} epochs"
        else:
            reached = f"reach a {self.chosen_by.label} of {reached}"
        return [
            f"Of all their runs, whatever the combination, one of {a.value} does better than one "
            f"of {b.value} with probability {number(share)}; of {counted(self.n_drawn, 'run')} "
            f"drawn from each, the best is expected to {reached}."
        ]

    @property
    def heading(self) -> str:
        """A heading for the table."""
        return f"The best combination {'of each sweep' if self.key == SWEEP else f'per {self.key}'}"

    @property
    def table(self) -> Table:
        """A row for each value, in the order of the ranks."""
        of = {one.summary.group.name: one for one in self.of_values}
        against = {c.b.name: interval(c.improvement) for c in self.findings.comparisons}
        objective = self.findings.objective
        columns = [
            "rank",
            self.key,
            "combinations",
            "runs",
            "best combination",
            _title(self.chosen_by),
        ]
        if self.is_on_test_rows:
            columns.append(_title(objective))
        if against:
            columns.append("P(best is better)")
        columns.append(f"{self.chosen_by.label}, expected best of {self.n_drawn}")
        rows: list[list[Text]] = []
        for rank, ranked in zip(self.findings.ranks, self.findings.summaries, strict=True):
            one = of[ranked.group.name]
            results = [_center(one.summary, self.chosen_by)]
            if self.is_on_test_rows:
                results.append(_center(ranked, objective))
            rows.append([
                str(rank), one.value, str(len(one.groups)), str(len(one.scores)),
                one.name_without(self.key), *results,
                *([against.get(ranked.group.name, "")] if against else []),
                number(one.expected_best),
            ])  # fmt: skip
        return Table(columns, rows, "rlrrl" + "r" * (len(columns) - 5))

    @property
    def as_json(self) -> list[dict[str, Any]]:
        """The best combinations for programs, in the order of the values."""
        return [
            {"value": one.value, "combination": dict(one.summary.group.settings),
             "combinations": len(one.groups), "runs": len(one.scores),
             f"expected_best_of_{self.n_drawn}": one.expected_best}
            for one in self.of_values
        ]  # fmt: skip


def full_key(findings: Findings, key: str) -> str:
    """The key that a user names, where ``optimizer`` is short for ``optimizer.name``.

    Raises:
        ConfigError: It is no setting, or does not vary.
    """
    frame = findings.grouped.groups[0].table.frame
    named = f"{key}.name" if key in CONFIG_GROUPS else key
    if named in findings.grouped.varying:
        return named
    is_setting = named in keys() and named in frame and not is_replicate_key(named)
    if is_setting and frame[named].map(label).nunique() > 1:
        return named
    varying = ", ".join(findings.grouped.varying) or "none"
    raise ConfigError(
        f"--per must be a setting that varies in these runs ({varying}), got {key!r}."
    )


def compare_best(findings: Findings, key: str) -> BestPerValue:
    """Compare the best combinations within each value of a key.

    Args:
        findings: All combinations, ranked by the objective.
        key: A key that varies, see ``full_key``.

    Raises:
        ConfigError: The values cannot be compared.
    """
    groups = [summary.group for summary in findings.summaries]
    # A value whose runs all failed has no groups.
    values = findings.grouped.varying.get(key) or ascending(group.value(key) for group in groups)
    of_value = {value: [g for g in groups if g.value(key) == value] for value in values}
    of_value = {value: some for value, some in of_value.items() if some}
    between = _compare_chosen(findings, [some[0] for some in of_value.values()])
    comparability.check(
        findings.grouped, key, list(of_value), between.objective, ranked_by=findings.objective
    )
    if comparability.vary_in_data(groups[0].table):
        raise ConfigError(
            "these runs are on several data sets, and the best combinations of different data sets "
            "cannot be compared."
        )
    n_drawn = min(sum(map(len, some)) for some in of_value.values())
    of_values = [_best_of_value(findings, v, some, n_drawn) for v, some in of_value.items()]
    return BestPerValue(key, findings.objective, of_values, between, n_drawn)


def _best_of_value(
    findings: Findings, value: str, groups: Sequence[Group], n_drawn: int
) -> BestOfValue:
    objective = findings.objective
    best = next(summary for summary in findings.summaries if summary.group in groups)
    scores = np.concatenate([group.scores(objective) for group in groups])
    if objective.is_time:
        scores = np.minimum(scores, findings.horizon)
    expected = objective.as_measured(float(statistics.expected_best(scores, [n_drawn])[0]))
    return BestOfValue(value, best, groups, scores, expected)


def _compare_chosen(findings: Findings, groups: Sequence[Group]) -> Findings:
    """The findings of the chosen combinations alone, on test rows if all of them have some."""
    on_test = of_test_rows(findings.objective)
    if on_test is not None and all(_has(group, on_test) for group in groups):
        return find(replace(findings.grouped, groups=groups), on_test, findings.seed)
    chosen = [summary for summary in findings.summaries if summary.group in groups]
    return replace(
        findings,
        summaries=chosen,
        comparisons=[c for c in findings.comparisons if c.b in groups],
    )


def of_test_rows(objective: Objective) -> Objective | None:
    """The metric of an objective on test rows; None if it has none or is one itself.

    >>> of_test_rows(objectives()["lowest_validation_loss"]).name
    'test_loss'
    """
    name = _LOSSES.get(objective.name, objective.name.removeprefix("validation_"))
    return objectives().get(f"{Split.TEST}_{name}")


def _has(group: Group, objective: Objective) -> bool:
    """Whether any run of a group has a value, or all of them diverged."""
    if objective.metric not in group.table.columns:
        return False
    has_diverged = group.outcomes == Outcome.DIVERGED.value
    return bool(np.isfinite(group.values(objective)).any() or has_diverged.all())


def _title(objective: Objective) -> str:
    return f"{objective.label}, {objective.statistic}"


def _center(summary: Summary, objective: Objective) -> str:
    """The statistic that ranks a combination."""
    if objective.is_time:
        return number(summary.epochs_mean)
    return interval(summary.estimates[objective.name]["median"])
