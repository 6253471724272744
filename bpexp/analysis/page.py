"""The report as a page of HTML or Markdown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bpexp.analysis import tables
from bpexp.analysis.agreement import Agreement
from bpexp.analysis.curves import MAX_RUNS
from bpexp.analysis.figures import PAIRS, POINTS
from bpexp.analysis.findings import Findings
from bpexp.analysis.statistics import RESAMPLES

ROWS = 100
"""So many groups and comparisons are on the page; the table of numbers has all."""

CAPTIONS = {
    "loss_curves": "Loss by epoch. Lines: the median run of each group; bands: from the 5th to "
    f"the 95th percentile (of at most {MAX_RUNS} runs a group). A run that has ended stays at its "
    "last loss; one that diverges leaves the frame.",
    "convergence": "Share of runs converged by each epoch, as Kaplan and Meier estimate it, with "
    "its 95% interval.",
    "distribution": f"Final losses: a point for each run (of at most {POINTS} a group), diamond: "
    "median, bar: middle half.",
    "profiles": "Performance profiles: the share of runs that end at or below a loss. The higher "
    "line is better.",
    "best_of_n": "Expected best of n runs drawn from those there are.",
    "heat_maps": "Median over all runs of a pair of settings, whatever else varies.",
    "parallel": "Every group as a line through its settings.",
    "surfaces": "Decision surface over the two inputs. Circles and squares: the rows trained on, "
    "of low and of high target; white line: half-way between.",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """What a page is made of, the figures apart."""

    title: str
    question: str
    answer: str
    findings: Findings
    agreement: Agreement | None
    environment: Mapping[str, str]

    @property
    def ranking(self) -> list[list[str]]:
        """Header and rows."""
        return tables.readable_ranking(self.findings, ROWS)

    @property
    def agreed(self) -> list[list[str]]:
        """Header and rows on the groups that two sweeps share; nothing for one sweep."""
        if self.agreement is None or not self.agreement.comparisons:
            return []
        return tables.readable_comparisons(list(self.agreement.comparisons[:ROWS]))

    @property
    def comparisons(self) -> list[list[str]]:
        """Header and rows; nothing for a single group."""
        found = list(self.findings.comparisons[:ROWS])
        return tables.readable_comparisons(found) if found else []

    @property
    def remarks(self) -> list[str]:
        """What a reader should know of the tables."""
        grouped, said = self.findings.grouped, []
        if len(self.findings.summaries) > ROWS:
            said.append(f"The first {ROWS} of {len(self.findings.summaries)} groups are shown.")
        keys = len(grouped.varying)
        pairs = keys * (keys - 1) // 2
        if pairs > PAIRS and self.findings.has_scores:
            said.append(
                f"{PAIRS} of {pairs} pairs of settings have a heat map; the parallel coordinates "
                "show all settings."
            )
        if grouped.repeated:
            said.append(
                f"{grouped.repeated} runs repeat the settings and seed of another and are left "
                "out: the same run twice is not a second seed."
            )
        lost = sum(s.group.unfinished for s in self.findings.summaries)
        if lost:
            said.append(f"{lost} runs failed or were interrupted; they have no result.")
        return said

    @property
    def methods(self) -> list[str]:
        """How the numbers were come by."""
        by, of = "Mann and Whitney's test", "medians"
        needed, worst = NOETHER, "a diverged run counts as the worst finite one"
        if self.findings.measure.key == "epochs_to_converge":
            by = "the log-rank test, which is weak where two curves cross"
            of = "means. Both look at epochs within the shorter budget"
            needed, worst = SCHOENFELD, "a run that did not converge counts with its whole budget"
        return [
            "A group is all runs that differ in nothing but the seed. Intervals are at 95%: "
            "Wilson's for shares, Greenwood's (log-log) for convergence curves, for all else the "
            f"percentile bootstrap with at most {RESAMPLES} resamples "
            f"(seed {self.findings.seed}), too short where runs are few. One without width, as in "
            "1 (1 to 1), says that all resamples are alike, not that the number is certain.",
            "Runs that did not converge are censored observations of the epochs to converge, "
            "where they completed or stalled. A diverged run is censored at the end of its "
            "budget, for it never could converge; among losses it ranks below every finite one, "
            "among accuracies it counts as 0. Mean ± sd of the epochs are restricted to the "
            "budget of epochs. IQM: interquartile mean, a quarter of the runs cut at "
            "each end.",
            f"P(first is better) is Mann and Whitney's U / (n m), ties counted half. Differences "
            f"are of {of}. p values are of {by}, then corrected by Holm for all pairs of groups, "
            "for the best was found in the same runs.",
            "Seeds needed, in each of two groups, for that test to find the difference seen with "
            f"power 0.8 and α = 0.05 / {max(1, self.findings.pairs)}, Holm's first step: {needed}.",
            f"Expected best of n: Dodge et al. 2019, eq. 4; {worst}. "
            "Interquartile mean and performance profiles: Agarwal et al. 2021.",
        ]


NOETHER = "(z(1 - α/2) + z(0.8))² / (6 (P - ½)²) (Noether 1987)"
SCHOENFELD = "n (z(1 - α/2) + z(0.8))² / z², of n seeds for which the test gave z (Schoenfeld 1981)"

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 80rem; margin: 2rem auto; padding: 0 1.25rem }
h1 { font-size: 1.5rem; margin-bottom: .25rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p { max-width: 60rem }
.question { color: #444; margin-top: 0; overflow-wrap: anywhere }
.answer { font-size: 1.1rem; border-left: 4px solid #0072B2; padding: .2rem 0 .2rem 1rem;
          overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .78rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .35rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #888 }
.names td:nth-child(-n+2), .names th:nth-child(-n+2), .facts td { text-align: left }
.facts td { white-space: normal; overflow-wrap: anywhere }
td small { display: block; color: #555; font-size: .9em }
figure { margin: 1.5rem 0; display: flex; flex-wrap: wrap; align-items: center; gap: .4rem 1.5rem }
figcaption { flex: 1 1 14rem } img { max-width: 100%; height: auto }
figcaption, .note { font-size: .85rem; color: #444 }
@media print { body { max-width: none; margin: 0; font-size: 11px } table { font-size: 8px }
  th, td { padding: .15rem .3rem } td { white-space: normal } img { max-width: 15cm }
  figure, tr { break-inside: avoid } .wide { overflow: visible } }
"""


