"""The objective: the metric and direction by which the combinations of a sweep are compared.

The table at the end of a sweep, ``export=best``, MLflow's note, searches and reports use it. The
option ``report --measure`` names the objective of a report, which need not be that of the sweep.
The measures of a study are something else, see ``studies.measures``.

>>> objectives()["accuracy"].direction
<Direction.MAXIMIZE: 'maximize'>
>>> default(has_validation=False, stops_at_criterion=True).label
'epochs to converge'
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpexp.fields.checks import ConfigError
from bpexp.runs.metrics import METRICS, Direction, Metric, MetricUnit, Split
from bpexp.runs.result import Outcome
from bpexp.typing import Array

EPOCHS_TO_CONVERGE = "epochs_to_converge"
_TOLD = frozenset(Outcome) - {Outcome.DIVERGED}


@dataclass(frozen=True)
class Objective:
    """What runs are compared by: a metric, or the number of epochs to converge.

    Attributes:
        name: The value of the setting ``objective``.
        label: Its name in sentences.
        metric: The metric that holds its values.
        direction: Whether lower or higher values are better.
        split: The rows that it is computed on.
        unit: What its values are measured in, see ``runs.comparability``.
        if_diverged: The value that a diverged run counts; None is worse than any value.
    """

    name: str
    label: str
    metric: str
    direction: Direction
    split: Split
    if_diverged: float | None = None
    unit: MetricUnit = MetricUnit.NONE

    @property
    def title(self) -> str:
        """The label with a capital first letter."""
        return f"{self.label[0].upper()}{self.label[1:]}"

    @property
    def is_time(self) -> bool:
        """Whether this is the number of epochs to converge, which not all runs have."""
        return self.name == EPOCHS_TO_CONVERGE

    @property
    def is_maximized(self) -> bool:
        """Whether higher values are better."""
        return self.direction is Direction.MAXIMIZE

    @property
    def has_log_scale(self) -> bool:
        """Whether plots have a logarithmic scale: of losses and epochs, and not of accuracies."""
        return not self.is_maximized

    @property
    def superlative(self) -> str:
        """What the best value is: ``lowest``, ``highest`` or, of epochs to converge, ``fewest``."""
        return "fewest" if self.is_time else "highest" if self.is_maximized else "lowest"

    @property
    def statistic(self) -> str:
        """The statistic over replicates that ranks combinations, the first in ``ranking_key``."""
        return "mean" if self.is_time else "median"

    @property
    def center_label(self) -> str:
        """What ``center`` computes, such as ``median final loss``."""
        return f"{self.statistic} {self.label}"

    def values(self, measured: Array, outcomes: Any) -> Array:
        """The values of runs, (n,); NaN where a run diverged or has no finite value.

        Args:
            measured: The metric of each run, (n,); NaN where it is missing.
            outcomes: The outcome of each run, (n,) of text.
        """
        missing = (outcomes == Outcome.DIVERGED.value) | ~np.isfinite(measured)
        return np.where(missing, np.nan, measured)

    def scores(self, measured: Array, outcomes: Any) -> Array:
        """Scores of runs for rankings, (n,): smaller is better.

        Values that are better when higher are negated. A missing value counts as
        ``if_diverged``; if that is None, as +inf, like the time of a run that did not converge.

        Args:
            measured: The metric of each run, (n,); NaN where it is missing.
            outcomes: The outcome of each run, (n,) of text.
        """
        values = self.values(measured, outcomes)
        if self.is_time:
            values = np.where(outcomes == Outcome.CONVERGED.value, values, np.nan)
        if self.if_diverged is not None:
            values = np.where(np.isnan(values), self.if_diverged, values)
        if self.is_maximized:
            values = -values
        return np.where(np.isnan(values), np.inf, values)

    def scores_to_tell(self, measured: Array, outcomes: Any) -> list[float | None]:
        """Scores of runs as a sampler is told them: None for a run that diverged or has no result.

        Args:
            measured: The metric of each run, (n,); NaN where it is missing.
            outcomes: The outcome of each run, (n,) of text.
        """
        scores = self.scores(measured, outcomes).tolist()
        return [
            score if outcome in _TOLD else None
            for score, outcome in zip(scores, outcomes, strict=True)
        ]

    def as_measured(self, score: float) -> float:
        """The value that has a score; the negation of scores of maximized metrics is undone."""
        # Subtract from 0.0 to avoid a negative zero.
        return 0.0 - score if self.is_maximized else score

    def center(self, scores: Array | Sequence[float], horizon: float) -> float:
        """The ``statistic`` of scores: their median, or the restricted mean of epochs to converge.

        Args:
            scores: The scores of a combination's runs, (n,) with n > 0.
            horizon: The smallest maximum number of epochs of all combinations, which a run that did
                not converge counts.
        """
        # Sorted, so that the order of the runs does not change the rounding of the sum.
        ordered = np.sort(scores)
        return float(np.minimum(ordered, horizon).mean() if self.is_time else np.median(ordered))

    def ranking_key(self, scores: Array, horizon: float) -> tuple[float, ...]:
        """A key that orders combinations, the best first; equal keys are ties.

        Combinations are ranked by the median over their replicates, then by the interquartile mean
        and the mean. For epochs to converge the mean comes first, in which a run that did not
        converge counts ``horizon`` epochs: it is what the report tests, and unlike the median it
        exists where fewer than half of the runs converge. The first part is ``center``.

        Args:
            scores: The scores of a combination's runs, (n,) with n > 0.
            horizon: The smallest maximum number of epochs of all combinations.
        """
        # Sorted, so that the order of the runs does not change the rounding of the sums.
        ordered = np.sort(scores)
        center = self.center(ordered, horizon)
        if self.is_time:
            return center, float(np.median(ordered)), -float(np.isfinite(ordered).mean())
        quarter = len(ordered) // 4
        middle = ordered[quarter : len(ordered) - quarter]
        failed = float(np.isinf(ordered).mean())
        return center, float(middle.mean()), float(ordered.mean()), failed

    def tie_key(self, scores: Array, final_losses: Array) -> float:
        """What orders combinations with equal ranking keys, which keep their common rank.

        The median final loss of those of which no run converged, if that is what counts.

        Args:
            scores: The scores of a combination's runs, (n,) with n > 0.
            final_losses: Their scores by the final loss, (n,).
        """
        return float(np.median(final_losses)) if self.is_time and np.isinf(scores).all() else 0.0


def objectives() -> dict[str, Objective]:
    """All objectives by name: epochs to converge, and the metrics in their present table.

    The metric ``epochs_run`` is replaced by the epochs to converge, which exist only for runs
    that converged.
    """
    epochs = METRICS["epochs_run"]
    time = Objective(
        EPOCHS_TO_CONVERGE, "epochs to converge", epochs.name, Direction.MINIMIZE, epochs.split
    )
    metrics = [_of_metric(metric) for metric in METRICS.values() if metric is not epochs]
    return {objective.name: objective for objective in (time, *metrics)}


def _of_metric(metric: Metric) -> Objective:
    return Objective(
        metric.name, metric.label, metric.name, metric.direction, metric.split,
        metric.if_diverged, metric.unit,
    )  # fmt: skip


def default(*, has_validation: bool, stops_at_criterion: bool) -> Objective:
    """The objective of a sweep whose user names none.

    Args:
        has_validation: Whether all runs have validation rows.
        stops_at_criterion: Whether all runs were to stop at ``stop.loss`` or ``stop.tolerance``.
    """
    if has_validation:
        return objectives()["lowest_validation_loss"]
    return objectives()[EPOCHS_TO_CONVERGE if stops_at_criterion else "final_loss"]


def named(name: str, *, allow_test: bool, key: str = "objective") -> Objective:
    """The objective with this name.

    Args:
        name: What the user typed.
        allow_test: Whether a metric of the test rows may be chosen.
        key: The setting or option, for the message.

    Raises:
        ConfigError: There is none, or it is of test rows and these are not allowed.
    """
    known = objectives()
    if name not in known:
        raise ConfigError(f"{key} must be one of {', '.join(known)}, got {name!r}.")
    found = known[name]
    if found.split is Split.TEST and not allow_test:
        allow = "objective.allow_test=true" if key == "objective" else "--allow-test"
        raise ConfigError(
            f"{key}={name} would choose by the test rows, which makes the figures of the chosen "
            f"combination optimistic; use data.validation_fraction=0.2, or add {allow}."
        )
    return found
