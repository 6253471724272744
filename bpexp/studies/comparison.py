"""Compare the runs of a row with the published numbers.

The means are compared by an equivalence test with a stated margin, so that agreement is a result
and not the lack of a significant difference:

>>> import numpy as np
>>> ours = np.random.default_rng(0).normal(100.0, 20.0, 400)
>>> difference_of_means(ours, Published(n=400, mean=101.0, sd=20.0)).is_within(margin=10.0)
True
>>> difference_of_means(ours, Published(n=5, mean=101.0, sd=20.0)).is_within(margin=10.0)
False
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import fisher_exact, norm

from bpexp.analysis.intervals import CONFIDENCE, Interval, share_interval
from bpexp.studies.definition import Published
from bpexp.typing import Array

RESAMPLES = 4000
"""Number of bootstrap samples."""

NOMINAL = 0.98
"""Nominal confidence of the bootstrap-t method where an interval is to have ``CONFIDENCE``.

The interval covers less than its nominal confidence if values are skewed: one of 95% covers 91% of
lognormal values with sigma = 1, and one of 98% covers 94%.
"""

MIN_RUNS_FOR_INTERVAL = 25
"""Fewer runs, published or ours, have no bootstrap-t interval."""

MAX_VARIATION = 2.0
"""Values whose standard deviation is a larger multiple of their mean are not compared: the interval
of a few values of a distribution that is as skewed would cover less than 93%."""

MIN_RUNS_FOR_SPREAD, RUNS_FOR_EXTREMES = 50, 5
"""Values that a comparison of spreads needs, and, for extremes, values per published run."""

POWER = 0.8
"""How often a difference that is called detectable is significant, without Holm's correction."""


@dataclass(frozen=True)
class Difference:
    """Our mean minus the published one.

    Attributes:
        percent: The difference with its 95% confidence interval, in percent of the published mean,
            or in percentage points for a share. The bounds are nan for too few runs.
        detectable: The smallest difference that would be significant in 80% of cases.
        p: p-value of the hypothesis that there is no difference.
        unit: ``"%"``, or ``" points"`` for a share.
    """

    percent: Interval
    detectable: float
    p: float
    unit: str = "%"

    def is_within(self, margin: float) -> bool:
        """Whether the interval is within the margin: an equivalence test (Schuirmann 1987)."""
        return -margin <= self.percent.low and self.percent.high <= margin


def difference_of_means(ours: Array, published: Published, seed: int = 0) -> Difference:
    """Compare means by the bootstrap-t interval (Efron 1981), which allows for skewed samples.

    The published values are not known; they are resampled as ours, scaled to the published
    standard deviation. The interval and the p-value belong together: p is below 0.05 if the
    interval, which is made with the confidence ``NOMINAL``, leaves out 0. With fewer than
    ``MIN_RUNS_FOR_INTERVAL`` runs there is no interval.

    Args:
        ours: Our values, at least two, (n,).
        published: The published mean of at least two runs, which is not zero.
        seed: Seed of the resampling.
    """
    n, m = len(ours), published.n
    mean, sd = float(ours.mean()), float(ours.std(ddof=1))
    rng = np.random.default_rng(seed)
    other_sd = published_sd(ours, published, rng)
    error = math.sqrt(sd**2 / n + other_sd**2 / m)
    found, scale = mean - published.mean, 100.0 / abs(published.mean)
    if error == 0.0:
        exact = found * scale
        return Difference(Interval(exact, exact, exact), 0.0, float(found == 0.0))
    first, first_sd = _resampled(ours - mean, n, rng)
    second, second_sd = _resampled(ours - mean, m, rng)
    ratio = other_sd / sd if sd else 0.0
    errors = np.sqrt(first_sd**2 / n + (ratio * second_sd) ** 2 / m)
    # A sample of equal values has no standard error; it is left out.
    t = ((first - ratio * second)[errors > 0.0]) / errors[errors > 0.0]
    low, high = np.quantile(t, [(1.0 - NOMINAL) / 2.0, (1.0 + NOMINAL) / 2.0])
    above = (np.sum(t >= found / error) + 1) / (len(t) + 1)
    below = (np.sum(t <= found / error) + 1) / (len(t) + 1)
    bounds = (found - high * error) * scale, (found - low * error) * scale
    if min(n, m) < MIN_RUNS_FOR_INTERVAL:
        bounds = math.nan, math.nan
    # The same factor as between the errors of both confidences: 5% instead of 2%.
    factor = (1.0 - CONFIDENCE) / (1.0 - NOMINAL)
    return Difference(
        Interval(found * scale, float(bounds[0]), float(bounds[1])),
        detectable=_detectable(NOMINAL) * error * scale,
        p=min(1.0, factor * 2.0 * float(min(above, below))),
    )


