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
from bpexp.render.wording import abbreviated, counted, listed
from bpexp.runs.objective import Objective
from bpexp.runs.variation import FOLD, SEED, SPLIT

MIN_LEAD, MIN_LEAD_RUNS = 0.1, 2
"""Curves cross if each leads the other at some epoch by this share, and by this number of runs."""

LEAST_P = 1e-4
"""The smallest p value that is shown; of smaller ones only that they are."""

MEANINGFUL = 0.75
"""A difference matters if the probability of improvement can be as large (Bouthillier et al. 2021,
who recommend this value)."""


def question(findings: Findings) -> str:
    """What was varied and what is compared, as a question."""
    grouped, objective = findings.grouped, findings.objective
    data = listed(grouped.data)
    seeds = grouped.counted_replicates
    if not grouped.varying:
        do, runs = "does" if findings.n_runs == 1 else "do", counted(findings.n_runs, "run")
        return f"What {objective.label} {do} {runs} on {data} reach, over {seeds}?"
    over = listed([f"{key} ({abbreviated(values)})" for key, values in grouped.varying.items()])
    which = f"which {over}" if len(grouped.varying) == 1 else f"which combination of {over}"
    return f"Over {seeds} on {data}: {which} {_is_best(objective)}?"


def answer(findings: Findings) -> str:
    """The result in a few sentences: the best groups, how certain their rank is, and its limits."""
    return " ".join([_ranked(findings), *_only_split(findings)])


def _ranked(findings: Findings) -> str:
    """The best groups and how certain their rank is."""
    best, objective = findings.summaries[0], findings.objective
    if len(findings.summaries) == 1:
        said = result(best, objective)
        known = f"{said[0].upper()}{said[1:]}. {_convergence(best)}"
        return " ".join([known, findings.verdict] if findings.verdict else [known])
    if not findings.has_scores:
        if objective.is_time:
            return (
                f"None of the {findings.n_runs} runs converged: no group is better than another. "
                "--measure final_loss compares their losses."
            )
        return f"All {findings.n_runs} runs diverged: no group is better than another."
    if findings.verdict is not None:
        return f"{best.group.name}: {result(best, objective)}. {findings.verdict}"
    n_first = findings.ranks.count(1)
    if n_first > 1:
        return " ".join([_tie(findings, n_first), *_others(findings, "The first of them", n_first)])
    second = findings.summaries[1]
    decides = findings.what_decides
    is_best = f"is first by {objective.label}" if decides else _is_best(objective)
    first = (
        f"{best.group.name} {is_best}: {result(best, objective)}; the next, "
        f"{second.group.name}: {result(second, objective)}."
    )
    if decides:
        is_known = math.isfinite(objective.center(best.group.scores(objective), findings.horizon))
        equal = (
            f"Their {objective.statistic}s are equal" if is_known else "Most runs of both diverged"
        )
        first += f" {equal}; the {decides} decides the rank."
    return " ".join([first, *_test(findings), *_others(findings, "The first", 2)])


def _only_split(findings: Findings) -> list[str]:
    """What the result holds for if all runs have the same split of the data."""
    split_seed = findings.grouped.only_split
    if not split_seed or not findings.has_scores:
        return []
    return [
        f"All runs share one split of the data (data.split_seed={split_seed}), so this holds for "
        "that split only; to include others, vary it with the seed: "
        "'zip(seed=range(0,20),data.split_seed=range(0,20))'."
    ]


def _is_best(objective: Objective) -> str:
    """The predicate of a sentence about the best group, as in "lr=1 ... "."""
    if objective.is_time:
        return "converges soonest on average"
    return f"has the {objective.superlative} {objective.label}"


def result(summary: Summary, objective: Objective) -> str:
    """The median of a group with its interval and the number of runs."""
    if objective.is_time:
        counts = f"{summary.outcomes.get('converged', 0)} of {summary.n_runs} runs converged"
        median = "not reached"
        if math.isfinite(summary.epochs.estimate):
            median = interval(summary.epochs)
        return f"mean {number(summary.epochs_mean)} epochs, median {median}, {counts}"
    found = summary.estimates[objective.name]["median"]
    if math.isinf(found.estimate):
        return _diverged(summary)
    return f"median {objective.label} {interval(found)} over {counted(summary.n_runs, 'run')}"


def _convergence(summary: Summary) -> str:
    if not summary.outcomes.get("converged"):
        return f"{_diverged(summary)}."
    return f"A share of {interval(summary.converged)} converged."


