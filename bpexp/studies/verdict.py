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
(102.0, 'undecided')
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bpexp.analysis.intervals import CONFIDENCE, Interval, share_interval
from bpexp.analysis.permutation import ALPHA
from bpexp.analysis.statistics import holm
from bpexp.render.document import Table, Text, small
from bpexp.render.wording import counted
from bpexp.runs.result import about_unfinished
from bpexp.studies.comparison import (
    MAX_VARIATION,
    MIN_RUNS,
    Difference,
    difference_of_means,
    difference_of_shares,
    exceeds_skewness_limit,
    p_of_share_converged,
    p_values_of_statistics,
    varies_too_much,
)
from bpexp.studies.definition import Published, Study, StudyRow
from bpexp.studies.measures import MEASURES, StudyRun
from bpexp.typing import Array

MIN_SEEDS_OF_GRID = 10
"""With fewer seeds, a mean over a grid has no interval: that of five would cover less than 93%
where most seeds are either easy or hard, as in the study ``initial_weights``."""

SPREAD = ("sd", "median", "min", "max")
"""What is compared besides the means and the share of runs that have a value."""

UNFINISHED = "without result"
COLUMNS = (
    "row", "published", "ours", "difference", "detectable", "sd", "median", "range", "runs",
    UNFINISHED, "verdict",
)  # fmt: skip
"""The columns of the table of verdicts."""

SEED_SAMPLES = 10_000
"""Number of samples of a few seeds drawn to estimate the spread of their mean."""


