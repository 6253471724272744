"""The report as a document: question, answer, tables, plots and methods."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bpexp.analysis import plots, tables
from bpexp.analysis.findings import Findings
from bpexp.analysis.statistics import RESAMPLES
from bpexp.render.document import Block, Document, Heading, Image, Paragraph, Table, strong

if TYPE_CHECKING:
    from bpexp.analysis.report import Report

MAX_ROWS = 100
"""Maximum number of groups and of comparisons in the document; report.csv has all groups."""


def document(report: "Report", images: Mapping[str, bytes]) -> Document:
    """The report with these images.

    Args:
        report: The findings and their surroundings.
        images: PNG files by the name of their plot.
    """
    findings, agreement = report.findings, report.agreement
    blocks: list[Block] = [
        Heading(1, report.title),
        Paragraph(report.question, "lead"),
        Paragraph((strong(report.answer),), "result"),
    ]
    if agreement is not None and agreement.comparisons:
        shared = tables.comparisons(agreement.comparisons[:MAX_ROWS])
        blocks += [Heading(2, "Groups in both sweeps"), shared]
    blocks += [Heading(2, "Groups, the best first"), tables.readable_ranking(findings, MAX_ROWS)]
    blocks += [Paragraph(remark, "note") for remark in remarks(report)]
    blocks += [Heading(2, "Figures")]
    blocks += [
        Image(f"figures/{name}.png", plots.PLOTS[name].caption, content)
        for name, content in images.items()
    ]
    if findings.comparisons:
        compared = tables.comparisons(findings.comparisons[:MAX_ROWS])
        blocks += [Heading(2, "Comparisons"), compared]
    blocks += [Heading(2, "Methods"), *(Paragraph(text, "note") for text in methods(findings))]
    if report.environment:
        rows = [list(item) for item in report.environment.items()]
        blocks += [Heading(2, "Environment"), Table(["", ""], rows, "lp")]
    return Document(blocks, theme="report")


def remarks(report: "Report") -> list[str]:
    """What the tables and plots leave out, and which runs are not counted."""
    findings, grouped = report.findings, report.findings.grouped
    out = []
    if len(findings.summaries) > MAX_ROWS:
        out.append(f"The first {MAX_ROWS} of {len(findings.summaries)} groups are shown.")
    out += plots.notes(report.plot_data)
    if grouped.repeated:
        out.append(
            f"{grouped.repeated} runs repeat the settings and seed of another run and are left "
            "out: the same run twice is not a second seed."
        )
    n_unfinished = sum(summary.group.unfinished for summary in findings.summaries)
    if n_unfinished:
        out.append(f"{n_unfinished} runs failed or were interrupted; they have no result.")
    return out


NOETHER = "(z(1 - α/2) + z(0.8))² / (6 (P - ½)²) (Noether 1987)"
SCHOENFELD = "n (z(1 - α/2) + z(0.8))² / z², where the test of n seeds gave z (Schoenfeld 1981)"


def methods(findings: Findings) -> list[str]:
    """How the estimates, intervals and p values are computed, a paragraph each."""
    test, of = "the Mann-Whitney test", "medians"
    needed, worst = NOETHER, "a diverged run counts as the worst finite one"
    if findings.measure.is_time:
        test = "the log-rank test, which has little power where two curves cross"
        of = "means. Both are restricted to epochs within the shorter budget"
        needed, worst = SCHOENFELD, "a run that did not converge counts with its whole budget"
    return [
        "A group is all runs that differ in nothing but the seed. Intervals have a confidence "
        "level of 95%: Wilson's for shares, Greenwood's (log-log) for convergence curves, and for "
        f"everything else the percentile bootstrap with at most {RESAMPLES} resamples (seed "
        f"{findings.seed}), which is too narrow for few runs. An interval of zero width, as in 1 "
        "(1 to 1), means that all resamples are equal, not that the number is certain.",
        "Runs that did not converge are censored observations of the epochs to converge. A run "
        "that completed or stalled is censored where it ended. A diverged run is censored at the "
        "end of its budget, because it could never converge; it ranks below every finite loss "
        "and has accuracy 0. Mean ± sd of the epochs are restricted to the budget of epochs. "
        "IQM is the interquartile mean: a quarter of the runs is cut at each end.",
        "P(first is better) is the Mann-Whitney statistic U / (n m), where a tie counts half. "
        f"Differences are of {of}. p values are of {test}, corrected by Holm's method for all "
        "pairs of groups, because the best group was selected with the same runs.",
        "Seeds needed is the number of seeds in each of two groups with which that test detects "
        f"the observed difference with power 0.8 and α = 0.05 / {max(1, findings.pairs)}, Holm's "
        f"first step: {needed}.",
        f"Expected best of n: Dodge et al. 2019, eq. 4; {worst}. Interquartile mean and "
        "performance profiles: Agarwal et al. 2021.",
    ]
