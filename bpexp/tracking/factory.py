"""Opens the fastest tracker and the fastest reader that a store supports.

Their modules are imported here, when a store is opened: those of databases need SQLAlchemy, which
is imported while the first runs are trained, and the others MLflow, which takes more than a second.
"""

from typing import TYPE_CHECKING

from bpexp.tracking import mlflow_internals
from bpexp.tracking.contract import Tracker
from bpexp.tracking.reading import RunReader
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import Store, connect, get_or_create_experiment, is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

_HTTP_THREADS = 8
"""Simultaneous requests to a server."""


def open_tracker(store: Store, experiment: str) -> Tracker:
    """Open an experiment for writing, and create it if it does not exist.

    MLflow is imported only if ``bulk.open_bulk_tracker`` cannot open the store without it.

    Args:
        store: Where the experiment is.
        experiment: Name of the experiment.

    Raises:
        ConfigError: The store cannot be opened, the experiment is deleted, or its artifacts are
            those of another store.
    """
    from bpexp.tracking import bulk

    tracker = bulk.open_bulk_tracker(store, experiment)
    if tracker is not None:
        return tracker
    client = connect(store)
    return tracker_for(client, get_or_create_experiment(client, store, experiment))


def open_reader(store: Store) -> RunReader:
    """Open a store for reading: a database through its tables, others through MLflow's client.

    Raises:
        ConfigError: The store cannot be opened.
    """
    from bpexp.tracking.database import Database

    database = Database.open(store)
    if database is not None:
        from bpexp.tracking.sql_reader import SqlReader

        return SqlReader(database)
    client = connect(store)
    from bpexp.tracking.client_reader import ClientReader

    return ClientReader(client)


def tracker_for(client: "MlflowClient", experiment_id: str) -> Tracker:
    """The bulk tracker for an SQL store that supports it, otherwise the client tracker.

    Before the latter writes its first runs to an SQL store, it says why they take so long.
    """
    from bpexp.tracking import bulk, database
    from bpexp.tracking.client import ClientTracker
    from bpexp.tracking.sql import Experiment

    if is_server(client.tracking_uri):
        return ClientTracker(client, experiment_id, _HTTP_THREADS)
    retry = RetryPolicy()
    engine = retry.call(mlflow_internals.sql_engine, client)
    if engine is None:
        reason: str | None = f"a {mlflow_internals.store_type(client)} is not a plain SQL store"
    else:
        reason = retry.call(database.unsupported_reason, engine)
    if engine is None or reason is not None:
        notice = f"Runs are written one by one: {reason}."
        return ClientTracker(client, experiment_id, notice=notice)
    artifact_uri = retry.call(client.get_experiment, experiment_id).artifact_location
    opened = database.Database(engine, bulk.CACHE_KIB)
    return bulk.BulkTracker(opened, Experiment(experiment_id, artifact_uri))
