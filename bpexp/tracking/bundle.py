"""A bundle: the runs of one sweep in a zip file, which is read without a store.

Members of the zip file:

    bundle.json                  the manifest: the id of the sweep, its experiment, the data files,
                                 and the size and SHA-256 digest of every other member
    runs/ID/run.json             a ``StoredRun``, and the logged values of its curves
    runs/ID/artifacts/NAME       an artifact
    data/NUMBER/NAME             a data file

No member is executed or unpickled. ``export.bundle`` writes bundles.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bpexp.data import DataConfig, Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.tracking import checked_zip
from bpexp.tracking.archive import Archive, missing
from bpexp.tracking.checked_zip import CheckedZip
from bpexp.tracking.memory_reader import MemoryReader
from bpexp.tracking.reading import Point, StoredRun
from bpexp.tracking.store import Store
from bpexp.tracking.unreadable import unreadable_run_errors

FORMAT = 1
"""Version of the format; another version is refused."""
PATHS = ("path", "test_path")
"""Settings of a data set that name a file."""
ARTIFACT = re.compile(r"[\w-][\w.-]*\.(yaml|json|jsonl\.gz|npz|csv|parquet|svg|png|diff)", re.ASCII)
"""Names of the artifacts that a bundle may have: values, texts and pictures, never code."""
_MEMBER = re.compile(
    rf"runs/[\w-]{{1,64}}/(run\.json|artifacts/{ARTIFACT.pattern})|data/\d{{1,6}}/[^/\\\0-\x1f.][^/\\\0-\x1f]*",
    re.ASCII,
)


@dataclass(frozen=True)
class DataFile:
    """A data file of the runs.

    Attributes:
        path: The setting ``data.path`` or ``data.test_path`` that names it.
        member: The name in the zip file; None if the bundle does not have the file.
        sha256: The digest of its content; None if it was not known.
    """

    path: str
    member: str | None
    sha256: str | None


def run_member(run_id: str) -> str:
    """The name of the member with a run."""
    return f"runs/{run_id}/run.json"


def artifact_member(run_id: str, name: str) -> str:
    """The name of the member with an artifact."""
    return f"runs/{run_id}/artifacts/{name}"


class BundleArchive(Archive):
    """The runs of a bundle, with their artifacts and data files.

    Attributes:
        run: The sweep or the run that the bundle was made of.
    """

    def __init__(self, bundle: CheckedZip, local: Mapping[str, Path]) -> None:
        """Read all runs of a bundle.

        Args:
            bundle: The bundle.
            local: The data files on this machine by the setting that names them.

        Raises:
            ConfigError: A run is malformed, or its digest is not the listed one.
        """
        self._bundle, self._local = bundle, local
        self._files: defaultdict[str, dict[str, int | None]] = defaultdict(dict)
        ids = []
        for member, size in bundle.sizes.items():
            kind, owner, *rest = member.split("/")
            if kind == "runs" and rest == ["run.json"]:
                ids.append(owner)
            elif kind == "runs":
                self._files[owner][rest[1]] = size
        runs = {run_id: self._run(run_id) for run_id in ids}
        wanted, experiment = bundle.manifest.get("run"), bundle.manifest.get("experiment")
        if wanted not in runs or not isinstance(experiment, str):
            raise ConfigError(f"{bundle.name} does not say which sweep it contains.")
        self.run = runs[wanted]
        number = self.run.experiment_id
        reader = MemoryReader(experiment, number, runs.values(), self._points)
        super().__init__(reader, Store(f"bundle:{bundle.name}", None), number)

    @property
    def can_be_opened_again(self) -> bool:
        """See ``Archive.can_be_opened_again``; its data files are in a temporary folder."""
        return False

    def is_local(self, run: StoredRun) -> bool:
        """See ``Archive.is_local``."""
        return True

    @unreadable_run_errors()
    def file(self, run: StoredRun, name: str) -> bytes:
        """See ``Archive.file``."""
        if name not in self._files[run.run_id]:
            raise missing(run, name)
        return self._bundle.read(artifact_member(run.run_id, name))

    def file_if_any(self, run: StoredRun, name: str) -> bytes | None:
        """See ``Archive.file_if_any``."""
        return self.file(run, name) if name in self._files[run.run_id] else None

    def files(self, run: StoredRun) -> Mapping[str, int | None]:
        """See ``Archive.files``."""
        return self._files[run.run_id]

    def load_data(self, config: DataConfig) -> Dataset:
        """See ``Archive.load_data``; reads the files of the bundle, not those that paths name."""
        named = {key: getattr(config, key, None) for key in PATHS}
        paths: dict[str, Any] = {
            key: self._local_file(path) for key, path in named.items() if path is not None
        }
        return load(replace(config, **paths))

    def _local_file(self, path: str) -> str:
        if path not in self._local:
            raise ConfigError(f"{self._bundle.name} does not have the data file {path}.")
        return str(self._local[path])

    def _run(self, run_id: str) -> StoredRun:
        member = run_member(run_id)
        values: Any = self._bundle.mapping(member).get("run")
        if not _is_stored_run(values) or values["run_id"] != run_id:
            raise ConfigError(f"{member} in {self._bundle.name} is not a run.")
        return StoredRun(**values)

    def _points(self, run_id: str, metric: str) -> Sequence[Point]:
        member = run_member(run_id)
        try:
            history = self._bundle.mapping(member)["history"].get(metric, [])
            return [Point(int(step), float(value)) for step, value in history]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{member} in {self._bundle.name} has no curves.") from error


@contextmanager
def open_bundle(path: Path, data: Sequence[Path] = ()) -> Iterator[BundleArchive]:
    """Open a bundle for reading.

    Args:
        path: The zip file.
        data: Data files on this machine, for those that the bundle does not have.

    Raises:
        ConfigError: The file is not a bundle, or a data file is missing.
    """
    with checked_zip.opened(path, _MEMBER) as bundle, TemporaryDirectory() as folder:
        if bundle.manifest.get("format") != FORMAT:
            raise ConfigError(
                f"{path.name} must have format {FORMAT} of bundles, got "
                f"{bundle.manifest.get('format')!r}; another version of bpexp wrote it."
            )
        yield BundleArchive(bundle, _local_files(bundle, data, Path(folder)))


def _local_files(bundle: CheckedZip, given: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Where the data files are on this machine, by the setting that names them.

    Args:
        bundle: The bundle.
        given: Data files that the user named. Each is one with the same digest; else the only one
            that the bundle lacks; else one with the same name.
        folder: Where files of the bundle are written.

    Raises:
        ConfigError: A file is missing, or a given one is none of the files of the runs.
    """
    files = _data_files(bundle)
    found: dict[str, Path] = {}
    for path in given:
        wanted = _meant(path, files)
        if not wanted:
            names = ", ".join(file.path for file in files) or "none"
            raise ConfigError(
                f"--data must be a data file of {bundle.name} ({names}), got {str(path)!r}."
            )
        found |= dict.fromkeys((file.path for file in wanted), path)
    for file in files:
        if file.path in found:
            continue
        if file.member is None:
            raise ConfigError(
                f"{bundle.name} was made without the data file {file.path}; add --data FILE."
            )
        target = folder / file.member.replace("/", "-")
        bundle.extract(file.member, target)
        found[file.path] = target
    return found


