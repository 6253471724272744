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
from pathlib import Path
from typing import NamedTuple

from bpexp.data import DataConfig
from bpexp.export.zip_writer import Packed, ZipWriter, packed
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.sweeps import integrity, sweep_integrity
from bpexp.sweeps.stored_pages import map_pages
from bpexp.tracking import bundle, logged_curves
from bpexp.tracking.archive import Archive
from bpexp.tracking.bundle import DataFile
from bpexp.tracking.checked_zip import MANIFEST
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import NO_PARTS, Query, StoredRun
from bpexp.tracking.stored_results import config_of, stored_config

_Files = Mapping[str, bytes]


class _Page(NamedTuple):
    """Runs that were checked and packed.

    Attributes:
        members: Their members of the bundle.
        finished: A finished run for each configuration of data.
        n_runs: How many runs there are, apart from sweeps.
        parents: The ids of their sweeps.
    """

    members: Packed
    finished: dict[DataConfig, StoredRun]
    n_runs: int
    parents: set[str | None]


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
    altered = sweep_integrity.file_problems(run, archive) if run.is_sweep else []
    if altered:
        raise ConfigError(f"{run.label} is altered: {' '.join(altered)}")
    reader, children = archive.reader, Query(sweep=run.run_id)
    search = partial(reader.search, archive.experiment_id, parts=NO_PARTS)
    selected = list(search(children)) if run.is_sweep else []
    for child in selected:
        integrity.refuse(child, integrity.status_problem(child) if run.status != "RUNNING" else "")
    run_ids = [run.run_id, *(child.run_id for child in selected)]
    named = _NamedFiles(archive, check=data)
    n_runs = 0
    parents: set[str | None] = set()
    with _atomic_zip(target) as zip_file:
        writer = ZipWriter(zip_file)
        for page in map_pages(_pack_page, archive, run_ids):
            writer.append(page.members)
            named.add(page.finished)
            n_runs += page.n_runs
            parents |= page.parents
        if not named.known:
            raise ConfigError(f"{run.label} has no finished runs to bundle.")
        # The runs that were reused from other sweeps have their environment there.
        others = reader.get(sorted(filter(None, parents - {run.run_id})))
        writer.append(_pack(archive, others).members)
        files = [_add_data(writer, number, path, data) for number, path in enumerate(named.paths)]
        manifest = {
            "format": bundle.FORMAT,
            "bpexp": version("bpexp"),
            "run": run.run_id,
            "experiment": experiment,
            "data": [asdict(file) for file in files],
            "files": writer.listed,
        }
        writer.append(packed({MANIFEST: json.dumps(manifest).encode()}))
    notes = _lacking_and_added(archive, run, selected) if run.is_sweep else ()
    name = shlex.quote(str(target))
    lacking = "".join(f" --data {shlex.quote(file.path)}" for file in files if not file.member)
    return [
        _sentence(target, n_runs, files),
        *filter(None, notes),
        f"Check: bpexp verify {name}{lacking}",
        f"Train again: bpexp reproduce {name}{lacking}",
    ]


def _lacking_and_added(
    archive: Archive, sweep: StoredRun, runs: Sequence[StoredRun]
) -> tuple[str, str]:
    """Sentences on the runs that a sweep lacks, and on those that were added; "" for none.

    Args:
        archive: Where the sweep is stored.
        sweep: The parent run.
        runs: The runs that it has in the store, linked ones included.
    """
    rows = sweep_integrity.table_rows(sweep, archive)
    own = [one for one in runs if one.parent == sweep.run_id and one.status == "FINISHED"]
    stored = {one.run_id for one in runs}
    return (
        sweep_integrity.missing_runs(rows, stored),
        sweep_integrity.added_runs(sweep, rows, own),
    )


class _NamedFiles:
    """The data files that the settings of runs name.

    Args:
        archive: Where the runs are stored.
        check: Whether to check that the data are those that the runs were trained on.
    """

    def __init__(self, archive: Archive, *, check: bool) -> None:
        self._archive, self._check = archive, check
        self.known: set[DataConfig] = set()
        self.paths: dict[str, None] = {}

    def add(self, runs: Mapping[DataConfig, StoredRun]) -> None:
        """Add the files of runs, given by their configuration of the data.

        Raises:
            ConfigError: The data are missing or have changed.
        """
        for data in [data for data in runs if data not in self.known]:
            if self._check:
                config_of(runs[data], self._archive)
            self.known.add(data)
            paths = [getattr(data, key, None) for key in bundle.PATHS]
            self.paths |= dict.fromkeys(path for path in paths if path is not None)


def _check_intact(run: StoredRun, files: _Files, archive: Archive) -> None:
    """Raise ConfigError if a run is not as it was recorded.

    Args:
        run: The finished run.
        files: Its artifacts, which are read again only if one of them was altered.
        archive: Where it is stored.
    """
    if not integrity.has_recorded_files(run, files):
        integrity.refuse(run, integrity.artifact_problem(run, archive))


def _add_data(writer: ZipWriter, number: int, path: str, is_included: bool) -> DataFile:
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


def _pack_page(archive: Archive, run_ids: Sequence[str]) -> list[_Page]:
    """Check and pack some runs, given by their ids. Raises ConfigError if one is altered."""
    return [_pack(archive, archive.reader.get(run_ids))]


def _pack(archive: Archive, runs: Sequence[StoredRun]) -> _Page:
    """Check and pack some runs. Raises ConfigError if one is altered."""
    members: dict[str, bytes] = {}
    finished: dict[DataConfig, StoredRun] = {}
    parents: set[str | None] = set()
    for page in logged_curves.pages(archive.reader, runs):
        found = archive.for_each([run for run, _ in page], partial(_files, archive))
        for (run, curves), files in zip(page, found, strict=True):
            if not run.is_sweep:
                parents.add(run.parent)
                if run.status == "FINISHED":
                    _check_intact(run, files, archive)
                    config = stored_config(run, archive)
                    problems = integrity.value_problems(run, config)
                    integrity.refuse(run, next(iter(problems), ""))
                    finished.setdefault(config.data, run)
            members |= _members(run, files, curves)
    n_runs = sum(not run.is_sweep for run in runs)
    return _Page(packed(members), finished, n_runs, parents)


def _files(archive: Archive, run: StoredRun) -> _Files:
    """The artifacts of a run that are part of a bundle."""
    sizes = archive.files(run)
    # A folder in place of a file is reported as a missing file.
    names = [name for name in sizes if bundle.ARTIFACT.fullmatch(name) and sizes[name] is not None]
    return {name: archive.file(run, name) for name in names}


def _members(run: StoredRun, files: _Files, curves: Curves) -> dict[str, bytes]:
    """The members of a bundle with a run and its artifacts, by name."""
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    # The place of the artifacts says nothing on another machine.
    values["artifact_uri"] = ""
    content = json.dumps({"run": values, "history": curves}).encode()
    named = {bundle.artifact_member(run.run_id, name): file for name, file in files.items()}
    return {bundle.run_member(run.run_id): content, **named}


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