def _diverged(summary: Summary) -> str:
    n_diverged = summary.outcomes.get("diverged", 0)
    return f"{n_diverged} of {counted(summary.n_runs, 'run')} diverged"


def _tie(findings: Findings, n_first: int) -> str:
    """The groups that share the first rank."""
    results = {s.group.name: result(s, findings.objective) for s in findings.summaries[:n_first]}
    if len(set(results.values())) == 1:
        names, each = abbreviated(list(results), "groups"), next(iter(results.values()))
        return f"{n_first} groups are tied for first, {names}: {each} each."
    each = abbreviated([f"{name} ({text})" for name, text in results.items()], "groups")
    return f"{n_first} groups are tied for first: {each}."


def _test(findings: Findings) -> list[str]:
    """Whether the first group differs significantly from the second."""
    compared = findings.comparisons
    if not compared or compared[0].b is not findings.summaries[1].group:
        return [_untested(findings)]
    comparison = compared[0]
    crossing = _crossing(findings) if findings.objective.is_time else []
    remarks = [
        *_contradiction(comparison, findings.objective), *_unpaired(comparison),
        *_over_splits(comparison), *crossing,
    ]  # fmt: skip
    tested = _too_few_seeds(findings)
    if findings.can_be_significant:
        tested = _significance(comparison, findings)
    return [*_advantage(comparison, findings.objective), tested, *remarks]


def _significance(comparison: Comparison, findings: Findings) -> str:
    """Whether the difference of the first two groups is significant."""
    p = p_value(comparison.p_adjusted)
    if findings.n_pairs > 1:
        p += f", corrected for {findings.n_pairs} pairs of groups"
    # The interval of the probability may exclude 0.5 although the means do not differ.
    is_time = findings.objective.is_time
    if comparison.is_significant:
        what = "difference of the means" if is_time else "difference"
        worse = ", but in favor of the second" if comparison.is_worse else ""
        return f"The {what} is statistically significant ({p}){worse}."
    what, units = "The means" if is_time else "They", counted_units(comparison)
    return f"{what} are not statistically distinguishable with {units} ({p})."


def _untested(findings: Findings) -> str:
    """Why the first two groups are not compared."""
    if all(summary.n_runs == 1 for summary in findings.summaries):
        return "With one seed per group no difference can be tested."
    single = next(s.group.name for s in findings.summaries[:2] if s.n_runs == 1)
    return f"Their difference cannot be tested, because {single} has a single run."


def _advantage(comparison: Comparison, objective: Objective) -> list[str]:
    """By how much, and with which probability, the first group is better than the second."""
    same, probability = with_the_same(comparison), interval(comparison.improvement)
    first = f"{same[1:].capitalize()}, the first" if same else "The first"
    if not objective.is_time:
        return [f"{first} does better than the second with probability {probability}."]
    mean = more_or_fewer(Interval.without_bounds(comparison.mean_difference), "epochs")
    takes = f"{mean} than" if comparison.mean_difference else "as many epochs as"
    of_medians = "median difference" if comparison.n_pairs else "difference of the medians"
    only = "only " if comparison.improvement.estimate < 0.5 else ""
    return [
        f"{first} takes {takes} the second on average, counting at most "
        f"{number(comparison.max_epochs)} epochs per run; the {of_medians} is "
        f"{more_or_fewer(comparison.difference)}.",
        f"It converges sooner {only}with probability {probability}.",
    ]


def more_or_fewer(difference: Interval, unit: str = "") -> str:
    """A difference of counts with its interval, in words instead of signs.

    >>> more_or_fewer(Interval(-30.5, -60.0, -8.0), "epochs")
    '30.5 fewer epochs (8 to 60 fewer)'
    >>> more_or_fewer(Interval(30.5, -8.0, 60.0)), more_or_fewer(Interval(0.0, -60.0, 0.0))
    ('30.5 more (8 fewer to 60 more)', '0 (0 to 60 fewer)')
    """
    estimate, low, high = difference
    digits = _digits(low, high)

    def sized(value: float, unit: str = "") -> str:
        return f"{number(abs(value), digits)}{_direction(value)}{unit}"

    text = sized(estimate, f" {unit}" if unit else "")
    if not difference.has_bounds:
        return text
    if low < 0.0 < high:
        return f"{text} ({sized(low)} to {sized(high)})"
    nearer, farther = sorted((low, high), key=abs)
    return f"{text} ({number(abs(nearer), digits)} to {sized(farther)})"