def html(parts: Parts, pictures: Mapping[str, bytes]) -> str:
    """One page that holds all it shows; it asks nothing of the network."""
    figures = "\n".join(_figure(name, content) for name, content in pictures.items())
    blocks = [
        f"<h1>{escape(parts.title)}</h1>",
        f'<p class="question">{escape(parts.question)}</p>',
        f'<p class="answer">{escape(parts.answer)}</p>',
    ]
    if parts.agreed:
        blocks += ["<h2>Groups in both sweeps</h2>", _table(parts.agreed, "names")]
    blocks += ["<h2>Groups, the best first</h2>", _table(parts.ranking, "ranking")]
    blocks += [f'<p class="note">{escape(remark)}</p>' for remark in parts.remarks]
    blocks += ["<h2>Figures</h2>", figures]
    if parts.comparisons:
        blocks += ["<h2>Comparisons</h2>", _table(parts.comparisons, "names")]
    blocks += ["<h2>Methods</h2>"]
    blocks += [f'<p class="note">{escape(text)}</p>' for text in parts.methods]
    if parts.environment:
        facts = [["", ""], *([key, value] for key, value in parts.environment.items())]
        blocks += ["<h2>Environment</h2>", _table(facts, "facts")]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(parts.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )


def _figure(name: str, content: bytes) -> str:
    data = base64.b64encode(content).decode()
    caption = escape(CAPTIONS[name])
    # Half of the pixels' number: what is drawn for print is sharp on a fine screen too.
    width = int.from_bytes(content[16:20], "big") // 2
    return (
        f'<figure id="{name}"><img src="data:image/png;base64,{data}" width="{width}" '
        f'alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _table(rows: Sequence[Sequence[str]], kind: str) -> str:
    header, *body = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header) if any(header) else ""
    lines = ("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in body)
    top = f"<thead><tr>{head}</tr></thead>\n" if head else ""
    return (
        f'<div class="wide"><table class="{kind}">\n{top}<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """An estimate stands above its interval, so that tables are half as wide."""
    value, opened, ends = escape(text).partition(" (")
    return f"<td>{value} <small>({ends}</small></td>" if opened else f"<td>{value}</td>"


def markdown(parts: Parts, pictures: Sequence[str]) -> str:
    """The same in Markdown; the figures are files in figures/."""
    blocks = [f"# {parts.title}", parts.question, f"**{parts.answer}**"]
    if parts.agreed:
        blocks += ["## Groups in both sweeps", _pipes(parts.agreed)]
    blocks += ["## Groups, the best first", _pipes(parts.ranking), *parts.remarks, "## Figures"]
    blocks += [f"![{CAPTIONS[name]}](figures/{name}.png)" for name in pictures]
    if parts.comparisons:
        blocks += ["## Comparisons", _pipes(parts.comparisons)]
    blocks += ["## Methods", *parts.methods]
    if parts.environment:
        facts = [["", ""], *([key, value] for key, value in parts.environment.items())]
        blocks += ["## Environment", _pipes(facts)]
    return "\n\n".join(blocks) + "\n"


def _pipes(rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    header, *body = cells
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
