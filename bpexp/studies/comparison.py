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
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import betaincinv
from scipy.stats import betabinom, fisher_exact, lmoment, norm

from bpexp.analysis.intervals import CONFIDENCE, Interval, share_interval
from bpexp.analysis.permutation import ALPHA
from bpexp.studies.definition import Published
from bpexp.typing import Array

RESAMPLES, MORE_RESAMPLES = 4000, 20_000
"""Numbers of bootstrap samples. Many are drawn where hardly any of the few lies beyond a
difference: its p-value could not be significant after the correction for many tests."""
MIN_BEYOND = 10
"""If fewer of the few samples lie beyond the difference, many are drawn."""

NOMINAL = 0.98
"""Nominal confidence of the bootstrap-t method where an interval is to have ``CONFIDENCE``.

The interval covers less than its nominal confidence if values are skewed: one of 95% covers 91% of
lognormal values with sigma = 1, and one of 98% covers 94%.
"""

MIN_RUNS, MIN_PUBLISHED_RUNS = 100, 25
"""Fewer runs of ours, or fewer published ones, have no bootstrap-t interval."""

MIN_RUNS_TO_TEST = 10
"""With fewer runs, ours or published, means are not tested: p-values would be below 5% in up to 15%
of cases with equal means and 3 against 100 runs."""

MAX_L_SKEWNESS = 0.5
"""The means of values that are more skewed are not tested, and have no interval: it would cover
less than 93%.

The L-skewness (Hosking 1990) lies between -1 and 1. It is estimated well from ``MIN_RUNS`` values,
unlike the skewness by moments, which misses the tail of a few values. That of a normal distribution
is 0, of an exponential one 0.33, of a lognormal one with sigma = 1 0.46, with sigma = 1.5 0.65.
"""

MAX_L_SKEWNESS_ALONE = 0.3
"""The same if neither a standard deviation nor a range was published, so that our runs alone tell
how much the published values vary. Those of a skewed distribution that look least skewed have too
small a mean and too small a spread: with the limit 0.5, the interval would cover 80 to 91%."""

MAX_L_SKEWNESS_OF_SD = 0.4
"""The standard deviations of values that are more skewed are not compared: rare values make it, and
equal ones would be called different in 8% of cases for a lognormal distribution with sigma = 1, and
in 16% for a Pareto distribution with exponent 2.5."""

MAX_VARIATION = 2.0
"""Values whose standard deviation is a larger multiple of their mean are not compared."""

POWER = 0.8
"""How often a difference that is called detectable is significant, without Holm's correction."""


