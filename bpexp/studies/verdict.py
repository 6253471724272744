"""Compare the runs of a study with the published results, row by row.

>>> from bpexp.studies.definition import parse
>>> from bpexp.studies.measures import StudyRun
>>> study = parse({
...     "name": "demo", "source": "a paper", "measure": "epochs", "trials": 3,
...     "rows": [{"name": "fast", "published": {"n": 25, "mean": 100, "sd": 10}}],
... })
>>> runs = {index: StudyRun("converged", epochs) for index, epochs in enumerate([95, 99, 112])}
>>> (verdict,) = evaluate(study, runs).verdicts
>>> verdict.mean.estimate, verdict.text
(102.0, 'holds')
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bpexp.analysis.permutation import ALPHA
from bpexp.analysis.statistics import CONFIDENCE, Interval, holm, share_interval
from bpexp.render import markdown
from bpexp.render.document import (
    Block,
    BulletList,
    Document,
    Paragraph,
    Table,
    code,
    emphasis,
)
from bpexp.render.table_files import as_csv
from bpexp.studies.definition import Published, Row, Study
from bpexp.studies.measures import MEASURES, StudyRun
from bpexp.typing import Array

RESAMPLES = 10_000
"""Number of samples of a few seeds drawn to estimate the spread of their mean."""

METHODS = (
    emphasis("Ours"),
    " is the mean with its 95% confidence interval (Student's t; exact for a share). A row is "
    "tested only if n and sd were published (for a share, n), by Welch's t-test of the means or a "
    "score test of the shares, at the 5% level with the Holm correction for all rows. ",
    emphasis("Holds"),
    " means that no significant difference was found, not that there is none.",
)


@dataclass(frozen=True)
class Verdict:
    """The runs of one row summarized by one measure, and the comparison with the publication.

    Attributes:
        row: The row.
        measure: Name of the measure.
        n_runs: Number of runs.
        n_values: Number of runs that have a value.
        mean: Mean with its 95% confidence interval; nan for fewer than two values.
        sd: Standard deviation.
        median: Median.
        range: Smallest and largest value.
        small_sample_means: For a number of seeds, the median of the mean of that many seeds and
            an interval that contains 90% of such means.
        p: Holm-corrected p-value; None if there was no test.
        text: The verdict in words.
    """

    row: Row
    measure: str
    n_runs: int
    n_values: int
    mean: Interval
    sd: float
    median: float
    range: tuple[float, float]
    small_sample_means: Mapping[int, Interval]
    p: float | None
    text: str

    @property
    def published(self) -> Published | None:
        """The published result of this row and measure."""
        return self.row.published.get(self.measure)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The verdicts of a study and the files that describe them.

    Attributes:
        study: The study.
        verdicts: One per row and measure, row by row.
        values: The measured values, (n_measures, n_rows, n_runs), nan where a run has none; with
            a grid, the runs of a row are ordered by its points.
    """

    study: Study
    verdicts: Sequence[Verdict]
    values: Array

    def table(self) -> list[list[str]]:
        """A table of text; the first row is the header."""
        header = ["row", "published", "ours", "sd", "median", "range", "runs", "p (Holm)",
                  "verdict"]  # fmt: skip
        return [header, *([self._name(v), *_cells(v)] for v in self.verdicts)]

    def sentences(self) -> list[str]:
        """How far the values of different seeds are apart, where ``study.reports`` is given."""
        sentences = []
        for v in self.verdicts:
            if not v.small_sample_means:
                continue
            low, high = v.range
            sentences.append(
                f"{self._name(v)}: the values of {v.n_values} seeds range from {low:.4g} to "
                f"{high:.4g}" + (f", a factor of {high / low:.4g}." if low > 0.0 else ".")
            )
            sentences += [
                f"{self._name(v)}: the mean of {count} seed{'s' * (count > 1)} lies between "
                f"{mean.low:.4g} and {mean.high:.4g} in 90% of cases; the mean of all seeds is "
                f"{v.mean.estimate:.4g}."
                for count, mean in v.small_sample_means.items()
            ]
        return sentences

    def document(self) -> Document:
        """The source, the table, the methods and the assumptions."""
        study = self.study
        titles = "; ".join(MEASURES[name].title for name in study.measures)
        axes = [f"{axis.name} {axis.low:g} to {axis.high:g} ({axis.count})" for axis in study.grid]
        grid = f" at each point of {' by '.join(axes)}" if axes else ""
        header, *rows = self.table()
        blocks: list[Block] = [
            Paragraph(("Study ", code(study.name), f": {study.source}")),
            Paragraph(f"Measured: {titles}. Seeds 0 to {study.trials - 1}{grid}."),
            Table(header, rows, "l" * len(header)),
        ]
        if study.changed:
            blocks.append(Paragraph(f"Changed on the command line: {', '.join(study.changed)}."))
        blocks.append(Paragraph(METHODS))
        if sentences := self.sentences():
            blocks.append(BulletList(sentences))
        rows_of: dict[str, list[str]] = {}
        for row in study.rows:
            if row.assumed:
                rows_of.setdefault(row.assumed, []).append(row.name)
        if rows_of:
            assumed = [f"{', '.join(rows)}: {text}" for text, rows in rows_of.items()]
            blocks += [Paragraph("Assumed:"), BulletList(assumed)]
        return Document(blocks)

    def markdown(self) -> str:
        """The document as Markdown."""
        return markdown.render(self.document())

    def files(self) -> dict[str, bytes]:
        """``study.md`` and ``study.csv``."""
        header, *rows = self.table()
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        return {"study.md": self.markdown().encode(), "study.csv": as_csv(columns)}

    def _name(self, verdict: Verdict) -> str:
        """The name of the row, with the measure if there are several."""
        if len(self.study.measures) == 1:
            return verdict.row.name
        return f"{verdict.row.name} {verdict.measure}"


