"""Repairs runs in the store: closes those of dead processes, reopens and deletes others."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpexp.runs import run_tags
from bpexp.tracking import process
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.process import ProcessState
from bpexp.tracking.retry import RetryPolicy

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ORPHAN_TAGS = {
    run_tags.OUTCOME: "interrupted",
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
        now = time.time_ns() // 1_000_000
        tracker.close_run(run_id, RunRecord("", "KILLED", now, now, tags=_ORPHAN_TAGS))
    return len(orphaned)


def reopen(client: "MlflowClient", run_id: str) -> None:
    """Give the parent run of a sweep the status RUNNING, and assign it to this process."""
    retry = RetryPolicy()
    retry.call(client.set_tag, run_id, run_tags.PROCESS, process.current())
    retry.call(client.update_run, run_id, status="RUNNING")
    tags = retry.call(client.get_run, run_id).data.tags
    for key in _ORPHAN_TAGS.keys() & tags.keys():
        retry.call(client.delete_tag, run_id, key)


def delete_runs(client: "MlflowClient", run_ids: Sequence[str]) -> None:
    """Mark runs as deleted; ``mlflow gc`` removes them, ``mlflow runs restore`` restores them."""
    for run_id in run_ids:
        RetryPolicy().call(client.delete_run, run_id)
