"""Finds the first entry in which a stored artifact differs from what it should contain."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpexp.fields.checks import brief
from bpexp.runs import predictions_file
from bpexp.runs.ulp import max_ulp_distance
from bpexp.tracking import artifact_files
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.unreadable import unreadable_run_errors
from bpexp.typing import Array


@unreadable_run_errors()
def first(name: str, content: bytes, expected: bytes, run: StoredRun, source: str) -> str:
    """A sentence on the first entry that differs; "" for the same numbers.

    Args:
        name: The name of the artifact.
        content: Its content.
        expected: What it should contain.
        run: Its run.
        source: Where the expected content comes from, as in ``training gives``.

    Raises:
        UnreadableRunError: The content is malformed.
    """
    if content == expected:
        return ""
    parse = _parser(name)
    if parse is None:
        return _different_line(name, content, expected, source)
    stored = parse(content, f"{name} of run {run.short_id}")
    original = parse(expected, name)
    if list(stored) != list(original):
        return f"{name} was altered: it has {', '.join(stored)}, not {', '.join(original)}."
    return next(_differences(name, stored, original, source), "")


def _differences(
    name: str,
    stored: Mapping[str, NDArray[Any]],
    original: Mapping[str, NDArray[Any]],
    source: str,
) -> Iterator[str]:
    """A sentence for each array that differs, on its first different entry."""
    for key, right in original.items():
        left = stored[key]
        if left.shape != right.shape:
            yield (
                f"{name} was altered: {key} has the shape {left.shape}, but {source} {right.shape}."
            )
            continue
        if left.dtype.kind != "f" or right.dtype.kind != "f":
            for row in np.flatnonzero(left != right)[:1].tolist():
                yield (
                    f"{name} was altered: {_place(name, key, [row])} is {left[row]!r}, but "
                    f"{source} {right[row]!r}."
                )
            continue
        bits = left.view(np.uint64) != right.view(np.uint64)
        for index in np.argwhere(bits)[:1].tolist():
            before, now = left[tuple(index)], right[tuple(index)]
            ulps = max_ulp_distance([np.array([before])], [np.array([now])])
            yield (
                f"{name} was altered: {_place(name, key, index)} is {float(before)!r}, but "
                f"{source} {float(now)!r} ({ulps} ulp)."
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


def _parser(name: str) -> Parse | None:
    """Reads the arrays of an artifact; None for a text."""
    if name in predictions_file.NAMES:
        return predictions_file.read
    return _arrays if name.endswith(".npz") else None


def _different_line(name: str, content: bytes, expected: bytes, source: str) -> str:
    """A sentence on the first line of a text that differs."""
    lines, wanted = (text.decode(errors="replace").split("\n") for text in (content, expected))
    length = max(len(lines), len(wanted))
    pairs = zip(*([*text, *[""] * (length - len(text))] for text in (lines, wanted)), strict=True)
    for number, (line, original) in enumerate(pairs, start=1):
        if line != original:
            return (
                f"{name} was altered: line {number} is {brief(line)}, but {source} "
                f"{brief(original)}."
            )
    return f"{name} was altered."
