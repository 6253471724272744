"""The question and the answer in sentences, and numbers as a reader takes them."""

import math
from collections.abc import Sequence

from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.groups import Measure
from bpexp.analysis.statistics import Interval

ALPHA = 0.05


def question(findings: Findings) -> str:
    """What was varied, and what is asked of it."""
    grouped, measure = findings.grouped, findings.measure
    data = listed(grouped.data)
    seeds = f"{grouped.seeds} seed{'s' * (grouped.seeds > 1)}"
    if not grouped.varying:
        return f"What {measure.title} do {findings.runs} runs on {data} reach, over {seeds}?"
    over = listed([f"{key} ({few(values)})" for key, values in grouped.varying.items()])
    which = f"which {over}" if len(grouped.varying) == 1 else f"which combination of {over}"
    return f"Over {seeds} on {data}: {which} {measure.best}?"


def answer(findings: Findings) -> str:
    """Two or three sentences with the numbers that matter."""
    best, measure = findings.summaries[0], findings.measure
    if len(findings.summaries) == 1:
        return f"{_level(best, measure)[0].upper()}{_level(best, measure)[1:]}. {_share(best)}"
    if not findings.has_scores:
        return f"All {findings.runs} runs diverged: no group is better than another."
    level = findings.ranks.count(1)
    if level > 1:
        told = {s.group.name: _level(s, measure) for s in findings.summaries[:level]}
        if len(set(told.values())) == 1:
            names = few(list(told), "groups")
            first = f"{level} groups are level, {names}: {_level(best, measure)} each."
        else:
            each = few([f"{name} ({said})" for name, said in told.items()], "groups")
            first = f"{level} groups are level: {each}."
        return " ".join([first, *_others(findings, "The first of them", level)])
    runner = findings.summaries[1]
    first = f"{best.group.name} {measure.best}: {_level(best, measure)}"
    first += f"; the next, {runner.group.name}: {_level(runner, measure)}."
    return " ".join([first, _luck(findings), *_others(findings, "It", 2)])


def _level(summary: Summary, measure: Measure) -> str:
    if measure.key == "epochs_to_converge":
        counts = f"{summary.outcomes.get('converged', 0)} of {summary.runs} runs converged"
        if not math.isfinite(summary.epochs.estimate):
            return f"{counts}, fewer than half"
        return f"median {interval(summary.epochs)} epochs, {counts}"
    found = summary.estimates[measure.key]["median"]
    if math.isinf(found.estimate):
        return f"{summary.outcomes.get('diverged', 0)} of {_runs(summary.runs)} diverged"
    return f"median {measure.title} {interval(found)} over {_runs(summary.runs)}"


def _share(summary: Summary) -> str:
    if not summary.outcomes.get("converged"):
        return f"{summary.outcomes.get('diverged', 0)} of {_runs(summary.runs)} diverged."
    return f"A share of {interval(summary.converged)} converged."


def _luck(findings: Findings) -> str:
    against = findings.against_best
    if not against or against[0].b is not findings.summaries[1].group:
        return "With one seed a group nothing can be said about luck of the seed."
    comparison = against[0]
    chance = (
        "A run of the first does better than one of the second with probability "
        f"{interval(comparison.improvement)}"
    )
    test = "log-rank " if findings.measure.key == "epochs_to_converge" else ""
    p = f"{test}{p_value(comparison.p_holm)}"
    if findings.pairs > 1:
        p += f", corrected for {findings.pairs} comparisons"
    needed = number(comparison.seeds_needed)
    if comparison.p_holm < ALPHA:
        return (
            f"{chance}: more than luck of the seed ({p}); about {needed} seeds a group would "
            "have shown it."
        )
    if math.isinf(comparison.seeds_needed):
        return f"{chance}: no sign of a difference ({p})."
    return (
        f"{chance}, which can be luck of the seed ({p}); a difference of this size would take "
        f"about {needed} seeds a group to show."
    )


def _others(findings: Findings, subject: str, named: int) -> list[str]:
    """The best group and those that are not among the first, ``named``, ones."""
    groups = [summary.group for summary in findings.summaries[:named]]
    rest = [c for c in findings.against_best if c.b not in groups]
    if not rest:
        return []
    level = [c for c in rest if c.p_holm >= ALPHA]
    if not level:
        others = "the other one" if len(rest) == 1 else f"each of the {len(rest)} others"
        return [f"{subject} is better than {others} beyond luck of the seed."]
    if len(rest) == 1:
        return ["The other one cannot be told from the first."]
    if len(level) == len(rest):
        return [f"None of the {len(rest)} others can be told from the first."]
    return [f"Of the {len(rest)} others {len(level)} cannot be told from the first."]


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def few(values: Sequence[str], what: str = "values") -> str:
    """The values, or the ends of a long list of them."""
    if len(values) <= 6:
        return ", ".join(values)
    return f"{values[0]}, {values[1]} ... {values[-1]}, {len(values)} {what}"


def number(value: float, digits: int = 4) -> str:
    """Four digits; a dash where there is no value."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if 10 ** (digits - 1) <= abs(value) < 1e6 else f"{value + 0.0:.{digits}g}"


def interval(value: Interval) -> str:
    """0.12 (0.1 to 0.15)."""
    if (math.isnan(value.low) and not math.isfinite(value.high)) or math.isinf(value.low):
        return number(value.estimate)
    digits = _digits(value.low, value.high)
    estimate, low, high = (number(v, digits) for v in value)
    return f"{estimate} ({low} to {high})"


def _digits(low: float, high: float) -> int:
    """Four, and more where two ends that are not the same would read the same."""
    width = high - low
    if not 0.0 < width < math.inf:
        return 4
    return max(4, min(9, 2 + math.floor(math.log10(max(abs(low), abs(high)) / width))))


def p_value(p: float) -> str:
    """p = 0.012, and what is below 0.0001 as that."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def spelled(value: float) -> float | str:
    """The value itself, or an infinity in letters."""
    return value if math.isfinite(value) else "infinity" if value > 0 else "-infinity"
