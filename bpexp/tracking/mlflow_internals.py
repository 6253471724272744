"""All uses of MLflow's undocumented interface.

``rows`` also writes MLflow's tables directly. A new version of MLflow may change both:
``TESTED_SCHEMAS`` names the versions that were tested. The functions import MLflow, which takes
more than a second, when they are called.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Connection, Engine, Select

TESTED_SCHEMAS = {
    "3.10": "1b5f0d9ad7c1",
    "3.11": "c3d6457b6d8a",
    "3.12": "7d34483879f0",
    "3.13": "da6fb0208061",
    "3.14": "b7e4c1a90f23",
    "3.15": "6f8d9c3b2a1e",
    "3.16": "b7e2c1a4d9f3",
    "3.17": "dc11669786a5",
}
"""The versions of MLflow that were tested, and the Alembic revision of the tables of each."""


def sql_engine(client: "MlflowClient") -> "Engine | None":
    """The SQLAlchemy engine of a client, or None if its store is not MLflow's plain SQL store.

    A subclass of that store, such as the one for workspaces, may write other tables.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    if type(store) is not SqlAlchemyStore:
        return None
    engine: Engine = store.engine
    return engine


def store_type(client: "MlflowClient") -> str:
    """The class name of the store of a client."""
    return type(client._tracking_client.store).__name__


def close_connections(client: "MlflowClient") -> None:
    """Close the database connections of a client on an SQL store."""
    client._tracking_client.store.engine.dispose()


def latest_revision() -> str:
    """The revision of the tables that the installed MLflow uses."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())  # type: ignore[no-untyped-call]


def is_older_revision(revision: str) -> bool:
    """Whether the installed MLflow can migrate tables of another revision to its own."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config

    config = _get_alembic_config("")  # type: ignore[no-untyped-call]
    try:
        ScriptDirectory.from_config(config).get_revision(revision)
    except CommandError:
        return False
    return True


def filtered_ids(connection: "Connection", experiment: int, filter_string: str) -> set[str]:
    """The ids of the active runs of an experiment that a filter selects, as ``search_runs`` does.

    Raises:
        ValueError: The filter is invalid.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.dbmodels.models import SqlRun
    from mlflow.store.tracking.sqlalchemy_store import _get_sqlalchemy_filter_clauses
    from mlflow.utils.search_utils import SearchUtils
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    try:
        parsed = SearchUtils.parse_search_filter(filter_string)  # type: ignore[no-untyped-call]
        with Session(connection) as session:
            of_runs, of_parts, of_datasets = _get_sqlalchemy_filter_clauses(  # type: ignore[no-untyped-call]
                parsed, session, connection.dialect.name
            )
            statement: Select[tuple[str]] = select(SqlRun.run_uuid).where(
                SqlRun.experiment_id == experiment, SqlRun.lifecycle_stage == "active", *of_runs
            )
            for part in of_parts:
                statement = statement.join(part)
            for data in of_datasets:
                statement = statement.join(data, SqlRun.run_uuid == data.c.destination_id)
            return set(session.scalars(statement))
    except MlflowException as error:
        raise ValueError(str(error)) from error


def validate_key(key: str) -> None:
    """Raises MlflowException for a key that a parameter, metric or tag cannot have."""
    from mlflow.utils.validation import _validate_param

    _validate_param(key, "")  # type: ignore[no-untyped-call]


def append_to_uri(uri: str, *parts: str) -> str:
    """A URI with more path components; its query stays at the end."""
    from mlflow.utils.uri import append_to_uri_path

    return str(append_to_uri_path(uri, *parts))  # type: ignore[no-untyped-call]


def local_path(uri: str) -> Path | None:
    """The folder that an artifact URI denotes on this machine, None if it is elsewhere."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    if not is_local_uri(uri, is_tracking_or_registry_uri=False):  # type: ignore[no-untyped-call]
        return None
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]


def upload(uri: str, folder: "str | os.PathLike[str]") -> None:
    """Upload all files of a folder to an artifact URI."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(uri).log_artifacts(str(folder))  # type: ignore[no-untyped-call]
