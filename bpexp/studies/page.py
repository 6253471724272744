"""A study as a document: verdicts, table, pictures, assumptions and methods; and its files."""

from collections import Counter
from collections.abc import Sequence

from bpexp.render import html, latex, markdown
from bpexp.render.document import (
    Block,
    BulletList,
    Document,
    Heading,
    Image,
    Paragraph,
    Table,
    Text,
    emphasis,
    strong,
    unstyled,
)
from bpexp.render.table_files import as_csv
from bpexp.studies.comparison import (
    MAX_L_SKEWNESS,
    MAX_L_SKEWNESS_ALONE,
    MAX_L_SKEWNESS_OF_SD,
    MIN_PUBLISHED_RUNS,
    MIN_RUNS,
    MIN_RUNS_TO_TEST,
    NOMINAL,
    POWER,
)
from bpexp.studies.measures import MEASURES
from bpexp.studies.verdict import MIN_SEEDS_OF_GRID, Evaluation

METHODS: tuple[Text, ...] = (
    (
        emphasis("Ours"),
        " is the mean of the runs that have a value. A share has its exact 95% confidence interval "
        "(Clopper and Pearson). Over a grid the interval is Student's, of the means of the seeds, "
        f"which need to be at least {MIN_SEEDS_OF_GRID}.",
    ),
    (
        emphasis("Difference"),
        " is that of the means in percent of the published one with its 95% confidence interval, "
        f"for at least {MIN_RUNS} runs of ours and {MIN_PUBLISHED_RUNS} published ones, unless "
        f"ours are too skewed (L-skewness above {MAX_L_SKEWNESS:g}, or above "
        f"{MAX_L_SKEWNESS_ALONE:g} if neither a standard deviation nor a range was published), or "
        "the spread differs, because the interval takes the published values to have the shape of "
        "ours; of shares in percentage points. The method is the bootstrap-t, which allows for "
        f"skewed values, with {NOMINAL:.0%} instead of 95%, because skewed values make its "
        "intervals too narrow. Fewer runs are tested with the larger one of both standard "
        "deviations, in relation to the means. The means of fewer than "
        f"{MIN_RUNS_TO_TEST} runs are not tested, nor those of fewer than {MIN_RUNS} if no spread "
        "was published, nor those of too skewed ones. A difference as large as ",
        emphasis("detectable"),
        f" would have been found in {POWER:.0%} of cases if it were the only test of the study. If "
        "no standard deviation was published, it is estimated from the published range, or else "
        "taken to be ours in relation to the mean.",
    ),
    (
        emphasis("Agrees"),
        " means that the whole interval lies within the stated margin, and that neither the spread "
        "nor the share of converged runs differs; ",
        emphasis("differs"),
        ", that the difference of the means, of the spread or of the share of converged runs is "
        "significant at the 5% level, with Holm's correction for all tests of the study; ",
        emphasis("undecided"),
        ", that there are too few runs, published or ours, for either, or that ours are too "
        "skewed. The spread is the standard deviation, the median, the minimum and the maximum, "
        "each compared as it stands and in relation to the mean; the larger p value counts, and at "
        f"least {MIN_RUNS} runs of ours are needed, for the standard deviation with an L-skewness "
        f"of at most {MAX_L_SKEWNESS_OF_SD:g}.",
    ),
    (
        emphasis("Runs"),
        " are those that have a value, out of those that have a result. A run that failed or was "
        "interrupted has no result: it is left out everywhere, and does not count as one that did "
        "not converge. A run that diverged has a result, but no value: it is left out of means, "
        "and the share of runs with a value is compared like that of converged runs. A report, "
        "which compares combinations and not with a publication, ranks diverged runs last.",
    ),
)
"""How the numbers and the verdicts are computed, a paragraph each."""

COMPARISON = ("row", "published", "ours", "difference", "verdict")
"""The columns of the first table in print; the others are in a second one."""


