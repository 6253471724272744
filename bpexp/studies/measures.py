"""The quantities that a study can measure for each run.

>>> run = StudyRun("converged", epochs_run=120, metrics={"final_loss": 0.04})
>>> MEASURES["epochs"].value(run), MEASURES["unconverged"].value(run)
(120.0, 0.0)
>>> MEASURES["test_error"].value(run)
nan
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bpexp.runs.result import Outcome

NAN = float("nan")


@dataclass(frozen=True)
class StudyRun:
    """The result of one run.

    Attributes:
        outcome: How the run ended.
        epochs_run: Number of epochs; None for a run without a result.
        metrics: The run's metrics by name; metrics that it does not have are missing.
    """

    outcome: str
    epochs_run: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_result(self) -> bool:
        """Whether the run ended by itself; one that failed or was interrupted has no result."""
        return self.epochs_run is not None


class Measure(NamedTuple):
    """A quantity that a study measures.

    Attributes:
        value: Computes the value of a run; nan where the run has none.
        title: What the value is.
        is_share: Whether the value is 0 or 1, so that the mean is a share of runs.
        of_converged: Whether only runs that converged have a value.
    """

    value: Callable[[StudyRun], float]
    title: str
    is_share: bool = False
    of_converged: bool = False


def _epochs(run: StudyRun) -> float:
    if run.epochs_run is None or run.outcome != Outcome.CONVERGED:
        return NAN
    return float(run.epochs_run)


def _updates(run: StudyRun) -> float:
    return _epochs(run) - 1.0


def _final_loss(run: StudyRun) -> float:
    return NAN if run.outcome == Outcome.DIVERGED else run.metrics.get("final_loss", NAN)


def _unconverged(run: StudyRun) -> float:
    return float(run.outcome != Outcome.CONVERGED) if run.has_result else NAN


def _test_squared_error(run: StudyRun) -> float:
    return 100.0 * run.metrics.get("test_squared_error", NAN)


def _test_error(run: StudyRun) -> float:
    return 100.0 * (1.0 - run.metrics.get("test_accuracy", NAN))


MEASURES: dict[str, Measure] = {
    "epochs": Measure(
        _epochs, "epochs until convergence, of runs that converged", of_converged=True
    ),
    "updates": Measure(
        _updates, "weight updates until convergence, of runs that converged", of_converged=True
    ),
    "final_loss": Measure(_final_loss, "final training loss per sample"),
    "unconverged": Measure(_unconverged, "share of runs that did not converge", is_share=True),
    "test_squared_error": Measure(_test_squared_error, "100 times the mean squared test error"),
    "test_error": Measure(_test_error, "misclassified test rows in percent"),
}
"""The measures by the name that ``study.measure`` gives."""