@dataclass(frozen=True)
class Difference:
    """Our mean minus the published one.

    Attributes:
        percent: The difference with its 95% confidence interval, in percent of the published mean,
            or in percentage points for a share. The bounds are nan for too few runs.
        detectable: The smallest difference that would be significant in 80% of cases; nan if that
            is not tested.
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

    @property
    def without_interval(self) -> Self:
        """The difference alone."""
        return replace(self, percent=Interval.without_bounds(self.percent.estimate))


def difference_of_means(ours: Array, published: Published, seed: int = 0) -> Difference:
    """Compare means by the bootstrap-t interval (Efron 1981), which allows for skewed samples.

    The published values are not known; they are resampled as ours, scaled to the published
    standard deviation. The interval and the p-value belong together: p is below 0.05 if the
    interval, which is made with the confidence ``NOMINAL``, leaves out 0. For very skewed runs
    there is neither.

    Too few runs for an interval often miss the tail of a skewed distribution. Their mean and their
    spread are then too small, so that the difference looks certain. The larger one of both
    standard deviations, in relation to the means, therefore counts for the p-value, and there is
    none for very few runs, or without any published spread.

    Args:
        ours: Our values, at least two, (n,).
        published: The published mean of at least two runs, which is not zero.
        seed: Seed of the resampling.
    """
    n, m = len(ours), published.n
    mean, sd = float(ours.mean()), _sd(ours)
    rng = np.random.default_rng(seed)
    other_sd = published_sd(ours, published, rng)
    error = math.hypot(sd / math.sqrt(n), other_sd / math.sqrt(m))
    has_interval = has_enough_runs(n, published)
    if not has_interval and mean:
        variation = max(sd / abs(mean), other_sd / abs(published.mean))
        error = variation * math.hypot(mean / math.sqrt(n), published.mean / math.sqrt(m))
    mean_difference, scale = mean - published.mean, 100.0 / abs(published.mean)
    if error == 0.0:
        exact, is_equal = mean_difference * scale, math.isclose(mean, published.mean, rel_tol=1e-12)
        if not can_be_tested(n, published):
            return Difference(Interval.without_bounds(exact), math.nan, math.nan)
        return Difference(Interval(exact, exact, exact), 0.0, float(is_equal))
    # The shape of the published values is unknown if ours are equal; a normal one is assumed.
    shape = ours - mean if sd else norm.ppf((np.arange(1000) + 0.5) / 1000)
    samples = _PairedSamples(
        ours - mean if sd else np.zeros(n), n, shape, m,
        other_sd / (sd or float(shape.std(ddof=1))),
    )  # fmt: skip
    t = samples.t_values(RESAMPLES, rng)
    low, high = np.quantile(t, [(1.0 - NOMINAL) / 2.0, (1.0 + NOMINAL) / 2.0])
    observed = np.array([mean_difference / error])
    if _needs_more(_two_sided(t, observed)):
        more = samples.t_values(MORE_RESAMPLES - RESAMPLES, rng)
        t = np.concatenate([t, more])
    bounds = (mean_difference - high * error) * scale, (mean_difference - low * error) * scale
    # The same factor as between the errors of both confidences: 5% instead of 2%.
    factor = (1.0 - CONFIDENCE) / (1.0 - NOMINAL)
    if exceeds_skewness_limit(ours, published) or not has_interval:
        bounds = math.nan, math.nan
    difference = Difference(
        Interval(mean_difference * scale, float(bounds[0]), float(bounds[1])),
        detectable=float(norm.ppf(0.5 + NOMINAL / 2.0) + norm.ppf(POWER)) * error * scale,
        p=min(1.0, factor * _two_sided(t, observed)),
    )
    if exceeds_skewness_limit(ours, published) or not can_be_tested(n, published):
        return replace(difference, detectable=math.nan, p=math.nan)
    return difference


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
    difference = a.estimate - b.estimate
    low = difference - math.hypot(a.estimate - a.low, b.high - b.estimate)
    high = difference + math.hypot(a.high - a.estimate, b.estimate - b.low)
    return Difference(
        Interval(100.0 * difference, 100.0 * low, 100.0 * high),
        detectable=100.0 * detectable_share(successes, n, published.n),
        p=_fisher(successes, n, theirs, published.n),
        unit=" points",
    )


def detectable_share(successes: int, n: int, m: int) -> float:
    """The smallest difference from our share that m published runs show with ``POWER``.

    It is that of a share nearer to one half, which is harder to find. nan if no number of
    successes in m runs would be significant.

    Args:
        successes: Our successes.
        n: Number of our runs.
        m: Number of published runs.
    """
    fewer = min(successes, n - successes)
    more = range(math.floor(fewer / n * m) + 1, m + 1)
    first = bisect_left(more, True, key=lambda x: _fisher(fewer, n, x, m) < ALPHA)
    if first == len(more):
        return math.nan
    # The share with which so many successes, or more, have the probability POWER.
    return float(betaincinv(more[first], m - more[first] + 1, POWER)) - fewer / n


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """Two-sided p-value of Fisher's exact test of a successes in n runs and b in m."""
    return float(fisher_exact([[a, n - a], [b, m - b]]).pvalue)


def published_sd(ours: Array, published: Published, rng: np.random.Generator) -> float:
    """The published standard deviation, or an estimate of it.

    If only the range was published, it is compared with the range of as many of our values. If no
    spread was published, it is assumed to be ours in relation to the mean.
    """
    sd = _sd(ours)
    if published.sd is not None:
        return published.sd
    if published.min is not None and published.max is not None:
        drawn = _drawn(ours, published.n, RESAMPLES, rng)
        range_of_ours = float(np.concatenate([np.ptp(part, axis=1) for part in drawn]).mean())
        return sd * (published.max - published.min) / range_of_ours if range_of_ours else 0.0
    return sd * abs(published.mean / ours.mean()) if ours.mean() else sd


