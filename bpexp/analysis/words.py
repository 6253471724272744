"""The question and the answer in sentences, and numbers as a reader takes them."""

import math
from collections.abc import Sequence

from bpexp.analysis.findings import Comparison, Findings, Summary
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
    first = f"{best.group.name} {measure.best}: {_level(best, measure)}"
    runner = findings.summaries[1]
    first += f"; the next, {runner.group.name}: {_level(runner, measure)}."
    against = findings.against_best
    return " ".join([first, _luck(runner, against), *_others(runner, against)])


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


def _luck(runner: Summary, against: Sequence[Comparison]) -> str:
    if not against or against[0].b is not runner.group:
        return "With one seed a group nothing can be said about luck of the seed."
    comparison = against[0]
    chance = (
        "A run of the first does better than one of the second with probability "
        f"{interval(comparison.improvement)}"
    )
    needed = number(comparison.seeds_needed)
    if comparison.p_holm < ALPHA:
        return (
            f"{chance}: more than luck of the seed ({p_value(comparison.p_holm)}, corrected); "
            f"about {needed} seeds a group would have shown it."
        )
    if math.isinf(comparison.seeds_needed):
        return f"{chance}: no sign of a difference ({p_value(comparison.p_holm)}, corrected)."
    return (
        f"{chance}, which can be luck of the seed ({p_value(comparison.p_holm)}, corrected); "
        f"a difference of this size would take about {needed} seeds a group to show."
    )


def _others(runner: Summary, against: Sequence[Comparison]) -> list[str]:
    rest = [c for c in against if c.b is not runner.group]
    if not rest:
        return []
    level = [c for c in rest if c.p_holm >= ALPHA]
    if not level:
        others = "the other one" if len(rest) == 1 else f"each of the {len(rest)} others"
        return [f"It is better than {others} beyond luck of the seed."]
    if len(rest) == 1:
        return ["The other one cannot be told from it."]
    return [f"Of the {len(rest)} others {len(level)} cannot be told from it."]


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def few(values: Sequence[str]) -> str:
    """The values, or the ends of a long list of them."""
    if len(values) <= 6:
        return ", ".join(values)
    return f"{values[0]}, {values[1]} ... {values[-1]}, {len(values)} values"


def number(value: float) -> str:
    """Four digits; a dash where there is no value."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value + 0.0:.4g}"


def interval(value: Interval) -> str:
    """0.12 (0.1 to 0.15)."""
    if math.isnan(value.low) and (math.isnan(value.high) or math.isinf(value.high)):
        return number(value.estimate)
    if math.isinf(value.low):
        return number(value.estimate)
    return f"{number(value.estimate)} ({number(value.low)} to {number(value.high)})"


def p_value(p: float) -> str:
    """p = 0.012, and what is below 0.0001 as that."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def spelled(value: float) -> float | str:
    """The value itself, or an infinity in letters."""
    return value if math.isfinite(value) else "infinity" if value > 0 else "-infinity"
