"""Finished runs that the store did not take, as files until it does.

A file is an NPZ archive of bytes, read without pickle: ``runs``, a JSON list of records without
their artifacts, and for each artifact ``<place in the list>/<name>``.
"""

import contextlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bpexp.fields.checks import ConfigError
from bpexp.tracking import output_directory
from bpexp.tracking.contract import DatasetInput, Metric, RunRecord

_PLAIN = [f.name for f in fields(RunRecord) if f.name not in ("metrics", "artifacts", "dataset")]


def folder(sweep: str) -> Path:
    """Where the runs of a sweep wait, seen from the folder that the program is started in."""
    if not sweep.isalnum():
        raise ConfigError(f"SWEEP must have an id of letters and digits, got {sweep!r}.")
    return Path("outputs") / "spool" / sweep


def files(sweep: str) -> list[Path]:
    """What waits of a sweep, in the order in which it came."""
    return sorted(folder(sweep).glob("*.npz"))


def write(sweep: str, runs: Sequence[RunRecord]) -> Path:
    """Keep runs as one file, there whole or not at all. Raises OSError."""
    place = folder(sweep)
    output_directory.make(place)
    last = max((int(file.stem) for file in files(sweep) if file.stem.isdigit()), default=-1)
    file = place / f"{last + 1:06}.npz"
    growing = file.with_suffix(".new")
    try:
        with open(growing, "wb") as out:
            out.write(to_bytes(runs))
            out.flush()
            os.fsync(out.fileno())
        growing.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            growing.unlink(missing_ok=True)
        tidy(sweep)
        raise
    return file


def read(file: Path) -> list[RunRecord]:
    """The runs of a file. Raises ConfigError where it is not one that ``write`` left."""
    try:
        return from_bytes(file.read_bytes())
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, EOFError,
            MemoryError, NotImplementedError, RecursionError, struct.error, zlib.error,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise ConfigError(
            f"{file} must hold finished runs, got a broken file; without it they are trained again."
        ) from error


def remove(file: Path) -> None:
    """Forget a file whose runs the store has, and the folders that are empty without it."""
    file.unlink()
    tidy(file.parent.name)


def tidy(sweep: str) -> None:
    """Remove the sweep's folder and the spool's, as far as they are empty."""
    place = folder(sweep)
    with contextlib.suppress(OSError):
        place.rmdir()
        place.parent.rmdir()


def to_bytes(runs: Sequence[RunRecord]) -> bytes:
    """The content of a file."""
    arrays = {"runs": _packed(json.dumps([_plain(run) for run in runs]).encode())}
    for place, run in enumerate(runs):
        arrays |= {f"{place}/{name}": _packed(text) for name, text in run.artifacts.items()}
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def from_bytes(content: bytes) -> list[RunRecord]:
    """The runs again. Raises ValueError and others for what ``to_bytes`` did not make."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        about = json.loads(arrays["runs"].tobytes())
        artifacts: list[dict[str, bytes]] = [{} for _ in about]
        for key in arrays.files:
            if key != "runs":
                place, _, name = key.partition("/")
                if PurePosixPath(name).name != name or name in ("", ".."):
                    raise ValueError(f"an artifact must have a plain name, got {name!r}")
                artifacts[int(place)][name] = arrays[key].tobytes()
    return [_record(one, its) for one, its in zip(about, artifacts, strict=True)]


def _packed(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)


def _plain(run: RunRecord) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in _PLAIN}
    # Numbers as text that reads back to the bit, infinities and NaN included.
    values["metrics"] = [[m.key, float(m.value).hex(), m.step] for m in run.metrics]
    values["dataset"] = None if run.dataset is None else list(run.dataset)
    return values


def _record(values: Mapping[str, Any], artifacts: Mapping[str, bytes]) -> RunRecord:
    metrics = [
        Metric(_text(key), float.fromhex(value), _whole(step))
        for key, value, step in values["metrics"]
    ]
    data = values["dataset"]
    return RunRecord(
        _text(values["name"]),
        _text(values["status"]),
        _whole(values["started"]),
        _whole(values["ended"]),
        _texts(values["params"]),
        _texts(values["tags"]),
        metrics,
        artifacts,
        None if data is None else DatasetInput(*map(_text, data)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, got {value!r:.100}")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"a whole number is needed, got {value!r:.100}")
    return value


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}
