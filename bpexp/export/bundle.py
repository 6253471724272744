"""Writes the runs of a sweep to a zip file, which ``reproduce`` and ``verify`` read as a store."""

import hashlib
import json
import os
import shlex
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path

from bpexp.data import DataConfig
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.sweeps import integrity
from bpexp.tracking import bundle, logged_curves
from bpexp.tracking.archive import Archive
from bpexp.tracking.bundle import DataFile
from bpexp.tracking.checked_zip import MANIFEST
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import Query, StoredRun
from bpexp.tracking.stored_results import config_of, stored_config

_PAGE_SIZE = 100
"""Runs that are read together: all their artifacts are in memory."""
_MIN_COMPRESSED = 2048
"""Bytes of the smallest file that is compressed: of smaller ones there are many."""

_Files = Mapping[str, bytes]


class _Writer:
    """Adds members to a zip file and lists them for the manifest."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.listed: dict[str, dict[str, object]] = {}

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        is_small = len(content) < _MIN_COMPRESSED
        method = zipfile.ZIP_STORED if is_small else zipfile.ZIP_DEFLATED
        # A fixed date: equal runs make equal files.
        self._file.writestr(zipfile.ZipInfo(name), content, method, compresslevel=3)
        digest = hashlib.sha256(content).hexdigest()
        self.listed[name] = {"size": len(content), "sha256": digest}

    def add_file(self, name: str, path: Path, digest: str) -> None:
        """Add a file that need not fit into memory."""
        self._file.write(path, name, zipfile.ZIP_DEFLATED, compresslevel=3)
        self.listed[name] = {"size": self._file.getinfo(name).file_size, "sha256": digest}


def write(
    archive: Archive, experiment: str, run: StoredRun, target: Path, *, data: bool
) -> list[str]:
    """Write a sweep or a single run to a zip file.

    Args:
        archive: Where the run is stored.
        experiment: The name of its experiment.
        run: The sweep or the run, with all its parts.
        target: The zip file.
        data: Whether to include data files.

    Returns:
        Messages for the user: what was written, and how to check it.

    Raises:
        ConfigError: A run is altered, a data file is missing or has changed, or the zip file
            cannot be written.
    """
    reader, children = archive.reader, Query(sweep=run.run_id)
    selected = reader.search(archive.experiment_id, children) if run.is_sweep else ()
    named = _NamedFiles(archive, check=data)
    n_runs = n_finished = 0
    linking: set[str | None] = set()
    with _atomic_zip(target) as zip_file:
        writer = _Writer(zip_file)
        for stored, artifacts, curves in _pages(archive, chain([run], selected)):
            if not stored.is_sweep:
                n_runs += 1
                linking.add(stored.parent)
                if stored.status == "FINISHED":
                    n_finished += 1
                    named.add(stored)
                    _check_intact(stored, artifacts, archive)
            _add_run(writer, stored, artifacts, curves)
        if not n_finished:
            raise ConfigError(f"{run.label} has no finished runs to bundle.")
        # The runs that were reused from other sweeps have their environment there.
        parents = reader.get(sorted(filter(None, linking - {run.run_id})))
        for stored, artifacts, curves in _pages(archive, iter(parents)):
            _add_run(writer, stored, artifacts, curves)
        files = [_add_data(writer, number, path, data) for number, path in enumerate(named.paths)]
        manifest = {
            "format": bundle.FORMAT,
            "bpexp": version("bpexp"),
            "run": run.run_id,
            "experiment": experiment,
            "data": [asdict(file) for file in files],
            "files": writer.listed,
        }
        zip_file.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest), zipfile.ZIP_DEFLATED)
    name = shlex.quote(str(target))
    lacking = "".join(f" --data {shlex.quote(file.path)}" for file in files if not file.member)
    return [
        _sentence(target, n_runs, files),
        f"Check: bpexp verify {name}{lacking}",
        f"Train again: bpexp reproduce {name}{lacking}",
    ]


class _NamedFiles:
    """The data files that the settings of runs name.

    Args:
        archive: Where the runs are stored.
        check: Whether to check that the data are those that the runs were trained on.
    """

    def __init__(self, archive: Archive, *, check: bool) -> None:
        self._archive, self._check = archive, check
        self._known: set[DataConfig] = set()
        self.paths: dict[str, None] = {}

    def add(self, run: StoredRun) -> None:
        """Add the files of a run.

        Raises:
            ConfigError: The stored configuration is invalid, or the data are missing or have
                changed.
        """
        data = stored_config(run, self._archive).data
        if data in self._known:
            return
        if self._check:
            config_of(run, self._archive)
        self._known.add(data)
        paths = [getattr(data, key, None) for key in bundle.PATHS]
        self.paths |= dict.fromkeys(path for path in paths if path is not None)


def _check_intact(run: StoredRun, files: _Files, archive: Archive) -> None:
    """Raise ConfigError if a run is not as it was recorded.

    Args:
        run: The finished run.
        files: Its artifacts, which are read again only if one of them was altered.
        archive: Where it is stored.
    """
    if integrity.has_recorded_files(run, files):
        return
    problem = integrity.artifact_problem(run, archive)
    if problem:
        raise ConfigError(f"{run.label} is altered: {problem}")


def _add_data(writer: _Writer, number: int, path: str, is_included: bool) -> DataFile:
    """Describe a data file, and add it to the zip file unless the user does not want it."""
    file = Path(path).expanduser()
    try:
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if not is_included:
            return DataFile(path, None, digest)
        name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in file.name)
        member = f"data/{number}/{name.lstrip('.') or 'data'}"
        writer.add_file(member, file, digest)
    except OSError as error:
        if not is_included:
            return DataFile(path, None, None)
        raise ConfigError(f"The data file {path} cannot be read: {error.strerror}.") from error
    return DataFile(path, member, digest)


def _pages(
    archive: Archive, runs: Iterator[StoredRun]
) -> Iterator[tuple[StoredRun, _Files, Curves]]:
    """Runs, their artifacts, and all logged values of their curves; only some are in memory."""
    while page := list(islice(runs, _PAGE_SIZE)):
        curves = logged_curves.of_runs(archive.reader, page)
        files = archive.for_each(page, partial(_files, archive))
        yield from zip(page, files, curves, strict=True)


def _files(archive: Archive, run: StoredRun) -> _Files:
    """The artifacts of a run that are part of a bundle."""
    names = [name for name in archive.files(run) if bundle.ARTIFACT.fullmatch(name)]
    return {name: archive.file(run, name) for name in names}


def _add_run(writer: _Writer, run: StoredRun, files: _Files, curves: Curves) -> None:
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    # The place of the artifacts says nothing on another machine.
    values["artifact_uri"] = ""
    content = json.dumps({"run": values, "history": curves})
    writer.add(bundle.run_member(run.run_id), content.encode())
    for name, artifact in files.items():
        writer.add(bundle.artifact_member(run.run_id, name), artifact)


@contextmanager
def _atomic_zip(target: Path) -> Iterator[zipfile.ZipFile]:
    """A new zip file, which gets its name when it is complete. Raises ConfigError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w") as zip_file:
                yield zip_file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(
            f"-o must be a file that can be written, got {str(target)!r}: {error.strerror}."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sentence(target: Path, n_runs: int, files: Sequence[DataFile]) -> str:
    parts = [counted(n_runs, "run")]
    for file in files:
        parts.append(file.path if file.member else f"without {file.path}")
    return f"Written: {target} ({', '.join(parts)})"
