"""The question and the answer of a report as sentences, and numbers as text.

>>> interval(Interval(0.12345, 0.1, 0.15))
'0.1235 (0.1 to 0.15)'
>>> p_value(0.0123)
'p = 0.012'
"""

import math
from collections.abc import Sequence

from bpexp.analysis import survival
from bpexp.analysis.findings import Comparison, Findings, Summary
from bpexp.analysis.intervals import Interval, confidence_of_each, runs_for_median
from bpexp.analysis.permutation import ALPHA, replicates_needed
from bpexp.render.wording import counted, listed
from bpexp.runs.objective import Objective

MIN_LEAD, MIN_LEAD_RUNS = 0.1, 2
"""Curves cross if each leads the other at some epoch by this share, and by this number of runs."""


def question(findings: Findings) -> str:
    """What was varied and what is compared, as a question."""
    grouped, measure = findings.grouped, findings.measure
    data = listed(grouped.data)
    seeds = grouped.counted_replicates
    if not grouped.varying:
        return f"What {measure.label} do {findings.runs} runs on {data} reach, over {seeds}?"
    over = listed([f"{key} ({few(values)})" for key, values in grouped.varying.items()])
    which = f"which {over}" if len(grouped.varying) == 1 else f"which combination of {over}"
    return f"Over {seeds} on {data}: {which} {_is_best(measure)}?"


def answer(findings: Findings) -> str:
    """The result in two or three sentences: the best groups and how certain their rank is."""
    best, measure = findings.summaries[0], findings.measure
    if len(findings.summaries) == 1:
        said = result(best, measure)
        known = f"{said[0].upper()}{said[1:]}. {_convergence(best)}"
        return " ".join([known, findings.verdict] if findings.verdict else [known])
    if not findings.has_scores:
        return f"All {findings.runs} runs diverged: no group is better than another."
    if findings.verdict is not None:
        return f"{best.group.name}: {result(best, measure)}. {findings.verdict}"
    n_first = findings.ranks.count(1)
    if n_first > 1:
        return " ".join([_tie(findings, n_first), *_others(findings, "The first of them", n_first)])
    second = findings.summaries[1]
    first = (
        f"{best.group.name} {_is_best(measure)}: {result(best, measure)}; the next, "
        f"{second.group.name}: {result(second, measure)}."
    )
    return " ".join([first, *_test(findings), *_others(findings, "It", 2)])


def _is_best(measure: Objective) -> str:
    """The predicate of a sentence about the best group, as in "lr=1 ... "."""
    if measure.is_time:
        return "converges soonest"
    return f"has the {measure.superlative} {measure.label}"


def result(summary: Summary, measure: Objective) -> str:
    """The median of a group with its interval and the number of runs."""
    if measure.is_time:
        counts = f"{summary.outcomes.get('converged', 0)} of {summary.runs} runs converged"
        if not math.isfinite(summary.epochs.estimate):
            return f"median not reached, {counts}"
        return f"median {interval(summary.epochs)} epochs, {counts}"
    found = summary.estimates[measure.name]["median"]
    if math.isinf(found.estimate):
        return _diverged(summary)
    return f"median {measure.label} {interval(found)} over {counted(summary.runs, 'run')}"


def _convergence(summary: Summary) -> str:
    if not summary.outcomes.get("converged"):
        return f"{_diverged(summary)}."
    return f"A share of {interval(summary.converged)} converged."


def _diverged(summary: Summary) -> str:
    n_diverged = summary.outcomes.get("diverged", 0)
    return f"{n_diverged} of {counted(summary.runs, 'run')} diverged"


def _tie(findings: Findings, n_first: int) -> str:
    """The groups that share the first rank."""
    results = {s.group.name: result(s, findings.measure) for s in findings.summaries[:n_first]}
    if len(set(results.values())) == 1:
        names, each = few(list(results), "groups"), next(iter(results.values()))
        return f"{n_first} groups are tied for first, {names}: {each} each."
    each = few([f"{name} ({text})" for name, text in results.items()], "groups")
    return f"{n_first} groups are tied for first: {each}."


def _test(findings: Findings) -> list[str]:
    """Whether the first group differs significantly from the second."""
    compared = findings.comparisons
    if not compared or compared[0].b is not findings.summaries[1].group:
        return ["With one seed per group no difference can be tested."]
    comparison = compared[0]
    probability = _advantage(comparison, findings.measure)
    crossing = _crossing(findings) if findings.measure.is_time else []
    if not findings.can_be_significant:
        return [f"{probability}.", _too_few_seeds(findings), *_unpaired(comparison), *crossing]
    p = p_value(comparison.p_adjusted)
    if findings.n_pairs > 1:
        p += f", corrected for {findings.n_pairs} pairs of groups"
    if comparison.p_adjusted < ALPHA:
        verdict = f"a statistically significant difference ({p})"
    else:
        verdict = f"not statistically distinguishable with {_seeds(comparison)} ({p})"
    return [f"{probability}: {verdict}.", *_unpaired(comparison), *crossing]