def document(evaluation: Evaluation, images: Sequence[Image]) -> Document:
    """The study as a page.

    Args:
        evaluation: The verdicts.
        images: The pictures of the study.
    """
    blocks = [*_introduction(evaluation), Heading(2, "Results"), evaluation.table]
    blocks += _sentences(evaluation)
    if images:
        blocks += [Heading(2, "Figures"), *images]
    return Document([*blocks, *_assumptions_and_methods(evaluation)], theme="report")


def paper(evaluation: Evaluation, images: Sequence[Image]) -> Document:
    """The study for print, with two tables that are each narrow enough for a sheet of paper.

    Args:
        evaluation: The verdicts.
        images: The pictures of the study.
    """
    table = evaluation.table
    others = ["row", *(name for name in map(unstyled, table.columns) if name not in COMPARISON)]
    return Document(
        [
            *_introduction(evaluation),
            _with_columns(table, COMPARISON, "Means and verdicts."),
            _with_columns(
                table, others, "Spread, and the smallest difference that these runs show."
            ),
            *_sentences(evaluation),
            *images,
            *_assumptions_and_methods(evaluation),
        ],
        theme="report",
        math=True,
    )


def files(evaluation: Evaluation, images: Sequence[Image]) -> dict[str, bytes]:
    """The page in several formats, the table as CSV, and the pictures, by the name of the file.

    Args:
        evaluation: The verdicts.
        images: The pictures of the study.
    """
    page, table = document(evaluation, images), evaluation.table
    columns = {
        unstyled(name): list(map(unstyled, cells))
        for name, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True)
    }
    return {
        "study.md": markdown.render(page).encode(),
        "study.html": html.render(page).encode(),
        "study.tex": latex.render(paper(evaluation, images)).encode(),
        "study.csv": as_csv(columns),
        **{image.path: image.content for image in images},
    }


def _introduction(evaluation: Evaluation) -> list[Block]:
    """The title, the source, what was measured, and how often each verdict was reached."""
    study = evaluation.study
    axes = [f"{axis.name} {axis.low:g} to {axis.high:g} ({axis.count})" for axis in study.grid]
    grid = f" at each point of {' by '.join(axes)}" if axes else ""
    titles = "; ".join(MEASURES[name].title for name in study.measures)
    changed = f" Changed on the command line: {', '.join(study.changed)}." if study.changed else ""
    counts = Counter(verdict.decision for verdict in evaluation.verdicts)
    verdicts = ", ".join(f"{text} ({n})" for text, n in counts.most_common())
    return [
        Heading(1, f"Study {study.name}"),
        Paragraph(f"Source: {study.source}", "lead"),
        Paragraph(f"Measured: {titles}. Seeds 0 to {study.trials - 1}{grid}.{changed}"),
        Paragraph((strong(f"Verdicts: {verdicts}."),), "result"),
    ]


def _sentences(evaluation: Evaluation) -> list[Block]:
    sentences = evaluation.sentences()
    return [BulletList(sentences)] if sentences else []


def _assumptions_and_methods(evaluation: Evaluation) -> list[Block]:
    rows_of: dict[str, list[str]] = {}
    for row in evaluation.study.rows:
        if row.assumed:
            rows_of.setdefault(row.assumed, []).append(row.name)
    assumed = [f"{', '.join(rows)}: {text}" for text, rows in rows_of.items()]
    blocks: list[Block] = [Heading(2, "Assumptions"), BulletList(assumed)] if assumed else []
    return [*blocks, Heading(2, "Methods"), *(Paragraph(text, "note") for text in METHODS)]


def _with_columns(table: Table, names: Sequence[str], caption: str) -> Table:
    """The columns of a table that have these names."""
    chosen = [at for at, column in enumerate(table.columns) if unstyled(column) in names]
    return Table(
        [table.columns[at] for at in chosen],
        [[row[at] for at in chosen] for row in table.rows],
        "".join(table.sides[at] for at in chosen),
        caption,
    )
