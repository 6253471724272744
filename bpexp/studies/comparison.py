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
from scipy.stats import fisher_exact, lmoment, norm

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

MIN_RUNS, MIN_PUBLISHED_RUNS = 100, 25
"""Fewer runs of ours, or fewer published ones, have no bootstrap-t interval."""

MIN_RUNS_TO_TEST, FEW_RUNS = 10, 20
"""With fewer runs, ours or published, means are not tested; with few, their p-value is doubled: it
would be below 5% in up to 15% of cases with equal means and 3 against 100 runs, in 8% with 10."""

MAX_L_SKEWNESS = 0.5
"""The means of values that are more skewed are not tested, and have no interval: it would cover
less than 93%.

The L-skewness (Hosking 1990) lies between -1 and 1. It is estimated well from ``MIN_RUNS`` values,
unlike the skewness by moments, which misses the tail of a few values. That of a normal distribution
is 0, of an exponential one 0.33, of a lognormal one with sigma = 1 0.46, with sigma = 1.5 0.65.
"""

MAX_VARIATION = 2.0
"""Values whose standard deviation is a larger multiple of their mean are not compared."""

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
        p: p-value of the hypothesis that there is no difference; nan if that is not tested.
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
    interval, which is made with the confidence ``NOMINAL``, leaves out 0. For few runs, and for
    very skewed ones, there is no interval and no p-value.

    Args:
        ours: Our values, at least two, (n,).
        published: The published mean of at least two runs, which is not zero.
        seed: Seed of the resampling.
    """
    n, m = len(ours), published.n
    mean, sd = float(ours.mean()), _sd(ours)
    rng = np.random.default_rng(seed)
    other_sd = published_sd(ours, published, rng)
    error = math.sqrt(sd**2 / n + other_sd**2 / m)
    found, scale = mean - published.mean, 100.0 / abs(published.mean)
    if error == 0.0:
        exact = found * scale
        is_equal = math.isclose(mean, published.mean, rel_tol=1e-12)
        return Difference(Interval(exact, exact, exact), 0.0, float(is_equal))
    # The shape of the published values is unknown if ours are equal; a normal one is assumed.
    shape = ours - mean if sd else norm.ppf((np.arange(1000) + 0.5) / 1000)
    first, first_sd = _resampled(ours - mean if sd else np.zeros(n), n, rng)
    second, second_sd = _resampled(shape, m, rng)
    ratio = other_sd / (sd or float(shape.std(ddof=1)))
    errors = np.sqrt(first_sd**2 / n + (ratio * second_sd) ** 2 / m)
    # A sample of equal values has no standard error; it is left out.
    t = ((first - ratio * second)[errors > 0.0]) / errors[errors > 0.0]
    low, high = np.quantile(t, [(1.0 - NOMINAL) / 2.0, (1.0 + NOMINAL) / 2.0])
    above = (np.sum(t >= found / error) + 1) / (len(t) + 1)
    below = (np.sum(t <= found / error) + 1) / (len(t) + 1)
    bounds = (found - high * error) * scale, (found - low * error) * scale
    if is_skewed(ours) or not has_enough_runs(n, published):
        bounds = math.nan, math.nan
    # The same factor as between the errors of both confidences: 5% instead of 2%.
    factor = (1.0 - CONFIDENCE) / (1.0 - NOMINAL)
    if min(n, m) < FEW_RUNS:
        factor *= 2.0
    if is_skewed(ours) or min(n, m) < MIN_RUNS_TO_TEST:
        factor = math.nan
    return Difference(
        Interval(found * scale, float(bounds[0]), float(bounds[1])),
        detectable=_detectable(NOMINAL) * error * scale,
        p=float(np.minimum(1.0, factor * 2.0 * min(above, below))),
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
    sd = _sd(ours)
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
    # Exactly 1 if all values are equal, so that their spread is exactly 0.
    scaled = ours / (ours.mean() if np.ptp(ours) else ours[0])
    resamples = min(RESAMPLES, 2**23 // max(n, m))
    theirs, others = (scaled[rng.integers(0, n, (resamples, size))] for size in (m, n))
    extreme = n >= RUNS_FOR_EXTREMES * m
    expected = {
        "sd": (_ratio(theirs.std(axis=1, ddof=1), others.std(axis=1, ddof=1)), None),
        "median": (np.median(theirs, axis=1) - np.median(others, axis=1), np.median(scaled)),
        "min": (theirs.min(axis=1) if extreme else None, 0.0),
        "max": (theirs.max(axis=1) if extreme else None, 0.0),
    }
    found = {}
    for name, (values, center) in expected.items():
        given = getattr(published, name)
        if given is not None and values is not None:
            observed = _ratio(np.array(given / abs(published.mean)), np.array(_sd(scaled)))
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
    spreads = [(_sd(ours), float(ours.mean()))]
    if published.sd is not None:
        spreads.append((published.sd, published.mean))
    return any(sd > MAX_VARIATION * abs(mean) for sd, mean in spreads)


def has_enough_runs(n: int, published: Published) -> bool:
    """Whether n runs of ours and the published ones are enough for an interval of means."""
    return n >= MIN_RUNS and published.n >= MIN_PUBLISHED_RUNS


def is_skewed(ours: Array) -> bool:
    """Whether our values are too skewed for a test of means, which needs some runs in any case."""
    if len(ours) < MIN_RUNS_TO_TEST or np.ptp(ours) == 0.0:
        return False
    return bool(abs(lmoment(ours, 3)) > MAX_L_SKEWNESS)


def _detectable(confidence: float) -> float:
    """The number of standard errors of a difference that is significant with ``POWER``."""
    return float(norm.ppf(0.5 + confidence / 2.0) + norm.ppf(POWER))


def _sd(values: Array) -> float:
    """The standard deviation, which is exactly 0 if all values are equal."""
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


def _ratio(a: Array, b: Array) -> Array:
    """Ratios of standard deviations; 1 if both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(a == b, 1.0, a / b))


def _resampled(values: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Means and standard deviations of samples of n values, (RESAMPLES,) each."""
    means, sds = np.empty(RESAMPLES), np.empty(RESAMPLES)
    step = max(1, 2**21 // n)
    for start in range(0, RESAMPLES, step):
        part = slice(start, min(start + step, RESAMPLES))
        drawn = values[rng.integers(0, len(values), (part.stop - start, n))]
        means[part], sds[part] = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
    return means, sds