def _advantage(comparison: Comparison, measure: Objective) -> str:
    """By how much, and with which probability, the first group is better than the second."""
    partner = "one of the second with the same seed" if comparison.pairs else "one of the second"
    probability = interval(comparison.improvement)
    if not measure.is_time:
        return f"A run of the first does better than {partner} with probability {probability}"
    sooner = " and converges sooner with probability"
    if comparison.improvement.estimate < 0.5:
        sooner = ", although it converges sooner only with probability"
    return (
        f"Counting at most {number(comparison.max_epochs)} epochs per run, a run of the first "
        f"takes on average {number(0.0 - comparison.mean_difference)} epochs less than {partner} "
        f"(median difference {interval(comparison.difference.negated)}){sooner} {probability}"
    )


def _crossing(findings: Findings) -> list[str]:
    """A remark if the convergence curves of the two best groups cross."""
    first, second = findings.summaries[:2]
    horizon = findings.comparisons[0].max_epochs
    lead = max(MIN_LEAD, MIN_LEAD_RUNS / min(first.runs, second.runs))
    order = survival.crossing(first.convergence, second.convergence, horizon, lead)
    if not order:
        return []
    early, late = (first, second) if order > 0 else (second, first)
    return [
        f"Their convergence curves cross: early, more runs of {early.group.name} have converged, "
        f"later more runs of {late.group.name}, so the better one depends on the number of epochs."
    ]


def _too_few_seeds(findings: Findings) -> str:
    """How many seeds a significant difference would need, if there are too few for any."""
    compared = findings.comparisons
    largest = max(compared, key=lambda c: c.pairs or len(c.a) + len(c.b))
    needed = replicates_needed(findings.n_pairs, is_paired=bool(largest.pairs))
    return (
        f"With {_seeds(largest)} and {counted(findings.n_compared, 'group')} no difference can "
        f"reach p < {ALPHA}; {needed} seeds could."
    )


def _unpaired(comparison: Comparison) -> list[str]:
    """Why a comparison is not paired."""
    if comparison.pairs:
        return []
    n_shared = comparison.shared_seeds
    shared = f"only {counted(n_shared, 'seed')}" if n_shared else "no seeds"
    return [f"The test is unpaired because the two groups have {shared} in common."]


def _seeds(comparison: Comparison) -> str:
    if comparison.pairs:
        return f"{comparison.pairs} seeds"
    sizes = sorted({len(comparison.a), len(comparison.b)})
    return f"{' and '.join(map(str, sizes))} seeds"


def _others(findings: Findings, subject: str, n_named: int) -> list[str]:
    """How the best group compares with all groups after the first ``n_named``."""
    named = [summary.group for summary in findings.summaries[:n_named]]
    others = [c for c in findings.comparisons if c.b not in named]
    if not others:
        return []
    if not findings.can_be_significant:
        return [] if n_named == 2 and findings.ranks[1] > 1 else [_too_few_seeds(findings)]
    similar = sum(c.p_adjusted >= ALPHA for c in others)
    if not similar:
        which = "the other one" if len(others) == 1 else f"each of the {len(others)} others"
        return [f"{subject} is significantly better than {which}."]
    if len(others) == 1:
        return ["The other one is not statistically distinguishable from the first."]
    if similar == len(others):
        subject = f"None of the {len(others)} others is"
    else:
        subject = f"Of the {len(others)} others {similar} are not"
    return [f"{subject} statistically distinguishable from the first."]


def about_intervals(findings: Findings) -> str:
    """What the intervals of the groups hold for, and how many runs they need if some have none."""
    n_groups = len(findings.summaries)
    needed = runs_for_median(confidence_of_each(n_groups))
    said = "In parentheses: 95% confidence intervals"
    if n_groups > 1:
        said += f" that hold for all {n_groups} groups together, the selected best one included"
    if findings.is_race:
        return f"{said}, at every number of seeds."
    if all(summary.runs >= needed for summary in findings.summaries):
        return f"{said}."
    return f"{said}. The interval of a median needs {needed} runs per group."


def few(values: Sequence[str], noun: str = "values") -> str:
    """All values, or the first two and the last one of more than six.

    >>> few([str(n) for n in range(10)])
    '0, 1 ... 9, 10 values'
    """
    if len(values) <= 6:
        return ", ".join(values)
    return f"{values[0]}, {values[1]} ... {values[-1]}, {len(values)} {noun}"


def number(value: float, digits: int = 4) -> str:
    """The value with four significant digits; a dash for NaN.

    >>> number(0.123456), number(123456.0), number(float("nan"))
    ('0.1235', '123456', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if 10 ** (digits - 1) <= abs(value) < 1e6 else f"{value + 0.0:.{digits}g}"


def interval(value: Interval) -> str:
    """The estimate with its interval, such as "0.12 (0.1 to 0.15)"."""
    if (math.isnan(value.low) and not math.isfinite(value.high)) or math.isinf(value.low):
        return number(value.estimate)
    digits = _digits(value.low, value.high)
    estimate, low, high = (number(v, digits) for v in value)
    return f"{estimate} ({low} to {high})"


def _digits(low: float, high: float) -> int:
    """Four significant digits, or more if the two ends would otherwise look the same."""
    width = high - low
    if not 0.0 < width < math.inf:
        return 4
    return max(4, min(9, 2 + math.floor(math.log10(max(abs(low), abs(high)) / width))))


def p_value(p: float) -> str:
    """The p value with two digits, such as "p = 0.012" or "p < 0.0001"."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