def _meant(path: Path, files: Sequence[DataFile]) -> list[DataFile]:
    """The data files that a file of the user stands for."""
    try:
        # A pipe or a device may have no end.
        if not path.is_file():
            raise FileNotFoundError(path)
        with open(path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"--data must be an existing file, got {str(path)!r}.") from error
    same = [file for file in files if file.sha256 == digest]
    lacking = [file for file in files if file.member is None]
    # The same values may be in a file of another format.
    only = next((group for group in (lacking, [*files]) if len(group) == 1), [])
    return same or only or [file for file in files if Path(file.path).name == path.name]


def _data_files(bundle: CheckedZip) -> list[DataFile]:
    entries = bundle.manifest.get("data")
    try:
        files = [DataFile(**entry) for entry in entries or []]
    except TypeError as error:
        raise ConfigError(f"{bundle.name} does not list its data files.") from error
    for file in files:
        is_valid = isinstance(file.path, str) and (
            file.member is None
            or (file.member in bundle.sizes and str(file.member).startswith("data/"))
        )
        if not is_valid:
            raise ConfigError(f"{bundle.name} does not list its data files.")
    return files


def _is_stored_run(values: Any) -> bool:
    """Whether values from JSON have the names and types of a ``StoredRun``."""
    if not isinstance(values, dict) or values.keys() != {f.name for f in fields(StoredRun)}:
        return False
    texts = ("run_id", "name", "status", "experiment_id", "artifact_uri")
    return (
        all(isinstance(values[name], str) for name in texts)
        and isinstance(values["started"], int)
        and isinstance(values["ended"], int | None)
        and isinstance(values["data"], str | None)
        and all(_is_mapping(values[name], str) for name in ("params", "tags"))
        and _is_mapping(values["metrics"], int | float)
    )


def _is_mapping(values: Any, kind: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, kind) for value in values.values())
