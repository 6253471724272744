"""The tracker that fits a store."""

import sys
from typing import TYPE_CHECKING

from bpexp.tracking import bulk
from bpexp.tracking.client import ClientTracker
from bpexp.tracking.contract import Tracker
from bpexp.tracking.retry import Patience
from bpexp.tracking.rows import Experiment
from bpexp.tracking.store import Store, connect, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

_THREADS = 8
"""Requests under way at a server at once."""


def open_tracker(store: Store, experiment: str) -> Tracker:
    """A tracker for the experiment, which is made if it is not there.

    MLflow, which takes longer to import than a short run to train, is asked only where the
    store is not one that is known already. Raises ConfigError where it cannot be used.
    """
    known = bulk.known(store, experiment)
    if known is not None:
        return known
    client = connect(store)
    return choose(client, experiment_id(client, store, experiment))


def choose(client: "MlflowClient", experiment_id: str) -> Tracker:
    """In bulk for an SQL store of a known schema, otherwise by the client, said on stderr
    where bulk was to be expected.
    """
    if client.tracking_uri.startswith(("http", "databricks")):
        return ClientTracker(client, experiment_id, _THREADS)
    attempt = Patience().attempt
    reason = attempt(lambda: _refusal(client._tracking_client.store))
    if reason is None:
        location = attempt(lambda: client.get_experiment(experiment_id)).artifact_location
        engine = client._tracking_client.store.engine
        return bulk.BulkTracker(engine, Experiment(experiment_id, location))
    print(f"Runs are written one by one: {reason}.", file=sys.stderr)
    return ClientTracker(client, experiment_id)


def _refusal(store: object) -> str | None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # A subclass, MLflow's workspaces for one, may write more than is known here.
    if type(store) is not SqlAlchemyStore:
        return f"a {type(store).__name__} is not a plain SQL store"
    return bulk.refusal(store.engine)
