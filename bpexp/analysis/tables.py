"""The ranking and the comparisons as tables: numbers for programs, text for readers."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bpexp.analysis.findings import Comparison, Findings, Summary
from bpexp.analysis.intervals import Interval
from bpexp.analysis.words import interval, number, p_number
from bpexp.render.document import Table, Text, small
from bpexp.runs.metrics import METRICS
from bpexp.runs.objective import objectives

STATISTIC_TITLES = {"median": "median", "iqm": "IQM", "mean": "mean"}
"""Titles of the statistics of each metric."""


class _Column(NamedTuple):
    """A column of the ranking.

    Attributes:
        title: Its title.
        cell: Returns the text of a group's cell.
        is_short: Whether the short ranking has it.
    """

    title: str
    cell: Callable[[Summary], Text]
    is_short: bool = False


def ranking(findings: Findings) -> pd.DataFrame:
    """One row per group, best first; an interval has three columns: x, x_low, x_high."""
    against = {c.b.name: c for c in findings.comparisons}
    return pd.DataFrame(
        [
            {"rank": rank, **summary.group.settings, **_numbers(summary),
             **_comparison_numbers(against.get(summary.group.name))}
            for rank, summary in zip(findings.ranks, findings.summaries, strict=True)
        ]
    )  # fmt: skip


def readable_ranking(findings: Findings, limit: int) -> Table:
    """The ``limit`` best groups with their estimates of the metrics that tables show."""
    return _ranking_table(findings, _columns(findings), limit)


def short_ranking(findings: Findings, limit: int) -> Table:
    """The ``limit`` best groups for a terminal: only the median of the ranking's objective."""
    columns = _short_columns(findings)
    chances = {c.b.name: _interval(c.improvement) for c in findings.comparisons}
    if chances:
        columns.append(_Column("P(best is better)", lambda s: chances.get(s.group.name, "")))
    return _ranking_table(findings, columns, limit)


def printable_ranking(findings: Findings, limit: int) -> Table:
    """The ``limit`` best groups for print, with corrected p-values against the best group."""
    p_values = {c.b.name: p_number(c.p_adjusted) for c in findings.comparisons}
    columns = _short_columns(findings)
    if p_values:
        columns.append(_Column("p, corrected", lambda s: p_values.get(s.group.name, "")))
    return _ranking_table(findings, columns, limit)


def _short_columns(findings: Findings) -> list[_Column]:
    return [column for column in _columns(findings) if column.is_short]


def comparisons(compared: Sequence[Comparison]) -> Table:
    """A row for each comparison of two groups."""
    columns: dict[str, Callable[[Comparison], Text]] = {
        "first": lambda c: c.a.name,
        "second": lambda c: c.b.name,
        "P(first is better)": lambda c: _interval(c.improvement),
        "median difference, first - second": lambda c: _interval(c.difference),
        "mean difference": lambda c: number(c.mean_difference),
        "pairs": lambda c: str(c.n_pairs or "unpaired"),
        "p": lambda c: p_number(c.p),
        "p, corrected": lambda c: p_number(c.p_adjusted),
    }
    if all(math.isnan(c.mean_difference) for c in compared):
        del columns["mean difference"]
    rows = [[cell(c) for cell in columns.values()] for c in compared]
    return Table(list(columns), rows, "ll" + "r" * (len(columns) - 2))


def _ranking_table(findings: Findings, columns: Sequence[_Column], limit: int) -> Table:
    header = ["rank", *findings.grouped.varying, *(column.title for column in columns)]
    best = zip(findings.ranks[:limit], findings.summaries[:limit], strict=True)
    rows: list[list[Text]] = [
        [str(rank), *group.group.settings.values(), *(column.cell(group) for column in columns)]
        for rank, group in best
    ]
    return Table(header, rows, "r" * len(header))


def _columns(findings: Findings) -> list[_Column]:
    """The columns for which at least one group has a value."""
    summaries, objective = findings.summaries, findings.objective
    columns = [_Column("runs", lambda s: str(s.n_runs), is_short=True)]
    converged = any(s.outcomes.get("converged") for s in summaries)
    if converged:
        columns.append(
            _Column("converged", lambda s: str(s.outcomes.get("converged", 0)), is_short=True)
        )
    if any(s.outcomes.get("diverged") for s in summaries):
        columns.append(
            _Column("diverged", lambda s: str(s.outcomes.get("diverged", 0)), is_short=True)
        )
    if any(s.group.n_unfinished for s in summaries):
        columns.append(_Column("without result", lambda s: str(s.group.n_unfinished)))
    if converged:
        columns += [
            _Column("share converged", lambda s: _interval(s.converged)),
            _Column("epochs to converge, median", lambda s: _median_epochs(s.epochs),
                    is_short=objective.is_time),
            _Column("epochs, mean ± sd", lambda s: _with_sd(s.epochs_mean, s.epochs_sd),
                    is_short=objective.is_time),
        ]  # fmt: skip
    known = objectives()
    columns += [
        _Column(f"{known[key].label}, {title}", _estimate(key, statistic),
                is_short=key == objective.name and statistic == "median")
        for key in summaries[0].estimates
        if METRICS[known[key].metric].in_tables or key == objective.name
        for statistic, title in STATISTIC_TITLES.items()
    ]  # fmt: skip
    return columns


def _estimate(key: str, statistic: str) -> Callable[[Summary], Text]:
    return lambda summary: _interval(summary.estimates[key][statistic])


def _median_epochs(median: Interval) -> Text:
    """The median; "not reached" if fewer than half of the runs converge."""
    return _interval(median) if math.isfinite(median.estimate) else "not reached"


def _with_sd(mean: float, sd: float) -> Text:
    return number(mean) if math.isnan(sd) else f"{number(mean)} ± {number(sd)}"


def _interval(value: Interval) -> Text:
    """The estimate with its interval in small type."""
    estimate, opened, ends = interval(value).partition("(")
    return (estimate, small(opened + ends)) if opened else estimate


def _numbers(summary: Summary) -> dict[str, Any]:
    outcomes = summary.outcomes
    row: dict[str, Any] = {
        "runs": summary.n_runs,
        "converged": outcomes.get("converged", 0),
        "not_converged": outcomes.get("completed", 0) + outcomes.get("stalled", 0),
        "diverged": outcomes.get("diverged", 0),
        "without_result": summary.group.n_unfinished,
        **_three_columns("converged_share", summary.converged),
        **_three_columns("epochs_median", summary.epochs),
        "epochs_mean": summary.epochs_mean,
        "epochs_sd": summary.epochs_sd,
    }
    for key, estimates in summary.estimates.items():
        for statistic, found in estimates.items():
            name = f"{key}_{statistic}"
            row |= _three_columns(name, found) if statistic == "median" else {name: found.estimate}
    return row


def _comparison_numbers(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    return {
        **_three_columns("best_is_better", comparison.improvement),
        **_three_columns("best_minus_this", comparison.difference),
        "best_minus_this_mean": comparison.mean_difference,
        "pairs": comparison.n_pairs,
        "p": comparison.p,
        "p_adjusted": comparison.p_adjusted,
    }


def _three_columns(name: str, value: Interval) -> dict[str, float]:
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
