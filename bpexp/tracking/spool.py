"""Saves finished runs as files while the store is unavailable, until ``resume`` writes them.

A file is an NPZ archive of bytes, which is read without unpickling: ``runs`` is a JSON list of
records without artifacts, ``<index in the list>/<name>`` is the content of an artifact.

>>> from bpexp.tracking import spool
>>> from bpexp.tracking.contract import RunRecord
>>> run = RunRecord("seed=1", "FINISHED", started=1000, ended=2000)
>>> spool.from_bytes(spool.to_bytes([run]))[0].name
'seed=1'
"""

import contextlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bpexp.fields.checks import ConfigError
from bpexp.runs import record_digests, run_tags
from bpexp.tracking import durable, output_directory
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord

KEY_LENGTH = 8
"""Digits in the name of the folder of a single run."""
_CONVERTED = ("metrics", "artifacts", "dataset")
_PLAIN = [f.name for f in fields(RunRecord) if f.name not in _CONVERTED]
"""Fields that are stored in JSON as they are."""
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError,
              EOFError, MemoryError, NotImplementedError, RecursionError, struct.error,
              zlib.error, zipfile.BadZipFile)  # fmt: skip
"""What NumPy, zipfile and JSON raise for malformed files."""


def folder(sweep: str) -> Path:
    """The folder of the files of a sweep, or a single run, relative to the working directory.

    Raises:
        ConfigError: The id of the sweep could be a path.
    """
    if not sweep.isalnum():
        raise ConfigError(f"SWEEP must have an id of letters and digits, got {sweep!r}.")
    return Path("outputs") / "spool" / sweep


def holds_single_run(key: str) -> bool:
    """Whether a key is the name of the folder of a single run that waits.

    Such a name has as many digits as the program prints of an id; the folder of a sweep has all.
    """
    return key.isalnum() and len(key) == KEY_LENGTH and bool(files(key))


def files(sweep: str) -> list[Path]:
    """The files of a sweep, the oldest first."""
    return sorted(folder(sweep).glob("*.npz"))


def write(sweep: str, runs: Sequence[RunRecord]) -> Path:
    """Write runs to a new file, atomically.

    Returns:
        The file.

    Raises:
        OSError: The file cannot be written.
    """
    sweep_folder = folder(sweep)
    output_directory.create(sweep_folder)
    last = max((int(file.stem) for file in files(sweep) if file.stem.isdigit()), default=-1)
    file = sweep_folder / f"{last + 1:06}.npz"
    try:
        durable.write_file(file, to_bytes(runs))
    except OSError:
        remove_empty_folders(sweep)
        raise
    return file


def read(file: Path) -> list[RunRecord]:
    """The runs of a file.

    Raises:
        ConfigError: The file is malformed, was altered, or cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    damaged = ConfigError(f"{file} is damaged; delete it to train the runs in it again.")
    try:
        runs = from_bytes(content)
    except _MALFORMED as error:
        raise damaged from error
    if not all(map(_is_as_recorded, runs)):
        raise damaged
    return runs


def _is_as_recorded(run: RunRecord) -> bool:
    """Whether the files, metrics and tags of a run have their digests; a failed run has none."""
    if run_tags.DIGESTS not in run.tags:
        return run_tags.RESULT not in run.tags
    # The points of curves have the numbers of their epochs.
    metrics = {point.key: point.value for point in run.metrics if point.step == 0}
    return record_digests.match_values(run.tags, metrics) and record_digests.match_files(
        run.tags, run.artifacts
    )


def remove(file: Path) -> None:
    """Delete a file whose runs are in the store, and its folder if that is then empty."""
    file.unlink()
    remove_empty_folders(file.parent.name)


def remove_empty_folders(sweep: str) -> None:
    """Remove the folder of a sweep, and the one that contains it, if they hold no runs.

    A process that was killed while it wrote leaves an incomplete file.
    """
    sweep_folder = folder(sweep)
    with contextlib.suppress(OSError):
        for incomplete in sweep_folder.glob("*.new"):
            incomplete.unlink()
        sweep_folder.rmdir()
        sweep_folder.parent.rmdir()


def to_bytes(runs: Sequence[RunRecord]) -> bytes:
    """The content of a file with these runs."""
    arrays = {"runs": _byte_array(json.dumps([_to_json(run) for run in runs]).encode())}
    for index, run in enumerate(runs):
        arrays |= {f"{index}/{name}": _byte_array(text) for name, text in run.artifacts.items()}
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def from_bytes(content: bytes) -> list[RunRecord]:
    """The runs of a file, from its content.

    Raises:
        Exception: One of many types, if ``to_bytes`` did not write the content.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        records = json.loads(arrays["runs"].tobytes())
        artifacts: list[dict[str, bytes]] = [{} for _ in records]
        for key in arrays.files:
            if key != "runs":
                index, _, name = key.partition("/")
                if PurePosixPath(name).name != name or name in ("", ".."):
                    raise ValueError(f"an artifact must have a file name, got {name!r}")
                artifacts[int(index)][name] = arrays[key].tobytes()
    return [_from_json(*pair) for pair in zip(records, artifacts, strict=True)]


def _byte_array(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)


def _to_json(run: RunRecord) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in _PLAIN}
    # Hexadecimal text keeps every bit, also of infinities and NaN, which JSON does not have.
    values["metrics"] = [[m.key, float(m.value).hex(), m.step] for m in run.metrics]
    values["dataset"] = None if run.dataset is None else list(run.dataset)
    return values


def _from_json(values: Mapping[str, Any], artifacts: Mapping[str, bytes]) -> RunRecord:
    metrics = [
        MetricPoint(_string(key), float.fromhex(value), _integer(step))
        for key, value, step in values["metrics"]
    ]
    data = values["dataset"]
    return RunRecord(
        _string(values["name"]),
        _string(values["status"]),
        _integer(values["started"]),
        _integer(values["ended"]),
        _strings(values["params"]),
        _strings(values["tags"]),
        metrics,
        artifacts,
        None if data is None else DatasetInput(*map(_string, data)),
    )


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r:.100}")
    return value


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"expected an integer, got {value!r:.100}")
    return value


def _strings(values: Mapping[str, object]) -> dict[str, str]:
    return {_string(key): _string(value) for key, value in values.items()}
