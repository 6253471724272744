"""Repairs runs in the store: closes those of dead processes, reopens and restores others.

MLflow is imported only to restore runs.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.runs.result import NoResult
from bpexp.tracking import paging, process
from bpexp.tracking.clock import now
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.factory import open_reader, tracker_for
from bpexp.tracking.ids import short
from bpexp.tracking.process import ProcessState
from bpexp.tracking.reading import NO_PARTS, SWEEP_SIGNS, Query, StoredRun
from bpexp.tracking.retry import DeletedError, RetryPolicy
from bpexp.tracking.store import Store, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_ORPHAN_TAGS = {
    run_tags.OUTCOME: NoResult.INTERRUPTED.value,
    run_tags.REASON: "the process ended before the run did",
}


def close_orphaned_runs(tracker: Tracker) -> int:
    """Give the status KILLED to all open runs whose process is dead.

    Returns:
        The number of these runs.

    Raises:
        TrackingError: The store could not be read or written.
    """
    orphaned = [
        run_id
        for run_id, tags in tracker.running().items()
        if process.state_of(tags.get(run_tags.PROCESS, "")) is ProcessState.DEAD
    ]
    for run_id in orphaned:
        ended = now()
        tracker.close_run(run_id, RunRecord("", "KILLED", ended, ended, tags=_ORPHAN_TAGS))
    return len(orphaned)


def reopen(tracker: Tracker, sweep: StoredRun) -> None:
    """Give the parent run of a sweep the status RUNNING, and assign it to this process.

    Args:
        tracker: Writes to the experiment of the sweep.
        sweep: The parent run as it was read.

    Raises:
        ConfigError: The sweep is deleted, or another process was faster.
        TrackingError: The store could not be read or written.
    """
    run_id = sweep.run_id
    try:
        tracker.check_not_deleted(run_id)
    except DeletedError as error:
        raise deleted_error(run_id) from error
    own, seen = process.current(), sweep.tags.get(run_tags.PROCESS, "")
    while (holder := tracker.claim(run_id, run_tags.PROCESS, seen, own)) != own:
        if process.state_of(holder) is not ProcessState.DEAD:
            raise ConfigError(f"{sweep.label} is being resumed by another process.")
        seen = holder
    tracker.reopen_run(run_id, list(_ORPHAN_TAGS))


def deleted_error(run_id: str) -> ConfigError:
    """The error for a deleted sweep that is to be resumed."""
    return ConfigError(
        f"The sweep {short(run_id)}, or its experiment, is deleted; add --restore to restore it."
    )


def deleted_sweeps(client: "MlflowClient", wanted: str) -> "list[Run]":
    """The sweeps with an id that begins with ``wanted`` that are deleted, or whose experiment is.

    MLflow deletes the runs of an experiment, too; others may not.
    """
    from mlflow.entities import ViewType

    def experiments(stage: int) -> list[str]:
        request = partial(client.search_experiments, view_type=stage)
        return [one.experiment_id for one in paging.items(request, RetryPolicy())]

    def marked(of: list[str], stage: int) -> "Iterator[Run]":
        for sign in SWEEP_SIGNS if of else ():
            request = partial(client.search_runs, of, sign, run_view_type=stage)
            yield from paging.items(request, RetryPolicy())

    found = chain(
        marked(experiments(ViewType.ACTIVE_ONLY), ViewType.DELETED_ONLY),
        marked(experiments(ViewType.DELETED_ONLY), ViewType.ALL),
    )
    # A sweep has both signs, unless one of them was altered.
    sweeps = {run.info.run_id: run for run in found if run_tags.are_of_sweep(run.data.tags)}
    return [run for run_id, run in sweeps.items() if run_id.startswith(wanted)]


def restore_sweep(store: Store, wanted: str) -> None:
    """Restore a sweep with its experiment and its finished runs, if it is deleted.

    A run that was deleted because another one replaced it stays deleted.

    Args:
        store: Where the sweep is stored.
        wanted: The beginning of the sweep's id.

    Raises:
        ConfigError: Several deleted sweeps have such an id.
    """
    client = connect(store)
    deleted = deleted_sweeps(client, wanted)
    if not deleted:
        return
    if len(deleted) > 1:
        raise ConfigError(f"{wanted!r} matches {len(deleted)} deleted sweeps; type more of its id.")
    retry = RetryPolicy()
    experiment, run_id = deleted[0].info.experiment_id, deleted[0].info.run_id
    if retry.call(client.get_experiment, experiment).lifecycle_stage != "active":
        retry.call(client.restore_experiment, experiment)
    tracker, reader = tracker_for(client, experiment), open_reader(store)
    children = Query(statuses=["FINISHED"], tags={"mlflow.parentRunId": run_id})
    parts = replace(NO_PARTS, tags=(run_tags.IDENTITY,))
    active = reader.search(experiment, children, parts)
    present = {run.tags.get(run_tags.IDENTITY) for run in active}
    lacking: dict[str | None, str] = {}
    for run in reader.search(experiment, replace(children, are_deleted=True), parts):
        identity = run.tags.get(run_tags.IDENTITY)
        if identity not in present:
            lacking.setdefault(identity, run.run_id)
    # The experiment was restored with its runs.
    is_active = retry.call(client.get_run, run_id).info.lifecycle_stage == "active"
    tracker.restore_runs([*([] if is_active else [run_id]), *lacking.values()])
