"""Chooses the objective of a sweep from its settings and data."""

from collections.abc import Iterable, Mapping

from bpexp.config.schema import ObjectiveConfig, StopConfig
from bpexp.data import DataConfig, Dataset
from bpexp.fields.checks import ConfigError
from bpexp.runs import metrics, objective
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective

HINTS = {
    Split.VALIDATION: "add data.validation_fraction=0.2",
    Split.TEST: "add data.test_fraction=0.25",
}
"""What to type for metrics of rows that a data set does not have."""


def choose(
    datasets: Mapping[DataConfig, Dataset], stops: Iterable[StopConfig], chosen: ObjectiveConfig
) -> Objective:
    """The objective of runs.

    Args:
        datasets: The data sets of the runs by their configuration.
        stops: The stopping criteria of the runs.
        chosen: What the user chose.

    Returns:
        The chosen objective, or the default: the validation loss if all runs have validation
        rows, else the epochs to converge if all were to stop at a criterion, else the final loss.

    Raises:
        ConfigError: The objective does not exist, is not allowed, or is no metric of all runs.
    """
    stops_at_criterion = all(stop.loss is not None or stop.tolerance is not None for stop in stops)
    if chosen.name is None:
        return objective.default(
            has_validation=all(len(dataset.X_validation) for dataset in datasets.values()),
            stops_at_criterion=stops_at_criterion,
        )
    wanted = objective.named(chosen.name, allow_test=chosen.allow_test)
    if wanted.is_time and not stops_at_criterion:
        raise ConfigError(
            "objective=epochs_to_converge must go with stop.loss or stop.tolerance for all runs."
        )
    _check_available(wanted, datasets)
    return wanted


def _check_available(wanted: Objective, datasets: Mapping[DataConfig, Dataset]) -> None:
    for config, dataset in datasets.items():
        available = metrics.of_dataset(dataset)
        if wanted.metric not in available:
            n_rows = {Split.VALIDATION: len(dataset.X_validation), Split.TEST: len(dataset.X_test)}
            hint = f"; {HINTS[wanted.split]}" if n_rows.get(wanted.split) == 0 else ""
            names = [name for name in available if name in objective.objectives()]
            raise ConfigError(
                f"objective={wanted.name} must be a metric of all runs, but those of "
                f"data={config.name} have only {', '.join(names)}{hint}."
            )