@dataclass(frozen=True)
class Verdict:
    """The runs of one row summarized by one measure, and the comparison with the publication.

    Attributes:
        row: The row.
        measure: Name of the measure.
        n_runs: Number of runs that have a result.
        n_unfinished: Number of runs that failed or were interrupted. They are left out.
        n_values: Number of runs that have a value.
        mean: Mean; nan for fewer than two values, over a grid for none. A share has its 95%
            confidence interval, and so has a mean over the points of a grid, between seeds.
        sd: Standard deviation.
        median: Median.
        range: Smallest and largest value.
        small_sample_means: For a number of seeds, the median of the mean of that many seeds and
            an interval that contains 90% of such means.
        difference: Our mean minus the published one; None if they were not compared.
        p_values: p-values by what they compare, corrected for all tests of the study.
        decision: "agrees within 10%", "differs", "undecided", "not compared", "one published run".
        reason: What differs, or why the decision is not another one; "" where nothing is to add.
        is_skewed: Whether the values are too skewed for a comparison of means, although there are
            enough of them.
    """

    row: StudyRow
    measure: str
    n_runs: int
    n_unfinished: int
    n_values: int
    mean: Interval
    sd: float
    median: float
    range: tuple[float, float]
    small_sample_means: Mapping[int, Interval]
    difference: Difference | None
    p_values: Mapping[str, float]
    decision: str
    reason: str = ""
    is_skewed: bool = False

    @property
    def text(self) -> str:
        """The verdict in words."""
        return f"{self.decision}: {self.reason}" if self.reason else self.decision

    @property
    def published(self) -> Published | None:
        """The published result of this row and measure."""
        return self.row.published.get(self.measure)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The verdicts of a study.

    Attributes:
        study: The study.
        verdicts: One per row and measure, row by row.
        values: The measured values, (n_measures, n_rows, n_runs), nan where a run has none; with
            a grid, the runs of a row are ordered by its points.
    """

    study: Study
    verdicts: Sequence[Verdict]
    values: Array

    @property
    def n_unfinished(self) -> int:
        """Number of runs that failed or were interrupted."""
        by_row = {verdict.row.name: verdict.n_unfinished for verdict in self.verdicts}
        return sum(by_row.values())

    @property
    def table(self) -> Table:
        """A row for each verdict; runs without a result have a column if there are any."""
        columns = [column for column in COLUMNS if column != UNFINISHED or self.n_unfinished]
        cells = [_cells(verdict) | {"row": self._name(verdict)} for verdict in self.verdicts]
        rows = [[cell[column] for column in columns] for cell in cells]
        return Table(columns, rows, f"l{'r' * (len(columns) - 2)}p")

    def sentences(self) -> list[str]:
        """How many runs have no result or no value, and what ``study.reports`` asks for.

        The latter is how far the values of different seeds are apart.
        """
        sentences = [about_unfinished(self.n_unfinished)] if self.n_unfinished else []
        sentences += [
            f"{self._name(v)}: {v.n_runs - v.n_values} of {counted(v.n_runs, 'run')} diverged or "
            "have no value: they are left out of the mean, whereas a report ranks diverged runs "
            "last."
            for v in self.verdicts
            if v.n_values < v.n_runs and not MEASURES[v.measure].of_converged
        ]
        for v in self.verdicts:
            if not v.small_sample_means:
                continue
            low, high = v.range
            sentences.append(
                f"{self._name(v)}: the values of {v.n_values} seeds range from {low:.4g} to "
                f"{high:.4g}" + (f", a factor of {high / low:.4g}." if low > 0.0 else ".")
            )
            sentences += [
                f"{self._name(v)}: the mean of {counted(count, 'seed')} lies between "
                f"{mean.low:.4g} and {mean.high:.4g} in 90% of cases; the mean of all seeds is "
                f"{v.mean.estimate:.4g}."
                for count, mean in v.small_sample_means.items()
            ]
        return sentences

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
    has_result = np.zeros(n_rows * n_runs, bool)
    for index, run in runs.items():
        by_job[:, index] = [MEASURES[name].value(run) for name in study.measures]
        has_result[index] = run.has_result
    values = by_job.reshape(n_measures, n_rows, n_runs)
    verdicts = judge(study, values.swapaxes(0, 1), has_result.reshape(n_rows, n_runs))
    return Evaluation(study, verdicts, values)


def judge(
    study: Study,
    values: Sequence[Sequence[Array]] | Array,
    has_result: NDArray[np.bool_] | None = None,
) -> list[Verdict]:
    """Summarize the values of each row and measure, and compare them with the published ones.

    See ``page.METHODS``. A single published run is given as a percentile of our runs. If settings
    were changed, nothing is compared.

    Args:
        study: The study.
        values: For each row and each measure the values of the runs, (n_runs,), nan where a run
            has none.
        has_result: Which runs of each row have a result, (n_rows, n_runs). The others, which failed
            or were interrupted, are left out. None if all runs have one.

    Returns:
        One verdict per row and measure, row by row.
    """
    verdicts = []
    for number, (row, of_row) in enumerate(zip(study.rows, values, strict=True)):
        for measure, of_measure in zip(study.measures, of_row, strict=True):
            given = np.asarray(of_measure)
            finished = np.ones(len(given), bool) if has_result is None else has_result[number]
            verdicts.append(_summarize(study, row, measure, given, finished))
    tests = [(i, name) for i, verdict in enumerate(verdicts) for name in verdict.p_values]
    corrected = holm([verdicts[i].p_values[name] for i, name in tests])
    adjusted = dict(zip(tests, corrected, strict=True))
    return [
        _decided(replace(v, p_values={name: adjusted[i, name] for name in v.p_values}), study)
        for i, v in enumerate(verdicts)
    ]


def _decided(verdict: Verdict, study: Study) -> Verdict:
    """The verdict in words, given the corrected p-values."""
    different = [name for name, p in verdict.p_values.items() if p < ALPHA]
    difference = verdict.difference
    if difference is not None and set(SPREAD) & set(different):
        # The interval takes the published values to have the shape of ours.
        verdict = replace(verdict, difference=difference.without_interval)
    if any(name != "mean" for name in different):
        return replace(verdict, decision="differs", reason=", ".join(different))
    if verdict.difference is None:
        return verdict
    if verdict.difference.is_within(study.margin):
        margin = f"{study.margin:g}{verdict.difference.unit}"
        return replace(verdict, decision=f"agrees within {margin}")
    if different:
        return replace(verdict, decision="differs")
    reason = "too skewed to compare means" if verdict.is_skewed else ""
    return replace(verdict, decision="undecided", reason=reason)


def _summarize(
    study: Study, row: StudyRow, measure: str, values: Array, has_result: NDArray[np.bool_]
) -> Verdict:
    finished, finite = values[has_result], values[np.isfinite(values)]
    n, is_share = len(finite), MEASURES[measure].is_share
    published = row.published.get(measure)
    compared = _compare(study, published, measure, finished)
    return Verdict(
        row=row,
        measure=measure,
        n_runs=len(finished),
        n_unfinished=len(values) - len(finished),
        n_values=n,
        mean=_mean_over_grid(values, study, is_share) if study.grid else _mean(finite, is_share),
        sd=float(finite.std(ddof=1)) if n > 1 else np.nan,
        median=float(np.median(finite)) if n else np.nan,
        range=(float(finite.min()), float(finite.max())) if n else (np.nan, np.nan),
        small_sample_means=_small_sample_means(finite, study.reports),
        difference=compared.difference,
        p_values=compared.p_values,
        decision=compared.decision,
        reason=compared.reason,
        is_skewed=published is not None
        and not is_share
        and n >= MIN_RUNS
        and exceeds_skewness_limit(finite, published),
    )


class _Comparison(NamedTuple):
    """The difference of the means, if they are compared, and the uncorrected p-values.

    ``decision`` and ``reason`` are those of a verdict that needs no corrected p-value.
    """

    difference: Difference | None
    p_values: Mapping[str, float]
    decision: str = "undecided"
    reason: str = ""


def _compare(study: Study, published: Published | None, measure: str, values: Array) -> _Comparison:
    """Compare the runs of a row with its published result by one measure.

    The share of converged runs is compared in any case, even if no run of ours converged; and that
    of runs with a value, if some have none because they diverged.

    Args:
        study: The study.
        published: The published result of the row, if there is one.
        measure: Name of the measure.
        values: The values of the runs that have a result, nan where a run has no value.
    """
    finite, of = values[np.isfinite(values)], MEASURES[measure]
    p_values: dict[str, float] = {}
    if published is None:
        return _Comparison(None, p_values, "not compared", "no published number")
    if study.changed:
        return _Comparison(None, p_values, "not compared", "settings were changed")
    if not len(values):
        return _Comparison(None, p_values, "not compared", "no run has a result")
    if of.of_converged and published.n > 1:
        p_values["share converged"] = p_of_share_converged(len(finite), len(values), published)
    elif 0 < len(finite) < len(values) and published.n > 1:
        p_values["share with a value"] = p_of_share_converged(len(finite), len(values), published)
    if len(finite) < 2:
        return _Comparison(None, p_values, "not compared", "fewer than two values")
    if published.n == 1:
        place = ordinal(_percentile(values, published.mean))
        return _Comparison(
            None, p_values, "one published run", f"at the {place} percentile of ours"
        )
    if of.is_share:
        difference = difference_of_shares(int(finite.sum()), len(finite), published)
        return _Comparison(difference, {"mean": difference.p})
    if published.mean == 0.0 or finite.mean() == 0.0:
        return _Comparison(None, p_values, "not compared", "a mean is 0")
    if varies_too_much(finite, published):
        reason = f"an sd is over {MAX_VARIATION:g} times its mean"
        return _Comparison(None, p_values, "not compared", reason)
    difference = difference_of_means(finite, published)
    of_mean = {} if np.isnan(difference.p) else {"mean": difference.p}
    of_statistics = p_values_of_statistics(finite, published)
    return _Comparison(difference, of_mean | of_statistics | p_values)


def _percentile(values: Array, score: float) -> float:
    """The percentage of values that are below ``score``, ties counted half.

    A missing value counts as larger than all others, as that of a run that did not converge.
    """
    ranked = np.nan_to_num(values, nan=np.inf)
    return float(stats.percentileofscore(ranked, score, kind="mean"))


def _mean(finite: Array, is_share: bool) -> Interval:
    """The mean, or a share with its exact interval."""
    n = len(finite)
    if n < 2:
        return Interval.without_bounds(np.nan)
    if is_share:
        return share_interval(int(finite.sum()), n)
    return Interval.without_bounds(float(finite.mean()))


def _mean_over_grid(values: Array, study: Study, is_share: bool) -> Interval:
    """The mean over the seeds of their means over all points of a grid, with its interval.

    The same seeds are used at every point, so that the points of a seed are not independent. The
    interval is Student's t interval of the means of the seeds, each over many points; fewer than
    ``MIN_SEEDS_OF_GRID`` have none. That of a share ends at 0 and 1.
    """
    by_seed = values.reshape(study.n_points, study.trials)
    means = [float(np.nanmean(seed)) for seed in by_seed.T if np.isfinite(seed).any()]
    if not means:
        return Interval.without_bounds(np.nan)
    mean, n = float(np.mean(means)), len(means)
    if n < MIN_SEEDS_OF_GRID:
        return Interval.without_bounds(mean)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, n - 1) * np.std(means, ddof=1) / np.sqrt(n))
    low, high = mean - half, mean + half
    return Interval(mean, max(0.0, low), min(1.0, high)) if is_share else Interval(mean, low, high)


def _small_sample_means(finite: Array, sizes: Sequence[int]) -> dict[int, Interval]:
    """Median and central 90% of the mean of a few seeds, drawn with replacement.

    Sizes that are not smaller than the number of values are left out.
    """
    rng = np.random.default_rng(0)
    found = {}
    for size in (size for size in sizes if size < len(finite)):
        means = finite[rng.integers(0, len(finite), (SEED_SAMPLES, size))].mean(axis=1)
        low, median, high = np.quantile(means, [0.05, 0.5, 0.95])
        found[size] = Interval(float(median), float(low), float(high))
    return found


def ordinal(number: float) -> str:
    """A rounded number with its ordinal suffix.

    >>> [ordinal(number) for number in (1, 2, 11, 62.6)]
    ['1st', '2nd', '11th', '63rd']
    """
    rounded = round(number)
    is_teen = rounded % 100 in (11, 12, 13)
    suffix = "th" if is_teen else {1: "st", 2: "nd", 3: "rd"}.get(rounded % 10, "th")
    return f"{rounded}{suffix}"


def _cells(verdict: Verdict) -> dict[str, Text]:
    """The cells of a table's row by the name of their column, without the row's name."""
    mean, difference = verdict.mean, verdict.difference
    cells: dict[str, Text] = dict.fromkeys(COLUMNS, "-")
    cells |= {
        "published": _published_text(verdict.published),
        "ours": _with_interval("{:.4g}", mean),
        "runs": f"{verdict.n_values}/{verdict.n_runs}",
        UNFINISHED: str(verdict.n_unfinished),
        "verdict": verdict.text,
    }
    if difference is not None:
        detectable = _formatted("{:.1f}", difference.detectable)
        cells |= {
            "difference": _with_interval("{:+.1f}", difference.percent, difference.unit),
            "detectable": detectable if detectable == "-" else f"{detectable}{difference.unit}",
        }
    if not MEASURES[verdict.measure].is_share:
        cells |= {
            "sd": _formatted("{:.3g}", verdict.sd),
            "median": _formatted("{:.4g}", verdict.median),
            "range": _formatted("{:.4g}..{:.4g}", *verdict.range),
        }
    return cells


def _published_text(published: Published | None) -> Text:
    """The published numbers, such as "129 (sd 46, n 25)"."""
    if published is None:
        return "-"
    named = {
        "sd": published.sd, "median": published.median, "min": published.min, "max": published.max,
        "converged": published.converged,
    }  # fmt: skip
    known = [f"{name} {value:g}" for name, value in named.items() if value is not None]
    return f"{published.mean:g} ", small(f"({', '.join([*known, f'n {published.n}'])})")


def _with_interval(template: str, value: Interval, unit: str = "") -> Text:
    """The estimate with its interval, if it has one, such as "+4.2 [-20.1, +18.2]%"."""
    estimate = _formatted(template, value.estimate)
    ends = _formatted(f"[{template}, {template}]", value.low, value.high)
    if ends == "-":
        return estimate if estimate == "-" else f"{estimate}{unit}"
    return f"{estimate} ", small(f"{ends}{unit}")


def _formatted(template: str, *values: float) -> str:
    """The formatted values; a dash if one is nan."""
    return "-" if np.isnan(values).any() else template.format(*values)
