"""Reads the logged points of the loss curves of many runs together.

A query takes longer than its answer, so that a page of runs is read with one query per curve.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from bpexp.tracking.reading import Point, RunReader, StoredRun

CURVES = ("loss", "validation_loss")
"""The metrics that are logged at many epochs."""
PAGE_SIZE = 100
"""Runs that are read together: their points take a few megabytes."""

Curves = Mapping[str, Sequence[Point]]
"""The logged points of a run, in ascending order of their steps, by metric."""


def of_runs(reader: RunReader, runs: Sequence[StoredRun]) -> list[Curves]:
    """The curves of each of some runs; those that it does not have are left out.

    Args:
        reader: Reads the store.
        runs: The runs with their metrics; at most ``PAGE_SIZE`` should be read together.
    """
    found = {
        name: reader.history([run.run_id for run in runs if name in run.metrics], name)
        for name in CURVES
    }
    return [
        {name: points[run.run_id] for name, points in found.items() if run.run_id in points}
        for run in runs
    ]


def pages(reader: RunReader, runs: Iterable[StoredRun]) -> Iterator[list[tuple[StoredRun, Curves]]]:
    """Runs with their curves, page by page; only one page is in memory."""
    remaining = iter(runs)
    while page := list(islice(remaining, PAGE_SIZE)):
        yield list(zip(page, of_runs(reader, page), strict=True))
