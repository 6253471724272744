"""The ranking and the comparisons as tables: of numbers, and of text for a reader."""

from typing import TYPE_CHECKING, Any

from bpexp.analysis.findings import Comparison, Findings, Summary
from bpexp.analysis.groups import MEASURES
from bpexp.analysis.statistics import Interval
from bpexp.analysis.words import interval, number, p_value

if TYPE_CHECKING:
    import pandas as pd


def ranking(findings: Findings) -> "pd.DataFrame":
    """One row a group, best first; an interval is three columns: x, x_low, x_high."""
    import pandas as pd

    against = {c.b.name: c for c in findings.against_best}
    return pd.DataFrame(
        [
            {"rank": rank, **summary.group.settings, **_numbers(summary),
             **_against(against.get(summary.group.name))}
            for rank, summary in zip(findings.ranks, findings.summaries, strict=True)
        ]
    )  # fmt: skip


def _numbers(summary: Summary) -> dict[str, Any]:
    outcomes = summary.outcomes
    row: dict[str, Any] = {
        "runs": summary.runs,
        "converged": outcomes.get("converged", 0),
        "not_converged": outcomes.get("completed", 0) + outcomes.get("stalled", 0),
        "diverged": outcomes.get("diverged", 0),
        "without_result": summary.group.unfinished,
        **_three("converged_share", summary.converged),
        **_three("epochs_median", summary.epochs),
        "epochs_mean": summary.epochs_mean,
        "epochs_sd": summary.epochs_sd,
    }
    for key, estimates in summary.estimates.items():
        for statistic, found in estimates.items():
            row |= _three(f"{key}_{statistic}", found)
    return row


def _against(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    return {
        **_three("best_is_better", comparison.improvement),
        **_three("best_minus_this", comparison.difference),
        "p": comparison.p,
        "p_holm": comparison.p_holm,
        "seeds_needed": comparison.seeds_needed,
    }


def _three(name: str, value: Interval) -> dict[str, float]:
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


def readable_ranking(findings: Findings, most: int) -> list[list[str]]:
    """Header and rows of text, of at most ``most`` groups."""
    some = [(title, cell) for title, cell, wanted in _columns(findings) if wanted]
    header = ["rank", *findings.grouped.varying, *(title for title, _ in some)]
    rows = [
        [str(rank), *summary.group.settings.values(), *(cell(summary) for _, cell in some)]
        for rank, summary in zip(findings.ranks, findings.summaries[:most], strict=False)
    ]
    return [header, *rows]


def brief(findings: Findings, most: int) -> list[list[str]]:
    """Header and rows for a terminal: the runs and the measure the groups are ranked by."""
    header, *rows = readable_ranking(findings, most)
    title = f"{findings.measure.title}, median"
    kept = ("rank", *findings.grouped.varying, "runs", "converged", "diverged", title)
    places = [i for i, name in enumerate(header) if name in kept]
    chances = {c.b.name: interval(c.improvement) for c in findings.against_best}
    titles = [*(header[i] for i in places), "P(best is better)"]
    lines = [
        [*(row[i] for i in places), chances.get(summary.group.name, "")]
        for row, summary in zip(rows, findings.summaries, strict=False)
    ]
    return [titles, *lines]


def _columns(findings: Findings) -> list[tuple[str, Any, bool]]:
    """Title, cell of a group, and whether these runs have such figures."""
    summaries = findings.summaries
    converged = any(s.outcomes.get("converged") for s in summaries)
    columns: list[tuple[str, Any, bool]] = [
        ("runs", lambda s: str(s.runs), True),
        ("converged", lambda s: str(s.outcomes.get("converged", 0)), converged),
        ("diverged", lambda s: str(s.outcomes.get("diverged", 0)),
         any(s.outcomes.get("diverged") for s in summaries)),
        ("without result", lambda s: str(s.group.unfinished),
         any(s.group.unfinished for s in summaries)),
        ("share converged", lambda s: interval(s.converged), converged),
        ("epochs to converge, median", lambda s: interval(s.epochs), converged),
        ("epochs, mean ± sd",
         lambda s: f"{number(s.epochs_mean)} ± {number(s.epochs_sd)}", converged),
    ]  # fmt: skip
    for key in summaries[0].estimates:
        for statistic, title in (("median", "median"), ("iqm", "IQM"), ("mean", "mean")):
            columns.append(
                (f"{MEASURES[key].title}, {title}", _estimate(key, statistic), True)
            )  # fmt: skip
    return columns


def _estimate(key: str, statistic: str) -> Any:
    return lambda summary: interval(summary.estimates[key][statistic])


def readable_comparisons(comparisons: list[Comparison]) -> list[list[str]]:
    """Header and rows of text."""
    header = ["first", "second", "P(first is better)", "difference, first - second",
              "p", "p, Holm", "seeds needed"]  # fmt: skip
    rows = [
        [c.a.name, c.b.name, interval(c.improvement), interval(c.difference),
         _bare(c.p), _bare(c.p_holm), number(c.seeds_needed)]
        for c in comparisons
    ]  # fmt: skip
    return [header, *rows]


def _bare(p: float) -> str:
    return p_value(p).removeprefix("p ").removeprefix("= ")
