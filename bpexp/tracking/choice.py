"""The tracker that fits a store."""

import sys
from typing import TYPE_CHECKING

from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import Tracker
from bpexp.tracking.patience import Patience

if TYPE_CHECKING:
    from mlflow import MlflowClient

_THREADS = 8
"""Requests under way at a server at once."""


def choose(client: "MlflowClient", experiment_id: str) -> Tracker:
    """In bulk for an SQL store of a known schema, otherwise by the client, said on stderr
    where bulk was to be expected.
    """
    from bpexp.tracking.bulk import BulkTracker, refusal

    if client.tracking_uri.startswith(("http", "databricks")):
        return ClientTracker(client, experiment_id, _THREADS)
    store = client._tracking_client.store
    reason = Patience().attempt(lambda: refusal(store))
    if reason is None:
        return BulkTracker(client, store, experiment_id)
    print(f"Runs are written one by one: {reason}.", file=sys.stderr)
    return ClientTracker(client, experiment_id)
