"""What is done to runs that are in the store already: closing, reopening, hiding them."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpexp.tracking import process
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.process import Life
from bpexp.tracking.retry import Patience

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CUT = {"bpexp.outcome": "interrupted", "bpexp.reason": "its process ended before it did"}


def close_orphans(tracker: Tracker) -> int:
    """End the runs whose process has died, as KILLED; returns how many there were."""
    open_runs = tracker.running()
    left = [i for i, t in open_runs.items() if process.life(t.get(process.TAG, "")) is Life.DEAD]
    for run_id in left:
        ended = time.time_ns() // 1_000_000
        tracker.close_run(run_id, RunRecord("", "KILLED", ended, ended, tags=_CUT))
    return len(left)


def reopen(client: "MlflowClient", run_id: str) -> None:
    """Make a sweep's parent this process's, and RUNNING."""
    attempt = Patience().attempt
    attempt(lambda: client.set_tag(run_id, process.TAG, process.own()))
    attempt(lambda: client.update_run(run_id, status="RUNNING"))
    for key in _CUT:
        if key in attempt(lambda: client.get_run(run_id)).data.tags:
            attempt(lambda key=key: client.delete_tag(run_id, key))  # type: ignore[misc]


def hide(client: "MlflowClient", run_ids: Sequence[str]) -> None:
    """Move runs to MLflow's trash."""
    for run_id in run_ids:
        Patience().attempt(lambda run_id=run_id: client.delete_run(run_id))  # type: ignore[misc]
