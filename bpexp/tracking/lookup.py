"""Finds runs in a store: by an MLflow filter, or by the id, the start of the id, or the name.

The word ``latest`` stands for the newest sweep or run of an experiment.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.retry import RetryPolicy

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

_PAGE_SIZE = 5000
"""Runs of one request."""
_ID_LENGTH = 32
"""Characters of a complete run id."""


def search(
    client: "MlflowClient", experiment: str, filter_string: str = "", sweep: str | None = None
) -> list["Run"]:
    """The runs of an experiment, the newest first.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment.
        filter_string: MLflow's filter; empty for all runs.
        sweep: Only runs of this sweep, including those that it reuses from other sweeps.

    Raises:
        ConfigError: The experiment or the sweep does not exist, or the filter is invalid.
    """
    experiment_id = _experiment_id(client, experiment)
    if not sweep:
        return _search_all_pages(client, experiment_id, filter_string)
    parent = find_in_experiment(client, experiment, sweep).info.run_id
    runs: list[Run] = []
    for clause in (
        f"tags.`mlflow.parentRunId` = '{parent}'",
        # A reused run belongs to the sweep that trained it.
        f"tags.`{run_tags.linked_sweep(parent)}` = 'linked'",
    ):
        both = f"{filter_string} and {clause}" if filter_string else clause
        runs += _search_all_pages(client, experiment_id, both)
    return runs


def _experiment_id(client: "MlflowClient", name: str) -> str:
    found = RetryPolicy().call(client.get_experiment_by_name, name)
    if found is None:
        raise ConfigError(f"--experiment must be an experiment of this store, got {name!r}.")
    return str(found.experiment_id)


def _search_all_pages(
    client: "MlflowClient", experiment_id: str, filter_string: str
) -> list["Run"]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = RetryPolicy().call(_search_page, client, experiment_id, filter_string, token)
        runs += page
        token = page.token
        if not token:
            return runs


def _search_page(
    client: "MlflowClient",
    experiment_id: str,
    filter_string: str,
    token: str | None,
    max_results: int = _PAGE_SIZE,
) -> "PagedList[Run]":
    from mlflow.exceptions import MlflowException

    try:
        return client.search_runs(
            [experiment_id], filter_string, max_results=max_results, page_token=token
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(
            f'--filter must be an MLflow filter such as "metrics.final_loss < 0.1", '
            f"got {filter_string!r}: {reason}"
        ) from error


def find_in_experiment(client: "MlflowClient", experiment: str, wanted: str) -> "Run":
    """Find a run of one experiment by its id, the start of its id, or its name.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment to search; a complete id is found in any experiment.
        wanted: The id, the start of the id, or the name.

    Raises:
        ConfigError: Not exactly one run matches.
    """
    if len(wanted) == _ID_LENGTH:
        return RetryPolicy().call(_get_run, client, wanted)
    matches = matching(search(client, experiment), wanted)
    if not matches:
        raise ConfigError(
            f"RUN must be the id, its beginning, or the name of a run, got {wanted!r}; "
            "bpexp runs lists them."
        )
    if len(matches) > 1:
        ids = ", ".join(run.info.run_id[:12] for run in matches[:5])
        raise ConfigError(
            f"{wanted!r} matches {len(matches)} runs; type the first digits of one id: {ids}."
        )
    return matches[0]


def matching(runs: Sequence["Run"], wanted: str) -> list["Run"]:
    """The runs with an id that begins with ``wanted``, or with that name."""
    if not wanted:
        return []
    return [r for r in runs if r.info.run_id.startswith(wanted) or r.info.run_name == wanted]


def _get_run(client: "MlflowClient", run_id: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(f"RUN must be a run of this store, got {run_id!r}.") from error


def is_sweep(run: "Run") -> bool:
    """Whether a run is the parent run of a sweep."""
    return bool(run.data.tags.get(run_tags.KIND) == run_tags.SWEEP_KIND)


def best_run(client: "MlflowClient", run: "Run") -> "Run":
    """The best run of a sweep; a run that is not a sweep itself.

    Raises:
        ConfigError: No run of the sweep has finished.
    """
    if not is_sweep(run):
        return run
    best = run.data.tags.get(run_tags.BEST_RUN, "none")
    if best == "none":
        raise ConfigError(
            f"RUN must be a sweep with a run that finished, got {run.info.run_name!r}."
        )
    return find_in_experiment(client, client.get_experiment(run.info.experiment_id).name, best)


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
        ConfigError: No run matches, or several do.
    """
    if wanted == LATEST:
        return experiment, _latest(client, experiment, sweeps)
    try:
        run = find_in_experiment(client, experiment, wanted)
    except ConfigError:
        if len(wanted) == _ID_LENGTH or not wanted or _matches_in(client, experiment, wanted):
            raise
        found = _find_elsewhere(client, experiment, wanted)
        if found is None:
            raise
        return found
    return str(RetryPolicy().call(client.get_experiment, run.info.experiment_id).name), run


def newest(client: "MlflowClient", experiment: str, filter_string: str = "") -> "Run | None":
    """The newest run that matches MLflow's filter, or None.

    Raises:
        ConfigError: The experiment does not exist.
    """
    number = _experiment_id(client, experiment)
    page = RetryPolicy().call(_search_page, client, number, filter_string, None, 1)
    return page[0] if page else None


def experiments(client: "MlflowClient") -> list[str]:
    """The names of the experiments, the newest first."""
    return [found.name for found in RetryPolicy().call(client.search_experiments)]


def _latest(client: "MlflowClient", experiment: str, sweeps: bool) -> "Run":
    """Return the newest sweep, or the newest run if it is not part of a sweep."""
    filter_string = f"tags.{run_tags.KIND} = '{run_tags.SWEEP_KIND}'" if sweeps else ""
    run = newest(client, experiment, filter_string)
    if run is None:
        kind = "sweep" if sweeps else "run"
        raise ConfigError(f"The experiment {experiment!r} has no {kind} yet.")
    parent = run.data.tags.get("mlflow.parentRunId")
    return find_in_experiment(client, experiment, parent) if parent else run


def _find_elsewhere(
    client: "MlflowClient", experiment: str, wanted: str
) -> "tuple[str, Run] | None":
    """The only matching run outside of ``experiment``, with the name of its experiment."""
    found = [
        (name, run)
        for name in experiments(client)
        if name != experiment
        for run in matching(search(client, name), wanted)
    ]
    if len(found) > 1:
        names = list(dict.fromkeys(name for name, _ in found))
        raise ConfigError(
            f"{wanted!r} is not a run of experiment {experiment!r} and fits {len(found)} runs of "
            f"{', '.join(map(repr, names))}; add --experiment {names[0]!r} or give the id."
        )
    return found[0] if found else None


def _matches_in(client: "MlflowClient", experiment: str, wanted: str) -> "list[Run]":
    """The runs of an experiment that match; none if the experiment does not exist."""
    if experiment not in experiments(client):
        return []
    return matching(search(client, experiment), wanted)
