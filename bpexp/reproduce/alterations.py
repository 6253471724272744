"""Finds what was altered in a stored run, by comparing it with the run trained again.

Use it where the digest of the new result equals the stored one, so that the new result is the
original: then every artifact and metric that differs from it was altered.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.fields.checks import ConfigError
from bpexp.reproduce.compare import max_ulp_distance
from bpexp.runs import predictions_file
from bpexp.runs.result import TrainResult
from bpexp.runs.run_tags import RESULT
from bpexp.sweeps import integrity
from bpexp.sweeps.job import Job
from bpexp.sweeps.run_record import result_artifacts
from bpexp.tracking import artifact_files
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.stored_results import result_of
from bpexp.typing import Array


def alterations(run: StoredRun, archive: Archive, job: Job, result: TrainResult) -> list[str]:
    """What was altered in a stored run.

    Args:
        run: The run.
        archive: Where it is stored.
        job: Its configuration and data.
        result: Its original result.

    Returns:
        A sentence for each artifact and metric that is missing, damaged or altered; it names the
        first entry that differs.
    """
    expected = result_artifacts(result, job.dataset)
    found = [integrity.config_problem(run, job.config, archive)]
    files = [_file_problem(run, archive, name, content) for name, content in expected.items()]
    # Only altered artifacts are read a second time.
    swapped = _swapped(run, archive) if any(files) else ""
    found += [swapped] if swapped else files
    found += integrity.metric_problems(run, archive, result, result.metrics)
    return [sentence for sentence in found if sentence]


def _swapped(run: StoredRun, archive: Archive) -> str:
    try:
        digest = result_of(run, archive).digest
    except TrackingError:
        raise
    except ConfigError:
        return ""
    is_own = digest == run.tags.get(RESULT)
    return "" if is_own else integrity.swapped(run, digest, archive)


def _file_problem(run: StoredRun, archive: Archive, name: str, expected: bytes) -> str:
    """How an artifact differs from its expected content; "" for the same numbers."""
    try:
        content = archive.file(run, name)
        if content == expected:
            return ""
        parse = _PARSERS[name.rpartition(".")[2]]
        stored = parse(content, f"{name} of run {run.run_id[:8]}")
    except TrackingError:
        raise
    except ConfigError as error:
        return str(error)
    original = parse(expected, name)
    if list(stored) != list(original):
        return f"{name} was altered: it has {', '.join(stored)}, not {', '.join(original)}."
    return next(_differences(name, stored, original), "")


def _differences(
    name: str, stored: Mapping[str, NDArray[Any]], original: Mapping[str, NDArray[Any]]
) -> Iterator[str]:
    """A sentence for each array that differs, on its first different entry."""
    for key, right in original.items():
        left = stored[key]
        if left.shape != right.shape:
            yield (
                f"{name} was altered: {key} has the shape {left.shape}, but training gives "
                f"{right.shape}."
            )
            continue
        if left.dtype.kind != "f" or right.dtype.kind != "f":
            for row in np.flatnonzero(left != right)[:1].tolist():
                yield (
                    f"{name} was altered: {_place(name, key, [row])} is {left[row]!r}, but "
                    f"training gives {right[row]!r}."
                )
            continue
        bits = left.view(np.uint64) != right.view(np.uint64)
        for index in np.argwhere(bits)[:1].tolist():
            before, now = left[tuple(index)], right[tuple(index)]
            ulps = max_ulp_distance([np.array([before])], [np.array([now])])
            yield (
                f"{name} was altered: {_place(name, key, index)} is {float(before)!r}, but "
                f"training gives {float(now)!r} ({ulps} ulp)."
            )


def _place(name: str, key: str, index: list[int]) -> str:
    """The name of an entry of an array, as users know it."""
    if name == "losses.npz":
        return f"the loss of epoch {index[0] + 1}"
    if name in predictions_file.NAMES:
        return f"{key!r} of row {index[0] + 1}"
    return f"{key}{index}"


def _arrays(content: bytes, name: str) -> dict[str, Array]:
    found = artifact_files.arrays(content, name)
    return {key: np.ascontiguousarray(array) for key, array in found.items()}


Parse = Callable[[bytes, str], dict[str, NDArray[Any]]]
_PARSERS: dict[str, Parse] = {
    "npz": _arrays, "csv": predictions_file.read, "parquet": predictions_file.read,
}  # fmt: skip