def p_values_of_statistics(ours: Array, published: Published, seed: int = 0) -> dict[str, float]:
    """p-values of the published sd, median, minimum and maximum.

    Each is compared as it stands and in relation to the mean of its own sample, and the larger
    p-value counts: the first comparison holds for the same distribution, and the second one finds
    no difference where only the means differ, which have a test of their own.

    The sd and the median are compared with ours: their ratio or difference is placed among those of
    two samples of our values with the sizes of both groups, so that the uncertainty of both counts.
    The minimum and the maximum are compared by ``p_of_extreme``, and in relation to the mean placed
    among those of samples of the published size.

    Args:
        ours: Our values, (n,), with a mean that is not zero.
        published: The published numbers of at least two runs.
        seed: Seed of the resampling.

    Returns:
        Two-sided p-values by name, without those that were not published, and none for fewer than
        ``MIN_RUNS`` values; none of the sd if ours are too skewed.
    """
    if len(ours) < MIN_RUNS or published.mean == 0.0:
        return {}
    p_values = _p_values(ours, published, RESAMPLES, seed)
    if _needs_more(min(p_values.values(), default=1.0)):
        return _p_values(ours, published, MORE_RESAMPLES, seed)
    return p_values


def _p_values(ours: Array, published: Published, resamples: int, seed: int) -> dict[str, float]:
    """``p_values_of_statistics`` by a number of resamples."""
    n, m = len(ours), published.n
    rng = np.random.default_rng(seed)
    # Exactly 1 if all values are equal, so that their spread is exactly 0.
    unit = float(ours.mean() if np.ptp(ours) else ours[0])
    scaled = ours / unit
    theirs, others = (_Statistics.of_resampled(scaled, size, resamples, rng) for size in (m, n))
    known, p_values = _Statistics.of(scaled[None]), {}
    is_sd_known = np.ptp(ours) == 0.0 or abs(lmoment(ours, 3)) <= MAX_L_SKEWNESS_OF_SD
    for name in ("sd", "median") if is_sd_known else ("median",):
        given = getattr(published, name)
        if given is not None:
            compare = _ratio if name == "sd" else np.subtract
            p_values[name] = max(
                _two_sided(
                    compare(theirs.values[kind, name], others.values[kind, name]),
                    compare(np.array([given / center]), known.values[kind, name]),
                )
                for kind, center in (("as it is", unit), ("by mean", published.mean))
            )
    for name in ("min", "max"):
        given = getattr(published, name)
        if given is not None:
            expected, relative = theirs.values["by mean", name], given / published.mean
            of_rank = p_of_extreme(
                ours if name == "max" else -ours, given if name == "max" else -given, m
            )
            p_values[name] = max(of_rank, _two_sided(expected, np.array([relative])))
    if "sd" in p_values:
        # Resampled standard deviations vary too little: 5% would be up to 9%.
        p_values["sd"] = min(1.0, 2.0 * p_values["sd"])
    return p_values


def p_of_extreme(ours: Array, published: float, n: int) -> float:
    """p-value of the hypothesis that a published maximum is that of n values distributed as ours.

    Exact for any distribution: all orders of our values and the published ones are equally likely,
    so that the number of ours above the maximum of n others has a beta-binomial distribution. Equal
    values count in favor of the hypothesis.

    >>> round(p_of_extreme(np.arange(9.0), 20.0, n=1), 12)
    0.2
    """
    above = betabinom(len(ours), 1, n)
    few = above.cdf(np.sum(ours >= published))
    many = above.sf(np.sum(ours > published) - 1)
    return float(min(1.0, 2.0 * min(few, many)))


def p_of_share_converged(n_converged: int, n_runs: int, published: Published) -> float:
    """p-value of Fisher's exact test that as many runs converge as were published.

    A publication that states no share is taken to report runs that all converged; likewise the runs
    that have a value of another measure, which diverged ones have not.
    """
    share = 1.0 if published.converged is None else published.converged
    m = max(published.n, round(published.n / share))
    return _fisher(n_converged, n_runs, round(share * m), m)


def varies_too_much(ours: Array, published: Published) -> bool:
    """Whether the sd of ours or of the published values is too large to compare means.

    It is if it exceeds ``MAX_VARIATION`` times the mean.
    """
    spreads = [(_sd(ours), float(ours.mean()))]
    if published.sd is not None:
        spreads.append((published.sd, published.mean))
    return any(sd > MAX_VARIATION * abs(mean) for sd, mean in spreads)


def has_enough_runs(n: int, published: Published) -> bool:
    """Whether n runs of ours and the published ones are enough for an interval of means."""
    return n >= MIN_RUNS and published.n >= MIN_PUBLISHED_RUNS


