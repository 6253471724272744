"""Does a published table hold? Row by row, against our own trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bpexp.analysis.statistics import Interval, holm, wilson
from bpexp.render.document import Table
from bpexp.render.markdown import table as markdown_table
from bpexp.studies.definition import Published, Row, Study
from bpexp.studies.measures import MEASURES
from bpexp.typing import Array

LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """A row's trials by one measure, and what they say.

    ``mean`` with its 95% interval (of a share: Wilson's), ``sd``; ``known`` of ``trials`` runs
    have the measure; Holm's ``p``; the judgement in words. ``claims``: for a number of seeds,
    the median of their means and the band that holds 90% of such means.
    """

    row: Row
    measure: str
    trials: int
    known: int
    mean: Interval
    sd: float
    median: float
    range: tuple[float, float]
    claims: Mapping[int, Interval]
    p: float | None
    words: str

    @property
    def published(self) -> Published | None:
        """What was published of it."""
        return self.row.published.get(self.measure)


def verdicts(study: Study, measured: Sequence[Sequence[Array]]) -> list[Verdict]:
    """``measured``: for each row and measure the values of its runs, NaN where there is none.

    Holds or not is said only where n and sd were published: Welch's test of the means; for
    shares, where n was, Wilson's test of two shares; 5%, corrected over all by Holm. One
    published run is placed as a percentile. Nothing is judged where settings were changed.
    """
    judged = [
        _judge(study, row, measure, values)
        for row, of_row in zip(study.rows, measured, strict=True)
        for measure, values in zip(study.measures, of_row, strict=True)
    ]
    tested = [v for v in judged if v.p is not None]
    corrected = iter(holm([v.p for v in tested if v.p is not None]))
    out = []
    for verdict in judged:
        if verdict.p is not None:
            p = float(next(corrected))
            words = "does not hold" if p < LEVEL else "holds"
            out.append(replace(verdict, p=p, words=words))
        else:
            out.append(verdict)
    return out


def _claims(known: Array, reports: Sequence[int]) -> dict[int, Interval]:
    """Means of so many seeds, 10,000 times drawn with replacement by a fixed stream.

    A report of as many seeds as there are says nothing of luck, nor does one of more.
    """
    rng = np.random.default_rng(0)
    out = {}
    for count in (count for count in reports if count < len(known)):
        means = known[rng.integers(0, len(known), (10_000, count))].mean(axis=1)
        low, middle, high = np.quantile(means, [0.05, 0.5, 0.95])
        out[count] = Interval(float(middle), float(low), float(high))
    return out


def _judge(study: Study, row: Row, measure: str, values: Array) -> Verdict:
    known = values[np.isfinite(values)]
    n, published, is_share = len(known), row.published.get(measure), MEASURES[measure].is_share
    sd = float(known.std(ddof=1)) if n > 1 else np.nan
    interval = _interval(known, is_share)
    p, words = None, "qualitative: no verified number"
    if n < 2:
        words = "not judged: fewer than two runs have the measure"
    elif published is not None and study.changed:
        words = "not judged: settings were changed"
    elif published is not None and is_share and published.n > 1:
        p = _share_test(known, published)
    elif published is not None and published.sd is not None:
        p = _welch(known, published, published.sd)
    elif published is not None and published.n == 1:
        from scipy import stats

        # A run without the measure never came so far: it counts as above all others.
        share = float(stats.percentileofscore(np.nan_to_num(values, nan=np.inf), published.mean))
        words = f"one published run: at the {ordinal(share)} percentile of ours"
    elif published is not None:
        words = "qualitative: published without sd"
    median = float(np.median(known)) if n else np.nan
    ends = (float(known.min()), float(known.max())) if n else (np.nan, np.nan)
    claims = _claims(known, study.reports)
    return Verdict(row, measure, len(values), n, interval, sd, median, ends, claims, p, words)


def _interval(known: Array, is_share: bool) -> Interval:
    n = len(known)
    if n < 2:
        return Interval(np.nan, np.nan, np.nan)
    if is_share:
        return wilson(int(known.sum()), n)
    from scipy import stats

    mean, half = float(known.mean()), float(stats.t.ppf(0.975, n - 1) * known.std(ddof=1))
    return Interval(mean, mean - half / np.sqrt(n), mean + half / np.sqrt(n))


def _welch(known: Array, published: Published, sd: float) -> float:
    """p of Welch's test of the means."""
    from scipy import stats

    if not known.std(ddof=1) and not sd:
        return float(known.mean() == published.mean)
    test = stats.ttest_ind_from_stats(
        known.mean(), known.std(ddof=1), len(known), published.mean, sd, published.n,
        equal_var=False,
    )  # fmt: skip
    return float(test.pvalue)


def _share_test(known: Array, published: Published) -> float:
    """p of the score test that two shares are one, which Wilson's interval inverts."""
    from scipy import stats

    n, m = len(known), published.n
    ours, theirs = float(known.mean()), published.mean
    together = (n * ours + m * theirs) / (n + m)
    variance = together * (1.0 - together) * (1.0 / n + 1.0 / m)
    if variance <= 0.0:
        return 1.0
    return float(2.0 * stats.norm.sf(abs(ours - theirs) / np.sqrt(variance)))


def ordinal(number: float) -> str:
    """1st, 2nd, 11th, 63rd."""
    whole = round(number)
    ending = "th" if whole % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(whole % 10)
    return f"{whole}{ending or 'th'}"


def label(verdict: Verdict, study: Study) -> str:
    """The row's name, and the measure's where there are several."""
    if len(study.measures) == 1:
        return verdict.row.name
    return f"{verdict.row.name} {verdict.measure}"


def _known(form: str, *values: float) -> str:
    """The values in their form; a dash where one is not known."""
    return "-" if np.isnan(values).any() else form.format(*values)


def table(study: Study, judged: Sequence[Verdict]) -> list[list[str]]:
    """Rows of text, the first the header."""
    out = [["row", "published", "ours", "sd", "median", "range", "runs", "p (Holm)", "verdict"]]
    for v in judged:
        said = v.published
        published = "-" if said is None else f"{said.mean:g}"
        if said is not None and said.sd is not None:
            published += f" (sd {said.sd:g}, n {said.n})"
        elif said is not None:
            published += f" (n {said.n})"
        ours = _known("{:.4g} [{:.4g}, {:.4g}]", v.mean.estimate, v.mean.low, v.mean.high)
        spread = [
            _known("{:.3g}", v.sd),
            _known("{:.4g}", v.median),
            _known("{:.4g}..{:.4g}", *v.range),
        ]
        out.append(
            [
                label(v, study),
                published,
                ours,
                *(["-"] * 3 if MEASURES[v.measure].is_share else spread),
                f"{v.known}/{v.trials}",
                "-" if v.p is None else f"{v.p:.2g}",
                v.words,
            ]
        )
    return out


def claims(study: Study, judged: Sequence[Verdict]) -> list[str]:
    """Sentences on how far seeds lie apart, and what a report of few would have claimed."""
    out = []
    for v in judged:
        if not v.claims:
            continue
        low, high = v.range
        out.append(
            f"{label(v, study)}: the best of {v.known} seeds has {low:.4g}, the worst {high:.4g}"
            + (f", {high / low:.4g} times as much." if low > 0.0 else ".")
        )
        out += [
            f"{label(v, study)}: a report of {count} seed{'s' * (count > 1)} would have claimed "
            f"between {band.low:.4g} and {band.high:.4g}, nine times in ten; over all it is "
            f"{v.mean.estimate:.4g}."
            for count, band in v.claims.items()
        ]
    return out


def markdown(study: Study, judged: Sequence[Verdict]) -> str:
    """The table, its source and what was assumed, for a note."""
    header, *body = table(study, judged)
    points = [f"{axis.name} {axis.low:g} to {axis.high:g} ({axis.count})" for axis in study.grid]
    lines = [
        f"Study `{study.name}`: {study.source}", "",
        f"Measured: {'; '.join(MEASURES[name].title for name in study.measures)}. "
        f"Seeds 0 to {study.trials - 1}{' at each point of ' * bool(points)}"
        f"{' by '.join(points)}.", "",
        markdown_table(Table(header, body)),
    ]  # fmt: skip
    if study.changed:
        lines += ["", f"Changed on the command line: {', '.join(study.changed)}."]
    lines += ["", RULES]
    lines += ["", *(f"- {sentence}" for sentence in claims(study, judged))]
    assumed: dict[str, list[str]] = {}
    for row in study.rows:
        assumed.setdefault(row.assumed, []).append(row.name)
    told = [f"- {', '.join(names)}: {text}" for text, names in assumed.items() if text]
    return "\n".join([*lines, *(["", "Assumed:", "", *told] if told else [])]) + "\n"


RULES = (
    "Ours: the mean with its 95% interval (Student's t; of a share, Wilson's). Whether a row "
    "holds is said only where n and sd were published: Welch's test of the means, of shares "
    "Wilson's, 5%, p corrected over the rows by Holm. A row that holds has not been proved: no "
    "difference was found."
)
