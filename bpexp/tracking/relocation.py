"""Notices that an SQLite store was copied or moved, and makes its tables name its own folder.

MLflow's tables name the folders of artifacts by absolute paths. Those of a copy name the folder of
the original, in which nothing must be written.
"""

import os
from collections.abc import Iterable

from sqlalchemy import Connection, text

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.runs import run_tags
from bpexp.tracking import artifact_uris, store_lock
from bpexp.tracking.database import Database, select
from bpexp.tracking.sql import Experiment
from bpexp.tracking.store import Store

_NAMING = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's tables that name a folder of artifacts, or a folder in it."""


def check_not_relocated(store: Store, database: Database, name: str, found: Experiment) -> None:
    """Check that new artifacts of an experiment are not written to the folder of another store.

    A user may have given an experiment another folder: it is that of another store, or the former
    one, if another SQLite file is beside it, if it does not exist although runs have artifacts, or
    if artifacts of the experiment are in the folder of the store.

    Args:
        store: The store.
        database: Its tables.
        name: The name of the experiment.
        found: The experiment.

    Raises:
        ConfigError: They would be; the message says what to type.
        TrackingError: The store does not answer.
    """
    folder = artifact_uris.local_folder(found.artifact_uri)
    if folder is None or store.contains(folder):
        return
    run_id = database.read(_any_run, int(found.experiment_id))
    is_former = run_id is not None and (
        not folder.is_dir() or os.path.isdir(f"{store.artifacts}/{run_id}")
    )
    if is_former or store.is_copy_of(folder):
        raise ConfigError(
            f"The store {store.shown} was copied or moved: its experiment {name!r} has its "
            f"artifacts in {folder}, where nothing is written now. Type: {store.relocate_command}"
        )


def _any_run(connection: Connection, experiment: int) -> str | None:
    """The id of a run of an experiment that has stored artifacts."""
    rows = select(
        connection,
        "runs.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE experiment_id = :experiment AND key = :key LIMIT 1",
        experiment=experiment, key=run_tags.DIGESTS,
    )  # fmt: skip
    return rows[0][0] if rows else None


def relocate(store: Store) -> list[str]:
    """Make the tables of a copied or moved store name the artifacts in its own folder.

    Returns:
        A sentence for each former folder.

    Raises:
        ConfigError: It is no SQLite store of a tested version of MLflow, or artifacts are missing
            in its folder; nothing is then changed.
        TrackingError: The store does not answer.
    """
    if store.database is None or store.artifacts is None:
        raise ConfigError(f"relocate takes an SQLite store, got {store.shown}.")
    database = Database.open(store)
    if database is None:
        raise ConfigError(f"The tables of {store.shown} are not of a tested version of MLflow.")
    with store_lock.exclusive(store.database):
        former = [uri for uri in database.read(_locations) if _is_former(store, uri)]
        for uri in former:
            _check_is_here(store, uri, database.read(_runs_below, uri))
        counts = database.transaction(_rename, former, store.artifacts.as_uri())
    if not former:
        return ["The store names the artifacts in its own folder; nothing is to change."]
    return [
        f"{counted(counts[uri], 'run')} of {artifact_uris.local_folder(uri)}: the artifacts are "
        f"now those in {store.artifacts}."
        for uri in former
    ]


def _is_former(store: Store, uri: str) -> bool:
    """Whether a location of artifacts is as bpexp names it, but not that of the store."""
    folder = artifact_uris.local_folder(uri) if uri.startswith("file:///") else None
    return folder is not None and folder.name == "artifacts" and not store.contains(folder)


def _check_is_here(store: Store, uri: str, run_ids: Iterable[str]) -> None:
    """Check that the runs below a location have no artifacts there that the store lacks."""
    former, ids = artifact_uris.local_folder(uri), list(run_ids)
    lacking = [run_id for run_id in ids if not os.path.isdir(f"{store.artifacts}/{run_id}")]
    only_there = [run_id for run_id in lacking if os.path.isdir(f"{former}/{run_id}")]
    if only_there or (ids and len(lacking) == len(ids)):
        n_lacking = len(only_there or lacking)
        raise ConfigError(
            f"The artifacts of {counted(n_lacking, 'run')} are not in {store.artifacts}; copy the "
            f"folder {former} to it first."
        )


def _locations(connection: Connection) -> list[str]:
    """The different locations of the artifacts of experiments."""
    rows = select(connection, "DISTINCT artifact_location FROM experiments")
    return [location for (location,) in rows if location]


def _runs_below(connection: Connection, uri: str) -> list[str]:
    """The ids of the runs with artifacts below a location."""
    rows = select(
        connection,
        "run_uuid FROM runs WHERE substr(artifact_uri, 1, :length) = :start",
        start=f"{uri}/", length=len(uri) + 1,
    )  # fmt: skip
    return [run_id for (run_id,) in rows]


def _rename(connection: Connection, former: Iterable[str], new: str) -> dict[str, int]:
    """Replace the beginnings of all locations; returns the number of runs with each."""
    counts = {}
    for old in former:
        counts[old] = len(_runs_below(connection, old))
        for table, column in _NAMING:
            connection.execute(
                text(
                    f"UPDATE {table} SET {column} = :new || substr({column}, :rest) "
                    f"WHERE {column} = :old OR substr({column}, 1, :rest) = :start"
                ),
                {"new": new, "old": old, "start": f"{old}/", "rest": len(old) + 1},
            )
    return counts