def can_be_tested(n: int, published: Published) -> bool:
    """Whether n runs of ours and the published ones are enough for a test of means."""
    if not published.has_spread and n < MIN_RUNS:
        return False
    return min(n, published.n) >= MIN_RUNS_TO_TEST


def exceeds_skewness_limit(ours: Array, published: Published) -> bool:
    """Whether the L-skewness of enough values of ours is too large for a test of means."""
    if len(ours) < MIN_RUNS_TO_TEST or np.ptp(ours) == 0.0:
        return False
    limit = MAX_L_SKEWNESS if published.has_spread else MAX_L_SKEWNESS_ALONE
    return bool(abs(lmoment(ours, 3)) > limit)


@dataclass(frozen=True)
class _Statistics:
    """Statistics of samples, (k,) each, as they are and divided by the mean of each sample."""

    values: Mapping[tuple[str, str], Array]

    @classmethod
    def of(cls, samples: Array) -> Self:
        """The statistics of samples, (k, n); nan in relation to a mean of 0."""
        statistics = {
            "sd": samples.std(axis=1, ddof=1), "median": np.median(samples, axis=1),
            "min": samples.min(axis=1), "max": samples.max(axis=1),
        }  # fmt: skip
        means = samples.mean(axis=1)
        means[means == 0.0] = np.nan
        as_is = {("as it is", name): values for name, values in statistics.items()}
        return cls(as_is | {("by mean", name): v / means for name, v in statistics.items()})

    @classmethod
    def of_resampled(
        cls, values: Array, size: int, resamples: int, rng: np.random.Generator
    ) -> Self:
        """The statistics of samples with a size that are drawn from values."""
        parts = [cls.of(samples) for samples in _drawn(values, size, resamples, rng)]
        return cls(
            {key: np.concatenate([part.values[key] for part in parts]) for key in parts[0].values}
        )


@dataclass(frozen=True)
class _PairedSamples:
    """Pairs of bootstrap samples: one of our values, and one as the published ones may be.

    Attributes:
        ours: Our values, with the mean 0.
        n: The size of a sample of them.
        theirs: Values with the mean 0 and the shape of the published ones.
        m: The size of a sample of them.
        ratio: What they are multiplied by for their standard deviation.
    """

    ours: Array
    n: int
    theirs: Array
    m: int
    ratio: float

    def t_values(self, count: int, rng: np.random.Generator) -> Array:
        """The difference of means of each of some pairs, divided by its standard error.

        A pair of samples of equal values has no standard error; it is left out.
        """
        first, first_sd = _resampled(self.ours, self.n, count, rng)
        second, second_sd = _resampled(self.theirs, self.m, count, rng)
        errors = np.sqrt(first_sd**2 / self.n + (self.ratio * second_sd) ** 2 / self.m)
        has_error = errors > 0.0
        return np.asarray((first - self.ratio * second)[has_error] / errors[has_error])


def _two_sided(expected: Array, observed: Array) -> float:
    """Two-sided p-value of a value, (1,), among those of samples, (k,).

    A sample that is nan counts on both sides, which makes the p-value larger.
    """
    n_beyond = min(np.sum(~(expected > observed)), np.sum(~(expected < observed)))
    return min(1.0, 2.0 * float(n_beyond + 1) / (len(expected) + 1))


def _needs_more(p: float) -> bool:
    """Whether a p-value by ``RESAMPLES`` samples is that of fewer than ``MIN_BEYOND`` of them."""
    return p < 2.0 * MIN_BEYOND / RESAMPLES


def _sd(values: Array) -> float:
    """The standard deviation, which is exactly 0 if all values are equal."""
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


def _ratio(a: Array, b: Array) -> Array:
    """Ratios of standard deviations; 1 if both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(a == b, 1.0, a / b))


def _resampled(values: Array, n: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Means and standard deviations of samples of n values, (count,) each."""
    means, sds, end = np.empty(count), np.empty(count), 0
    for samples in _drawn(values, n, count, rng):
        part = slice(end, end := end + len(samples))
        means[part], sds[part] = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    return means, sds


def _drawn(values: Array, size: int, count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Samples with replacement, (count, size) together; some at a time, to save memory."""
    step = max(1, 2**21 // size)
    for start in range(0, count, step):
        yield values[rng.integers(0, len(values), (min(step, count - start), size))]
