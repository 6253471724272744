"""Writes artifacts to artifact URIs: to disk where the URI is local, else through MLflow.

``flush_to_disk`` is called before runs become visible, so that they have their artifacts even after
a power loss.

>>> from bpexp.tracking import artifact_uris
>>> artifact_uris.of_run("file:///data/artifacts", "70bda3e6")
'file:///data/artifacts/70bda3e6/artifacts'
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bpexp.tracking import durable, mlflow_internals
from bpexp.tracking.retry import RetryPolicy, TrackingError, artifact_store_errors


def of_run(experiment_uri: str, run_id: str) -> str:
    """The artifact URI of a run, formed as MLflow's SQL store does."""
    parts = urlsplit(experiment_uri)
    if parts.scheme == "file" and not (parts.query or parts.fragment):
        return f"{experiment_uri.rstrip('/')}/{run_id}/artifacts"
    return mlflow_internals.append_to_uri(experiment_uri, run_id, "artifacts")


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact URI denotes on this machine; None if it is elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and not (parts.netloc or parts.query or parts.fragment):
        # Without importing MLflow, which takes more than a second.
        return Path(unquote(parts.path))
    return mlflow_internals.local_path(uri)


def write_all(
    uris: Sequence[str], contents: Sequence[Mapping[str, bytes]], retry: RetryPolicy
) -> None:
    """Write the artifacts of new runs; after an error, remove the local ones of this call.

    Args:
        uris: The artifact URI of each run.
        contents: The files of each run, by name.
        retry: For uploads.

    Raises:
        TrackingError: A file could not be written.
    """
    created: list[Path] = []
    try:
        for uri, files in zip(uris, contents, strict=True):
            if not files:
                continue
            folder = local_folder(uri)
            if folder is None:
                retry.call(_upload, uri, files)
            else:
                created.append(folder.parent)
                os.makedirs(folder)
                write_files(folder, files)
    except (OSError, TrackingError) as error:
        for folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        raise TrackingError(
            f"An artifact could not be written: {str(error).rstrip('.')}."
        ) from error


def add(uri: str, files: Mapping[str, bytes]) -> None:
    """Add files to the artifacts of a run; a local file or empty folder is replaced.

    Raises:
        OSError: A local file could not be written.
        MlflowException: An upload failed.
    """
    folder = local_folder(uri)
    if folder is None:
        _upload(uri, files)
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        write_files(Path(staging), files)
        # Before the rename: it may reach the disk earlier than the content of the file.
        durable.sync_file_system(Path(staging))
        for name in files:
            target = folder / name
            target.parent.mkdir(exist_ok=True, parents=True)
            if target.is_dir() and not target.is_symlink():
                # Fails if it is not empty: the files in it are the user's.
                target.rmdir()
            os.replace(Path(staging, name), target)
    for parent in {(folder / name).parent for name in files} | {folder}:
        durable.sync_names(parent)


def remove(uris: Iterable[str]) -> None:
    """Remove the local folders of runs."""
    for folder in filter(None, map(local_folder, uris)):
        shutil.rmtree(folder.parent, ignore_errors=True)


def _upload(uri: str, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as staging:
        write_files(Path(staging), files)
        with artifact_store_errors():
            mlflow_internals.upload(uri, staging)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a new folder, with the folders in their names."""
    for parent in {os.path.dirname(name) for name in files} - {""}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def flush_to_disk(uris: Iterable[str]) -> None:
    """Wait until the local artifacts of the runs of one experiment are on disk.

    Raises:
        TrackingError: A file could not be written to disk.
    """
    # They are in one folder, and so on one file system.
    folder = next(filter(None, map(local_folder, uris)), None)
    try:
        if folder is not None:
            durable.sync_file_system(folder)
    except OSError as error:
        raise TrackingError(f"Artifacts could not be written to disk: {error.strerror}.") from error