def _direction(difference: float) -> str:
    """Whether a difference is below or above 0; "" for neither."""
    return " fewer" if difference < 0.0 else " more" if difference > 0.0 else ""


def with_the_same(comparison: Comparison) -> str:
    """What the two runs of a pair share, such as " with the same seed"; "" without pairs."""
    return f" with the same {listed(comparison.sources or [SEED])}" if comparison.n_pairs else ""


def _contradiction(comparison: Comparison, objective: Objective) -> list[str]:
    """A remark if the ranking, the test and the interval of the probability seem to disagree."""
    if comparison.is_worse and objective.is_time:
        return ["The ranking is by the means of all runs up to the smallest maximum of epochs."]
    if comparison.is_worse:
        return [
            f"The ranking is by the {objective.statistic}, which tells nothing of the other runs; "
            "the test is by the ranks of all."
        ]
    _, low, high = comparison.improvement
    if objective.is_time or comparison.is_significant == (not low <= 0.5 <= high):
        return []
    if comparison.n_pairs:
        return ["The test counts how large the differences are, the probability only their signs."]
    return [
        "The interval of the probability holds for any distribution; the test is that both groups "
        "have the same one."
    ]


def _crossing(findings: Findings) -> list[str]:
    """A remark if the convergence curves of the two best groups cross."""
    first, second = findings.summaries[:2]
    horizon = findings.comparisons[0].max_epochs
    lead = max(MIN_LEAD, MIN_LEAD_RUNS / min(first.n_runs, second.n_runs))
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
    among = counted(findings.n_compared, "group")
    return too_few(findings.comparisons, findings.n_pairs, among)


def too_few(compared: Sequence[Comparison], n_comparisons: int, among: str) -> str:
    """That no comparison can be significant, and how many seeds could make one so.

    Args:
        compared: The comparisons, at least one.
        n_comparisons: The factor by which the smallest p-value is multiplied.
        among: What is compared, such as "3 groups".
    """
    largest = max(compared, key=lambda c: c.n_pairs or sum(c.n_independent))
    needed = replicates_needed(
        n_comparisons, is_paired=bool(largest.n_pairs), n_sources=len(largest.n_units)
    )
    enough = listed([counted(needed, noun) for noun in largest.n_units])
    return (
        f"With {listed([*_units(largest), among])} no pair of groups can reach p < {ALPHA}; "
        f"{enough} could."
    )


def _unpaired(comparison: Comparison) -> list[str]:
    """Why a comparison is not paired."""
    if comparison.n_pairs:
        return []
    n_shared = comparison.n_shared_seeds
    sources = comparison.sources or [SEED]
    noun, of = (sources[0], "") if len(sources) == 1 else ("combination", f" of {listed(sources)}")
    shared = f"{f'only {counted(n_shared, noun)}' if n_shared else f'no {noun}s'}{of}"
    return [f"The test is unpaired because the two groups have {shared} in common."]


def counted_units(comparison: Comparison) -> str:
    """What is independent in a comparison, such as "10 seeds" or "5 splits and 10 seeds"."""
    return listed(_units(comparison))


def _units(comparison: Comparison) -> list[str]:
    sizes = sorted(set(comparison.n_independent))
    if comparison.n_pairs or len(comparison.n_units) > 1 or len(sizes) == 1:
        return [counted(n, noun) for noun, n in comparison.n_units.items()]
    return [f"{' and '.join(map(str, sizes))} {comparison.smallest_unit}s"]


def _over_splits(comparison: Comparison) -> list[str]:
    """Whether a comparison over several splits is decided, as Bouthillier et al. (2021) ask."""
    noun = next((noun for noun in (SPLIT, FOLD) if noun in comparison.sources), None)
    if noun is None:
        return []
    _, low, high = comparison.improvement
    if low <= 0.5:
        verdict = f"it starts at {number(low)}"
    else:
        verdict = "it does" if high >= MEANINGFUL else f"it ends at {number(high)}"
    return [
        "For a verdict over splits Bouthillier et al. (2021) ask for an interval of this "
        f"probability that lies above 0.5 and reaches {MEANINGFUL}: {verdict}.",
        f"{noun.capitalize()}s of the same data share rows, so that p values tend to be too small "
        "and intervals too narrow (Nadeau and Bengio 2003).",
    ]


