"""Does a published table hold? Row by row, against our own trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bpexp.analysis.statistics import Interval, holm
from bpexp.study.definition import Row, Study
from bpexp.typing import Array

LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """A row's trials and what they say: ``mean`` with its 95% interval, ``sd``, how many of
    ``trials`` converged, Holm's ``p``, and the judgement in words. ``claims``: for a number of
    seeds, the median of their means and the band that holds 90% of such means.
    """

    row: Row
    trials: int
    converged: int
    mean: Interval
    sd: float
    median: float
    range: tuple[float, float]
    claims: Mapping[int, Interval]
    p: float | None
    words: str


def verdicts(study: Study, measured: Sequence[Array]) -> list[Verdict]:
    """``measured``: for each row the measure of its runs, (trials,), NaN if not converged.

    Holds or not is said only where n and sd were published: Welch's test of the means,
    5%, corrected over the rows by Holm. One published run is placed as a percentile.
    """
    judged = [
        _judge(row, values, study.reports) for row, values in zip(study.rows, measured, strict=True)
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
    """Means of so many seeds, 10,000 times drawn with replacement by a fixed stream."""
    rng = np.random.default_rng(0)
    out = {}
    for count in reports:
        means = known[rng.integers(0, len(known), (10_000, count))].mean(axis=1)
        low, middle, high = np.quantile(means, [0.05, 0.5, 0.95])
        out[count] = Interval(float(middle), float(low), float(high))
    return out


def _judge(row: Row, values: Array, reports: Sequence[int]) -> Verdict:
    from scipy import stats

    known = values[np.isfinite(values)]
    n, published = len(known), row.published
    mean, sd = (float(known.mean()), float(known.std(ddof=1))) if n > 1 else (np.nan, np.nan)
    half = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n) if n > 1 else np.nan
    p, words = None, "qualitative: no verified number"
    if n < 2:
        words = "not judged: fewer than two runs converged"
    elif published is not None and published.sd is not None:
        test = stats.ttest_ind_from_stats(
            mean, sd, n, published.mean, published.sd, published.n, equal_var=False
        )
        p = float(test.pvalue)
    elif published is not None:
        share = float(stats.percentileofscore(known, published.mean))
        words = f"one published run: at the {share:.0f}th percentile of ours"
    interval = Interval(mean, mean - half, mean + half)
    median = float(np.median(known)) if n else np.nan
    ends = (float(known.min()), float(known.max())) if n else (np.nan, np.nan)
    claims = _claims(known, reports) if n else {}
    return Verdict(row, len(values), n, interval, sd, median, ends, claims, p, words)


def table(judged: Sequence[Verdict]) -> list[list[str]]:
    """Rows of text, the first the header."""
    out = [["row", "published", "ours", "sd", "median", "range", "runs", "p (Holm)", "verdict"]]
    for v in judged:
        said = v.row.published
        published = "-" if said is None else f"{said.mean:g}"
        if said is not None and said.sd is not None:
            published += f" (sd {said.sd:g}, n {said.n})"
        out.append(
            [
                v.row.name,
                published,
                f"{v.mean.estimate:.4g} [{v.mean.low:.4g}, {v.mean.high:.4g}]",
                f"{v.sd:.3g}",
                f"{v.median:.4g}",
                f"{v.range[0]:.4g}..{v.range[1]:.4g}",
                f"{v.converged}/{v.trials}",
                "-" if v.p is None else f"{v.p:.2g}",
                v.words,
            ]
        )
    return out


def claims(judged: Sequence[Verdict]) -> list[str]:
    """Sentences on what a report of few seeds would have claimed."""
    return [
        f"{v.row.name}: the mean of {count} seed{'s' * (count > 1)} lies between "
        f"{band.low:.4g} and {band.high:.4g} nine times in ten."
        for v in judged
        for count, band in v.claims.items()
    ]


def markdown(study: Study, judged: Sequence[Verdict]) -> str:
    """The table, its source and what was assumed, for a note."""
    header, *body = table(judged)
    lines = [
        f"Study `{study.name}`: {study.source}", "",
        f"Measured: {study.measure}; seeds 0 to {study.trials - 1}.", "",
        f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |",
    ]  # fmt: skip
    lines += [f"| {' | '.join(row)} |" for row in body]
    lines += ["", *(f"- {sentence}" for sentence in claims(judged))]
    assumed = [f"- {v.row.name}: {v.row.assumed}" for v in judged if v.row.assumed]
    return "\n".join([*lines, *(["", "Assumed:", "", *assumed] if assumed else [])]) + "\n"
