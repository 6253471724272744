"""What is done to runs that are in the store already: closing, reopening, hiding them."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bpexp.tracking import process
from bpexp.tracking.client import log_files
from bpexp.tracking.patience import Patience
from bpexp.tracking.process import Life

if TYPE_CHECKING:
    from mlflow import MlflowClient


def close_orphans(client: "MlflowClient", experiment_id: str) -> int:
    """End the runs whose process has died, as KILLED; returns how many there were."""
    left: list[str] = []
    token: str | None = None
    while token != "":
        page = Patience().attempt(
            lambda token=token: client.search_runs(  # type: ignore[misc]
                [experiment_id], "attributes.status = 'RUNNING'", page_token=token
            )
        )
        tags = {run.info.run_id: run.data.tags for run in page}
        left += [i for i, t in tags.items() if process.life(t.get(process.TAG, "")) is Life.DEAD]
        token = page.token or ""
    for run_id in left:
        _close(client, run_id)
    return len(left)


def _close(client: "MlflowClient", run_id: str) -> None:
    attempt = Patience().attempt
    for key, value in (
        ("bpexp.outcome", "interrupted"),
        ("bpexp.reason", "its process ended before it did"),
    ):
        attempt(lambda key=key, value=value: client.set_tag(run_id, key, value))  # type: ignore[misc]
    attempt(lambda: client.set_terminated(run_id, "KILLED", time.time_ns() // 1_000_000))


def reopen(client: "MlflowClient", run_id: str) -> None:
    """Make a sweep's parent this process's, and RUNNING."""
    attempt = Patience().attempt
    attempt(lambda: client.set_tag(run_id, process.TAG, process.own()))
    attempt(lambda: client.update_run(run_id, status="RUNNING"))
    for key in ("bpexp.outcome", "bpexp.reason"):
        if key in attempt(lambda: client.get_run(run_id)).data.tags:
            attempt(lambda key=key: client.delete_tag(run_id, key))  # type: ignore[misc]


def hide(client: "MlflowClient", run_ids: Sequence[str]) -> None:
    """Move runs to MLflow's trash."""
    for run_id in run_ids:
        Patience().attempt(lambda run_id=run_id: client.delete_run(run_id))  # type: ignore[misc]


def add_files(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Artifacts for a run that is open."""
    Patience().attempt(lambda: log_files(client, run_id, files))
