"""Find a run by its id, the start of its id, or its name, in any experiment of a store.

The word ``latest`` stands for the newest sweep or run of an experiment.
"""

from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking import read
from bpexp.tracking.retry import RetryPolicy

if TYPE_CHECKING:
    from bpexp.tracking.read import MlflowClient, Run


LATEST = "latest"


def find(
    client: "MlflowClient", experiment: str, wanted: str, *, sweeps: bool = False
) -> "tuple[str, Run]":
    """Find a run, first in one experiment, then in all others.

    Args:
        client: MLflow's client on the store.
        experiment: The experiment to search first.
        wanted: The id of a run, the start of its id, its name, or ``latest``.
        sweeps: ``latest`` is the newest sweep, not a newer single run.

    Returns:
        The name of the run's experiment, and the run.

    Raises:
        ConfigError: No run fits, or several do.
    """
    if wanted == LATEST:
        return experiment, _latest(client, experiment, sweeps)
    try:
        run = read.find(client, experiment, wanted)
    except ConfigError:
        if len(wanted) == 32 or not wanted or _fitting(client, experiment, wanted):
            raise
        found = _find_elsewhere(client, experiment, wanted)
        if found is None:
            raise
        return found
    number = run.info.experiment_id
    return str(RetryPolicy().call(client.get_experiment, number).name), run


def experiments(client: "MlflowClient") -> list[str]:
    """Return the names of the experiments, newest first."""
    return [found.name for found in RetryPolicy().call(client.search_experiments)]


def _latest(client: "MlflowClient", experiment: str, sweeps: bool) -> "Run":
    """Return the newest sweep, or the newest run if it is not part of a sweep."""
    filter_string = f"tags.{run_tags.KIND} = '{run_tags.SWEEP_KIND}'" if sweeps else ""
    run = read.newest(client, experiment, filter_string)
    if run is None:
        kind = "sweep" if sweeps else "run"
        raise ConfigError(f"The experiment {experiment!r} has no {kind} yet.")
    parent = run.data.tags.get("mlflow.parentRunId")
    return read.find(client, experiment, parent) if parent else run


def _find_elsewhere(
    client: "MlflowClient", experiment: str, wanted: str
) -> "tuple[str, Run] | None":
    """Return the only run of the other experiments that fits."""
    found = [
        (name, run)
        for name in experiments(client)
        if name != experiment
        for run in _fitting(client, name, wanted)
    ]
    if len(found) > 1:
        names = list(dict.fromkeys(name for name, _ in found))
        raise ConfigError(
            f"{wanted!r} is not a run of experiment {experiment!r} and fits {len(found)} runs of "
            f"{', '.join(map(repr, names))}; add --experiment {names[0]!r} or give the id."
        )
    return found[0] if found else None


def _fitting(client: "MlflowClient", experiment: str, wanted: str) -> "list[Run]":
    if experiment not in experiments(client):
        return []
    return read.matching(read.search(client, experiment), wanted)