def evaluate(study: Study, runs: Mapping[int, StudyRun]) -> Evaluation:
    """Compare the runs of a study with the published results.

    Args:
        study: The study.
        runs: The runs by the index of their job, in the order of ``overrides_of_jobs``. Jobs
            without a result may be missing.

    Returns:
        The verdicts.
    """
    n_measures, n_rows = len(study.measures), len(study.rows)
    n_runs = study.n_points * study.trials
    by_job = np.full((n_measures, n_rows * n_runs), np.nan)
    for index, run in runs.items():
        by_job[:, index] = [MEASURES[name].value(run) for name in study.measures]
    values = by_job.reshape(n_measures, n_rows, n_runs)
    return Evaluation(study, judge(study, values.swapaxes(0, 1)), values)


def judge(study: Study, values: Sequence[Sequence[Array]] | Array) -> list[Verdict]:
    """Summarize and test the values of each row and measure.

    Means are compared by Welch's t-test if n and sd were published, shares by a score test if n
    was published; the p-values are Holm-corrected. A single published run is given as a
    percentile of our runs. If settings were changed, nothing is tested.

    Args:
        study: The study.
        values: For each row and each measure the values of the runs, (n_runs,), nan where a run
            has none.

    Returns:
        One verdict per row and measure, row by row.
    """
    verdicts = [
        _summarize(study, row, measure, np.asarray(of_measure))
        for row, of_row in zip(study.rows, values, strict=True)
        for measure, of_measure in zip(study.measures, of_row, strict=True)
    ]
    tested = [index for index, verdict in enumerate(verdicts) if verdict.p is not None]
    p_values = [verdict.p for verdict in verdicts if verdict.p is not None]
    for index, p in zip(tested, holm(p_values), strict=True):
        text = "does not hold" if p < ALPHA else "holds"
        verdicts[index] = replace(verdicts[index], p=p, text=text)
    return verdicts


def _summarize(study: Study, row: Row, measure: str, values: Array) -> Verdict:
    finite = values[np.isfinite(values)]
    n, is_share = len(finite), MEASURES[measure].is_share
    if n < 2:
        p, text = None, "not tested: fewer than two values"
    else:
        p, text = _test(study, row.published.get(measure), is_share, values)
    return Verdict(
        row=row,
        measure=measure,
        n_runs=len(values),
        n_values=n,
        mean=_mean(finite, is_share),
        sd=float(finite.std(ddof=1)) if n > 1 else np.nan,
        median=float(np.median(finite)) if n else np.nan,
        range=(float(finite.min()), float(finite.max())) if n else (np.nan, np.nan),
        small_sample_means=_small_sample_means(finite, study.reports),
        p=p,
        text=text,
    )