def difference_of_shares(successes: int, n: int, published: Published) -> Difference:
    """Compare shares in percentage points.

    The interval combines the exact intervals of both shares (Newcombe 1998, method 10, with exact
    ones instead of Wilson's); the p-value is that of Fisher's exact test.

    Args:
        successes: Our successes.
        n: Number of our runs.
        published: A published share of at least two runs.
    """
    theirs = round(published.mean * published.n)
    a, b = share_interval(successes, n), share_interval(theirs, published.n)
    found = a.estimate - b.estimate
    low = found - math.hypot(a.estimate - a.low, b.high - b.estimate)
    high = found + math.hypot(a.high - a.estimate, b.estimate - b.low)
    table = [[successes, n - successes], [theirs, published.n - theirs]]
    pooled = (successes + theirs) / (n + published.n)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / published.n))
    return Difference(
        Interval(100.0 * found, 100.0 * low, 100.0 * high),
        detectable=100.0 * _detectable(CONFIDENCE) * error,
        p=float(fisher_exact(table).pvalue),
        unit=" points",
    )


def published_sd(ours: Array, published: Published, rng: np.random.Generator) -> float:
    """The published standard deviation, or an estimate of it.

    If only the range was published, it is compared with the range of as many of our values. If no
    spread was published, it is assumed to be ours in relation to the mean.
    """
    sd = float(ours.std(ddof=1))
    if published.sd is not None:
        return published.sd
    if published.min is not None and published.max is not None:
        drawn = ours[rng.integers(0, len(ours), (RESAMPLES, published.n))]
        range_of_ours = float(np.ptp(drawn, axis=1).mean())
        return sd * (published.max - published.min) / range_of_ours if range_of_ours else 0.0
    return sd * abs(published.mean / ours.mean()) if ours.mean() else sd


def p_values_of_statistics(ours: Array, published: Published, seed: int = 0) -> dict[str, float]:
    """p-values of the published sd, median, minimum and maximum, in relation to the mean.

    The sd and the median are compared with ours: their ratio or difference is placed among those of
    two samples of our values with the sizes of both groups, so that the uncertainty of both counts.
    The minimum and the maximum are placed among those of samples of the published size, which
    needs several times as many values.

    Args:
        ours: Our values, (n,), with a mean that is not zero.
        published: The published numbers of at least two runs.
        seed: Seed of the resampling.

    Returns:
        Two-sided p-values by name, without those that were not published, and none for fewer than
        ``MIN_RUNS_FOR_SPREAD`` values.
    """
    n, m = len(ours), published.n
    if n < MIN_RUNS_FOR_SPREAD or published.mean == 0.0:
        return {}
    rng = np.random.default_rng(seed)
    scaled = ours / ours.mean()
    resamples = min(RESAMPLES, 2**23 // max(n, m))
    theirs, others = (scaled[rng.integers(0, n, (resamples, size))] for size in (m, n))
    extreme = n >= RUNS_FOR_EXTREMES * m
    expected = {
        "sd": (theirs.std(axis=1, ddof=1) / others.std(axis=1, ddof=1), None),
        "median": (np.median(theirs, axis=1) - np.median(others, axis=1), np.median(scaled)),
        "min": (theirs.min(axis=1) if extreme else None, 0.0),
        "max": (theirs.max(axis=1) if extreme else None, 0.0),
    }
    found = {}
    for name, (values, center) in expected.items():
        given = getattr(published, name)
        if given is not None and values is not None:
            observed = given / abs(published.mean) / scaled.std(ddof=1)
            if center is not None:
                observed = given / published.mean - center
            fewer = min(np.sum(values <= observed), np.sum(values >= observed))
            found[name] = min(1.0, 2.0 * float(fewer + 1) / (resamples + 1))
    if "sd" in found:
        # Resampled standard deviations vary too little: 5% would be up to 9%.
        found["sd"] = min(1.0, 2.0 * found["sd"])
    return found


def p_of_share_converged(n_converged: int, n_runs: int, published: Published) -> float:
    """p-value of Fisher's exact test that as many runs converge as were published.

    A publication that states no share is taken to report runs that all converged.
    """
    share = 1.0 if published.converged is None else published.converged
    as_share = replace(published, n=max(published.n, round(published.n / share)), mean=share)
    return difference_of_shares(n_converged, n_runs, as_share).p


def is_too_skewed(ours: Array, published: Published) -> bool:
    """Whether ours or the published values vary too much for a comparison of their means."""
    spreads = [(float(ours.std(ddof=1)), float(ours.mean()))]
    if published.sd is not None:
        spreads.append((published.sd, published.mean))
    return any(sd > MAX_VARIATION * abs(mean) for sd, mean in spreads)


def _detectable(confidence: float) -> float:
    """The number of standard errors of a difference that is significant with ``POWER``."""
    return float(norm.ppf(0.5 + confidence / 2.0) + norm.ppf(POWER))


def _resampled(values: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Means and standard deviations of samples of n values, (RESAMPLES,) each."""
    means, sds = np.empty(RESAMPLES), np.empty(RESAMPLES)
    step = max(1, 2**21 // n)
    for start in range(0, RESAMPLES, step):
        part = slice(start, min(start + step, RESAMPLES))
        drawn = values[rng.integers(0, len(values), (part.stop - start, n))]
        means[part], sds[part] = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
    return means, sds