def _others(findings: Findings, subject: str, n_named: int) -> list[str]:
    """How the best group compares with all groups after the first ``n_named``."""
    named = [summary.group for summary in findings.summaries[:n_named]]
    others = [c for c in findings.comparisons if c.b not in named]
    if not others:
        return []
    if not findings.can_be_significant:
        return [] if n_named == 2 and findings.ranks[1] > 1 else [_too_few_seeds(findings)]
    similar, said = sum(not c.is_significant for c in others), []
    n_better, n_worse = sum(c.is_better for c in others), sum(c.is_worse for c in others)
    if n_better == len(others):
        which = "the other one" if n_better == 1 else f"each of the {n_better} others"
        said = [f"{subject} is significantly better than {which}."]
    elif similar == len(others) == 1:
        said = ["The other one is not statistically distinguishable from the first."]
    elif similar == len(others):
        said = [f"None of the {similar} others is statistically distinguishable from the first."]
    elif similar:
        are = "is" if similar == 1 else "are"
        said = [
            f"Of the {len(others)} others {similar} {are} not statistically distinguishable from "
            "the first."
        ]
    if n_worse:
        which = "The other one" if len(others) == 1 else f"Of the {len(others)} others {n_worse}"
        are = "is" if n_worse == 1 else "are"
        said.append(
            f"{which} {are} significantly better than the first by what is tested, "
            f"{_tested(findings.objective)}, although not by the {findings.objective.statistic}."
        )
    return said


def _tested(objective: Objective) -> str:
    """What the test compares."""
    return "the means of each pair of groups" if objective.is_time else "the ranks of all runs"


def about_intervals(findings: Findings, *, is_short: bool = False) -> str:
    """What the intervals of the groups hold for, and how many runs they need if some have none.

    Args:
        findings: The groups and their comparisons.
        is_short: Whether only the estimates of the objective are shown, as in a terminal.
    """
    needed = runs_for_median(confidence_of_each(len(findings.summaries)))
    held = _what_intervals_hold_for(findings, is_short=is_short)
    said = f"In parentheses: 95% confidence intervals{held}"
    if held is None:
        said = "No estimate has an interval"
    if findings.is_race:
        return f"{said}." if held is None else f"{said}, at every number of seeds."
    if not all(summary.group.is_independent for summary in findings.summaries):
        nouns = listed([f"{unit.name}s" for unit in findings.summaries[0].group.units])
        return f"{said}. Medians have none, because runs share {nouns}."
    if all(summary.n_runs >= needed for summary in findings.summaries):
        return f"{said}."
    return f"{said}. The interval of a median needs {needed} runs per group."


def _what_intervals_hold_for(findings: Findings, *, is_short: bool) -> str | None:
    """For what the intervals that are shown hold together; None if none is shown."""
    n_groups, n_compared = len(findings.summaries), len(findings.comparisons)
    compared = "all comparisons together" if n_compared > 1 else "the comparison"
    if not _have_intervals(findings, is_short=is_short):
        return f" that hold for {compared}" if n_compared else None
    if n_groups == 1:
        return ""
    groups = "both groups" if n_groups == 2 else f"all {n_groups} groups"
    held = f" that hold for {groups} together, the selected best one included"
    return f"{held}, and likewise for {compared.removesuffix(' together')}" if n_compared else held


def _have_intervals(findings: Findings, *, is_short: bool) -> bool:
    """Whether any estimate of a group is shown with an interval."""
    shown = []
    for summary in findings.summaries:
        of_objective = summary.estimates.get(findings.objective.name, {"median": summary.epochs})
        medians = [of_objective] if is_short else [of_objective, *summary.estimates.values()]
        shown += [found["median"] for found in medians]
        # The answer for a single group has its share of converged runs.
        if summary.outcomes.get("converged") and not (is_short and len(findings.summaries) > 1):
            shown.append(summary.converged)
    return any(found.has_bounds for found in shown)


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


def number_pair(a: float, b: float) -> tuple[str, str]:
    """Two values, with more than four digits if they would otherwise look the same.

    >>> number_pair(0.25, 0.75), number_pair(0.250123, 0.250087)
    (('0.25', '0.75'), ('0.25012', '0.25009'))
    """
    digits = _digits(*sorted((a, b)))
    return number(a, digits), number(b, digits)


def interval(value: Interval) -> str:
    """The estimate with its interval, such as "0.12 (0.1 to 0.15)"."""
    if not value.has_bounds:
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
    return f"p {'' if p < LEAST_P else '= '}{p_number(p)}"


def p_number(p: float) -> str:
    """The p value in a column: "0.012" or "< 0.0001"."""
    return f"< {LEAST_P:.4f}" if p < LEAST_P else f"{p:.2g}"
