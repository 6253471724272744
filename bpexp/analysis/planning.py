"""How many replicates a comparison needs to detect a difference that the user names.

The number is planned from the spread of the replicates and never from the difference that they
show: the power of a test for the observed difference follows from its p value and says nothing more
(Hoenig and Heisey 2001).

>>> NamedDifference.parse("10%"), NamedDifference.parse("0.02")
(NamedDifference(value=10.0, is_percent=True), NamedDifference(value=0.02, is_percent=False))
>>> replicates_to_detect(1.0, sd=2.0, n_comparisons=1, is_paired=True, is_ranked=False)
35
"""

import math
from dataclasses import dataclass
from typing import Self

from scipy.stats import chi2, norm

from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.permutation import ALPHA, replicates_needed
from bpexp.analysis.words import number
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted, listed
from bpexp.runs.variation import SEED

POWER = 0.8
"""Probability with which a difference as large as the named one is to be found significant."""
ASSURANCE = 0.8
"""Confidence level of the upper limit of the standard deviation that is planned with."""
LEAST_EFFICIENCY = 0.864
"""Lowest efficiency of a rank test relative to a t test, for any distribution (Hodges and Lehmann
1956)."""


@dataclass(frozen=True)
class NamedDifference:
    """A difference that matters to the user.

    Attributes:
        value: Its size, above 0.
        is_percent: Whether it is in percent of the best group's value.
    """

    value: float
    is_percent: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``10%`` or ``0.02``. Raises ConfigError."""
        is_percent = text.endswith("%")
        try:
            value = float(text.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise ConfigError(
                f"--detect must be a difference above 0, such as 10% or 0.02, got {text!r}."
            )
        return cls(value, is_percent)


def replicates_to_detect(
    difference: float, sd: float, n_comparisons: int, *, is_paired: bool, is_ranked: bool
) -> int:
    """Number of pairs, or of replicates per group, that detect a difference with ``POWER``.

    The formula of the t test (Guenther 1981, Am. Stat. 35:243), which a permutation test of means
    follows; a rank test needs more by at most 1 / ``LEAST_EFFICIENCY``. One is added because
    exact p-values have steps, so that the level of the test is below the nominal one.

    Args:
        difference: The difference, above 0.
        sd: Standard deviation of the differences within pairs, or, unpaired, within a group.
        n_comparisons: The factor by which p-values are multiplied.
        is_paired: Whether the groups share their replicates.
        is_ranked: Whether the test is of ranks.
    """
    z = float(norm.isf(ALPHA / n_comparisons / 2.0))
    n = ((z + float(norm.ppf(POWER))) * sd / difference) ** 2
    if is_ranked:
        n /= LEAST_EFFICIENCY
    n = 1.0 + (n + z * z / 2.0 if is_paired else 2.0 * n + z * z / 4.0)
    return max(math.ceil(n), replicates_needed(n_comparisons, is_paired=is_paired))


def upper_limit(sd: float, degrees_of_freedom: int) -> float:
    """Upper limit of a standard deviation with the confidence ``ASSURANCE``.

    A plan with it has the power asked for in this share of cases; with the estimate itself it would
    have it in less than half (Browne 1995, Stat. Med. 14:1933).
    """
    return sd * math.sqrt(degrees_of_freedom / float(chi2.isf(ASSURANCE, degrees_of_freedom)))


def sentence(findings: Findings, named: NamedDifference) -> str:
    """How many replicates detect a difference of the named size.

    The comparison of the best group with the next one is planned.

    Args:
        findings: The groups and their comparisons.
        named: The difference.

    Raises:
        ConfigError: There is no comparison, or no value that a percentage could refer to.
    """
    objective = findings.objective
    if not findings.comparisons:
        raise ConfigError("--detect needs at least two groups, each of two runs or more.")
    compared = findings.comparisons[0]
    if len(compared.n_units) > 1:
        nouns = listed([f"{noun}s" for noun in compared.n_units])
        return (
            f"No number can be planned from runs that share {nouns}; vary these together, each run "
            "with its own."
        )
    if not math.isfinite(compared.sd):
        return "No number of seeds can be planned, because of the runs that diverged."
    limit = upper_limit(compared.sd, compared.degrees_of_freedom)
    size = _absolute(findings.summaries[0], findings, named)
    n = replicates_to_detect(
        size,
        limit,
        findings.n_pairs,
        is_paired=bool(compared.n_pairs),
        is_ranked=not objective.is_time,
    )
    shown = f"{named.value:g}"
    if named.is_percent:
        shown += f"% in {objective.label} ({number(size)})"
    of = "the differences within pairs" if compared.n_pairs else "the runs of a group"
    if compared.smallest_unit != SEED:
        of += f" (one for each {compared.smallest_unit})"
    method = "the t test" if objective.is_time else "the t test with the efficiency of a rank test"
    pairs = f"{counted(findings.n_pairs, 'pair')} of groups"
    return (
        f"To find a difference of {shown} between the first two in {POWER:.0%} of cases, plan {n} "
        f"{compared.smallest_unit}s: "
        f"by the formula of {method}, corrected for {pairs}, if {of} have a standard deviation of "
        f"{number(limit)} ({ASSURANCE:.0%} upper limit)."
    )


def _absolute(best: Summary, findings: Findings, named: NamedDifference) -> float:
    """The named difference in units of the objective."""
    if not named.is_percent:
        return named.value
    objective = findings.objective
    of = (
        best.epochs_mean if objective.is_time else best.estimates[objective.name]["median"].estimate
    )
    size = abs(of) * named.value / 100.0
    if not 0.0 < size < math.inf:
        raise ConfigError(
            f"--detect must be a number without % here, because the {objective.label} of the best "
            f"group is {number(of)}."
        )
    return size
