"""The report as a document: question, answer, tables, plots and methods."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bpexp.analysis import plots, tables, words
from bpexp.analysis.findings import Findings
from bpexp.analysis.permutation import MAX_PAIRS
from bpexp.render.document import (
    Block,
    BulletList,
    Document,
    Heading,
    Image,
    Paragraph,
    Table,
    strong,
)
from bpexp.render.wording import counted
from bpexp.runs import variation
from bpexp.runs.result import about_unfinished

if TYPE_CHECKING:
    from bpexp.analysis.report import Report

MAX_ROWS = 100
"""Maximum number of groups and of comparisons in the document; report.csv has all groups."""
PLANNING = (
    "The number of seeds for a named difference is that of the t test (Guenther 1981), divided by "
    "0.864 where ranks are tested, the least efficiency of a rank test (Hodges and Lehmann 1956). "
    "It uses an upper limit of the standard deviation (Browne 1995), which is above the true one "
    "in 80% of cases if the values are normal. The power for the observed difference is not "
    "computed: it would only repeat the p value (Hoenig and Heisey 2001)."
)
"""The method of ``report --detect``."""
RACE = (
    "A group is all runs that differ in nothing but the seed. The number of seeds of a group "
    "follows from the results (seeds=auto): after each block of seeds, groups stop that are worse "
    "than another one beyond doubt. The tests are by betting (Waudby-Smith and Ramdas 2024) on the "
    "differences within pairs of runs with the same seed, and hold at every number of seeds. Any "
    "group that no other one is better than is stopped with a probability of at most 5%, for all "
    "groups and looks together (Holm 1979). Better means better on more seeds than not, or, for "
    "epochs to converge, a smaller restricted mean. By other measures, medians rank the groups, "
    "and can favor another one than most seeds do: the answer then says so, and calls no group the "
    "best.",
    "No p values are given, because they would be those of a fixed number of seeds. The intervals "
    "of medians hold at every number of seeds and for all groups together with 95% (Howard and "
    "Ramdas 2022; Bonferroni), and so does the interval of the mean epochs in the verdict "
    "(Waudby-Smith and Ramdas 2024). Bands in figures are those of fixed numbers of seeds. Groups "
    "that got more seeds are ranked before those that stopped.",
)
"""The methods of a race."""
SHARED_LEVELS = (
    "Runs that share a split, a seed or another source of variation are not independent. Seeds "
    "that differ from split to split are within the splits: each split gives one result, the "
    "median over its seeds (the mean for epochs to converge), and these are tested. If all splits "
    "have the same seeds, the splits are tested in this way and the seeds likewise, over all "
    "splits, and the p value is that of the sum of both variances (Cameron, Gelbach and Miller "
    "2011). Intervals of shares and of P are those of as many trials as the smallest number of "
    "levels, or of fewer if some levels have more runs than others (Kish 1965); medians have none. "
    "Shares of the variance: means of squared differences of runs that share the levels of some "
    "sources (Koch 1968), which gives the estimates of an analysis of variance in a complete "
    "crossing."
)
"""The methods for runs that share levels of a source of variation."""


def document(report: "Report", images: Mapping[str, bytes]) -> Document:
    """The report with these images.

    Args:
        report: The findings and their surroundings.
        images: PNG files by the name of their plot.
    """
    findings, agreement, best_per = report.findings, report.agreement, report.best_per
    blocks: list[Block] = [
        Heading(1, report.title),
        Paragraph(report.question, "lead"),
        Paragraph((strong(report.answer),), "result"),
    ]
    if agreement is not None and agreement.comparisons:
        shared = tables.comparisons(agreement.comparisons[:MAX_ROWS])
        blocks += [Heading(2, "Groups in both sweeps"), shared]
    if best_per is not None:
        blocks += [Heading(2, best_per.heading), best_per.table]
    blocks += [Heading(2, "Groups, the best first"), tables.readable_ranking(findings, MAX_ROWS)]
    blocks += [Paragraph(words.about_intervals(findings), "note")]
    blocks += [Paragraph(remark, "note") for remark in remarks(report)]
    if report.halving is not None:
        blocks += [Heading(2, "Combinations stopped early"), report.halving.table]
        blocks += [Paragraph(sentence, "note") for sentence in report.halving.sentences]
        if len(report.halving.stopped):
            blocks.append(report.halving.stopped_table)
    if findings.comparisons:
        compared = tables.comparisons(findings.comparisons[:MAX_ROWS])
        blocks += [Heading(2, "Comparisons"), compared]
    if report.effect_sentences:
        blocks += [Heading(2, "How each setting matters"), BulletList(report.effect_sentences)]
    blocks += [Heading(2, "Figures")]
    blocks += [
        Image(f"figures/{name}.png", plots.PLOTS[name].caption, content)
        for name, content in images.items()
    ]
    blocks += [Heading(2, "Methods"), *(Paragraph(text, "note") for text in methods(findings))]
    if report.plan:
        blocks.append(Paragraph(PLANNING, "note"))
    if report.environment:
        rows = [list(item) for item in report.environment.items()]
        blocks += [Heading(2, "Environment"), Table(["", ""], rows, "lp")]
    return Document(blocks, theme="report")


def paper(report: "Report", figures: Sequence[str]) -> Document:
    """The report for print: tables with the columns that one would print, and captions.

    Args:
        report: The findings and their surroundings.
        figures: Names of the plots, whose PDF files are included.
    """
    findings, best_per = report.findings, report.best_per
    ranked = tables.printable_ranking(findings, MAX_ROWS)
    about = words.about_intervals(findings, is_short=True)
    caption = f"Combinations by {findings.objective.label}. {about}"
    blocks: list[Block] = [
        Heading(1, report.title), Paragraph(report.question, "lead"), Paragraph(report.answer),
    ]  # fmt: skip
    if best_per is not None:
        blocks.append(replace(best_per.table, caption=f"{best_per.heading}."))
    blocks.append(replace(ranked, caption=caption))
    if report.effect_sentences:
        blocks.append(BulletList(report.effect_sentences))
    if report.halving is not None:
        blocks.append(replace(report.halving.table, caption="Combinations stopped early."))
        blocks += [Paragraph(sentence, "note") for sentence in report.halving.sentences]
    blocks += [Paragraph(remark, "note") for remark in remarks(report)]
    blocks += [Image(f"figures/{name}.pdf", plots.PLOTS[name].caption) for name in figures]
    blocks += [Heading(2, "Methods"), *(Paragraph(text, "note") for text in methods(findings))]
    return Document(blocks, theme="report", math=True)


def remarks(report: "Report") -> list[str]:
    """What the tables and plots leave out, and which runs are not counted."""
    findings, grouped = report.findings, report.findings.grouped
    out = []
    if len(findings.summaries) > MAX_ROWS:
        out.append(f"The first {MAX_ROWS} of {len(findings.summaries)} groups are shown.")
    out += plots.notes(report)
    if grouped.n_repeated:
        out.append(variation.about_repeated(grouped.n_repeated))
    if grouped.n_pruned and report.halving is None:
        stopped = counted(grouped.n_pruned, "combination")
        out.append(f"Left out, because they were stopped early: {stopped}.")
    n_unfinished = sum(summary.group.n_unfinished for summary in findings.summaries)
    if n_unfinished:
        out.append(about_unfinished(n_unfinished))
    return out


def methods(findings: Findings) -> list[str]:
    """How the estimates, intervals and p values are computed, a paragraph each."""
    if findings.is_race:
        return [*RACE, _runs_without_value(), _expected_best(findings)]
    paired, unpaired = "the signed-rank test (Wilcoxon 1945)", "the rank-sum test (Mann-Whitney)"
    if findings.objective.is_time:
        paired = "a permutation test of the mean difference within pairs, which exchanges the signs"
        unpaired = "a permutation test of the difference of the means"
    return [
        "A group is all runs that differ in nothing but the seed. Intervals are exact or "
        "conservative for any number of runs and any distribution: Clopper and Pearson's for "
        "shares, order statistics for medians. No interval is given for means, because none holds "
        "for few runs of an unknown distribution. Tests ask whether both groups have the same "
        "distribution: groups with equal means or medians can differ significantly if one of them "
        "spreads more or has a longer tail. The intervals of all groups together hold with "
        "95% for each measure (Bonferroni), and so do those of all comparisons; bands in figures "
        "hold with 95% at each epoch.",
        _runs_without_value(),
        "Runs with the same seed start from the same random numbers. Where two groups share at "
        "least half of their seeds, they are compared within these pairs, and runs without a "
        "partner are left out; otherwise the comparison is unpaired. P(first is better) is the "
        "share of pairs in which the first group is better, or, unpaired, the Mann-Whitney "
        "statistic U / (n m), with an interval for as many trials as the smaller group has runs; a "
        "tie counts half. Median differences are medians of the differences within pairs, or, "
        "unpaired, differences of the medians.",
        f"p values are of {paired}; unpaired, of {unpaired}. They are exact for up to "
        f"{MAX_PAIRS} pairs and for two groups of up to about 30 runs, with ties taken into "
        "account, and a normal approximation beyond. The best group is compared with each other "
        f"one. {_correction(findings)}",
        "How a setting matters: its values are compared within the same combinations of the other "
        "settings. Each seed gives one result per value, the median over these combinations (the "
        "mean for epochs to converge), and the best value is compared with each other one. The "
        "p value is the smallest of these, corrected for all pairs of values (Shaffer) and for all "
        "settings (Holm).",
        "Shares of the variance, for a full grid with the same seeds in every combination of "
        "settings: sums of squares of each setting, of what each pair adds, of more settings "
        "together, and of the seed, corrected for what the seeds alone would give (epsilon "
        "squared, Kelley 1935). Losses count by their logarithm, and a run without a value as the "
        "worst one that has a value. They have no intervals, because none holds for skewed values.",
        *([] if all(s.group.is_independent for s in findings.summaries) else [SHARED_LEVELS]),
        _expected_best(findings),
    ]


def _correction(findings: Findings) -> str:
    """How p values are corrected for several comparisons."""
    if findings.n_pairs < 2:
        return "There is only one pair of groups, so that p values need no correction."
    return (
        "Because the same runs decide which group is the best, p values are corrected for all "
        f"{findings.n_pairs} pairs of groups (Shaffer 1986): with no real difference, any "
        "significant result has a probability of at most 5%."
    )


def _runs_without_value() -> str:
    return (
        "A run that did not converge within its maximum number of epochs, stalled or diverged "
        "counts as not converged up to that number: the share converged is the cumulative "
        "incidence (Aalen and Johansen 1978). "
        "A diverged run ranks below every finite loss and has accuracy 0. Mean ± sd of the epochs "
        "are restricted to the maximum number of epochs. "
        "Groups are ranked by this mean if epochs to converge are compared, within the smallest "
        "maximum of all groups. "
        "IQM is the interquartile mean: a quarter of the runs is cut at each end."
    )


def _expected_best(findings: Findings) -> str:
    worst = "a diverged run counts as the worst finite one"
    if findings.objective.is_time:
        worst = "a run that did not converge counts its maximum number of epochs"
    return (
        f"Expected best of n: the mean over all sets of n runs (Tang et al. 2020); {worst}. "
        "Interquartile mean and performance profiles: Agarwal et al. 2021."
    )