def _test(
    study: Study, published: Published | None, is_share: bool, values: Array
) -> tuple[float | None, str]:
    """The uncorrected p-value of a test, or None and why there is none."""
    finite = values[np.isfinite(values)]
    if published is None:
        return None, "not tested: no published number"
    if study.changed:
        return None, "not tested: settings were changed"
    if is_share and published.n > 1:
        return _score_test(finite, published), ""
    if published.sd is not None:
        return _welch_test(finite, published, published.sd), ""
    if published.n == 1:
        return None, f"one published run: at the {ordinal(_percentile(values, published.mean))} " \
            "percentile of ours"  # fmt: skip
    return None, "not tested: no published sd"


def _percentile(values: Array, score: float) -> float:
    """The percentage of values that are at most ``score``, ties counted half.

    A missing value counts as larger than all others, as that of a run that did not converge.
    """
    from scipy import stats

    return float(stats.percentileofscore(np.nan_to_num(values, nan=np.inf), score))


def _mean(finite: Array, is_share: bool) -> Interval:
    """The mean with the t interval, or a share with its exact interval."""
    n = len(finite)
    if n < 2:
        return Interval(np.nan, np.nan, np.nan)
    if is_share:
        return share_interval(int(finite.sum()), n)
    from scipy import stats

    mean = float(finite.mean())
    t = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, n - 1))
    half_width = t * finite.std(ddof=1) / np.sqrt(n)
    return Interval(mean, float(mean - half_width), float(mean + half_width))


def _small_sample_means(finite: Array, sizes: Sequence[int]) -> dict[int, Interval]:
    """Median and central 90% of the mean of a few seeds, drawn with replacement.

    Sizes that are not smaller than the number of values are left out.
    """
    rng = np.random.default_rng(0)
    found = {}
    for size in (size for size in sizes if size < len(finite)):
        means = finite[rng.integers(0, len(finite), (RESAMPLES, size))].mean(axis=1)
        low, median, high = np.quantile(means, [0.05, 0.5, 0.95])
        found[size] = Interval(float(median), float(low), float(high))
    return found


def _welch_test(finite: Array, published: Published, sd: float) -> float:
    """p-value of Welch's t-test of equal means (Welch 1947)."""
    from scipy import stats

    if not finite.std(ddof=1) and not sd:
        return float(finite.mean() == published.mean)
    test = stats.ttest_ind_from_stats(
        finite.mean(), finite.std(ddof=1), len(finite), published.mean, sd, published.n,
        equal_var=False,
    )  # fmt: skip
    return float(test.pvalue)


def _score_test(finite: Array, published: Published) -> float:
    """p-value of the score test of equal shares, with the pooled share as the variance."""
    from scipy import stats

    n, m = len(finite), published.n
    ours, theirs = float(finite.mean()), published.mean
    pooled = (n * ours + m * theirs) / (n + m)
    variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)
    if variance <= 0.0:
        return 1.0
    return float(2.0 * stats.norm.sf(abs(ours - theirs) / np.sqrt(variance)))


def ordinal(number: float) -> str:
    """A rounded number with its ordinal suffix.

    >>> [ordinal(number) for number in (1, 2, 11, 62.6)]
    ['1st', '2nd', '11th', '63rd']
    """
    rounded = round(number)
    is_teen = rounded % 100 in (11, 12, 13)
    suffix = "th" if is_teen else {1: "st", 2: "nd", 3: "rd"}.get(rounded % 10, "th")
    return f"{rounded}{suffix}"


def _cells(verdict: Verdict) -> list[str]:
    """The cells of a table's row, without the name."""
    published, text = verdict.published, "-"
    if published is not None:
        sd = "" if published.sd is None else f"sd {published.sd:g}, "
        text = f"{published.mean:g} ({sd}n {published.n})"
    mean = verdict.mean
    spread = [
        _formatted("{:.3g}", verdict.sd),
        _formatted("{:.4g}", verdict.median),
        _formatted("{:.4g}..{:.4g}", *verdict.range),
    ]
    return [
        text,
        _formatted("{:.4g} [{:.4g}, {:.4g}]", mean.estimate, mean.low, mean.high),
        *(["-"] * 3 if MEASURES[verdict.measure].is_share else spread),
        f"{verdict.n_values}/{verdict.n_runs}",
        "-" if verdict.p is None else f"{verdict.p:.2g}",
        verdict.text,
    ]


def _formatted(template: str, *values: float) -> str:
    """The formatted values; a dash if one is nan."""
    return "-" if np.isnan(values).any() else template.format(*values)
