"""What a study measures of a run: a number, or NaN where the run has none."""

from collections.abc import Callable
from typing import NamedTuple

from bpexp.runs.result import Outcome


class Run(NamedTuple):
    """What a measure is taken of; None where the run has no such figure."""

    outcome: str
    epochs_run: float | None
    final_loss: float | None
    test_loss: float | None
    test_accuracy: float | None


class Measure(NamedTuple):
    """``of`` a run; ``title`` says what it is; ``is_share`` that it is 0 or 1, so that its mean
    is a share of the runs.
    """

    of: Callable[[Run], float]
    title: str
    is_share: bool = False


NAN = float("nan")


def _epochs(run: Run) -> float:
    if run.epochs_run is None or run.outcome != Outcome.CONVERGED:
        return NAN
    return float(run.epochs_run)


def _final_loss(run: Run) -> float:
    if run.final_loss is None or run.outcome == Outcome.DIVERGED:
        return NAN
    return run.final_loss


def _unconverged(run: Run) -> float:
    return NAN if run.epochs_run is None else float(run.outcome != Outcome.CONVERGED)


def _test_squared_error(run: Run) -> float:
    return NAN if run.test_loss is None else 100.0 * run.test_loss


def _test_error(run: Run) -> float:
    return NAN if run.test_accuracy is None else 100.0 * (1.0 - run.test_accuracy)


MEASURES: dict[str, Measure] = {
    "epochs": Measure(_epochs, "epochs (forward passes) of runs that converged"),
    "updates": Measure(
        lambda run: _epochs(run) - 1.0, "updates before the first pass that converged"
    ),
    "final_loss": Measure(_final_loss, "last training loss per sample"),
    "unconverged": Measure(_unconverged, "share of runs that did not converge", is_share=True),
    "test_squared_error": Measure(
        _test_squared_error, "squared error on the test rows, 100 times its mean"
    ),
    "test_error": Measure(_test_error, "test rows put into the wrong class, per cent"),
}
