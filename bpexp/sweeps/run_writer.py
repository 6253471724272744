"""Writes finished runs to the tracking store in the background; spools them where it fails."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bpexp.sweeps.results import SweepResults
from bpexp.tracking import spool
from bpexp.tracking.contract import RunRecord, StagedRuns, Tracker
from bpexp.tracking.retry import TrackingError


@dataclass(frozen=True)
class TrackedSweep:
    """A sweep, or a single run, in an open store.

    Attributes:
        tracker: Writes to the store.
        parent: The id of the sweep's parent run; None for a single run.
        resume_command: What the user types to finish the sweep if it is cut short.
        stored: The results of runs that the store holds already.
        notes: What to tell the user about stored runs that are trained again.
        replaced: The ids of damaged runs of this sweep, which are trained again.
    """

    tracker: Tracker
    parent: str | None = None
    resume_command: str = ""
    stored: SweepResults = field(default_factory=SweepResults)
    notes: Sequence[str] = ()
    replaced: Sequence[str] = ()


@dataclass(frozen=True)
class _Write:
    """Runs whose write is under way: their indices, their records and the ids to come."""

    indices: Sequence[int]
    records: Sequence[RunRecord]
    run_ids: Future[list[str]]


class RunWriter:
    """Writes the runs of one sweep, or a single run, in a thread of its own.

    The thread opens the store first, so that training can start meanwhile. While one group of runs
    is written, the artifacts of the next are prepared. After a write has failed, all further runs
    are spooled, files in ``outputs/spool`` that ``close`` offers to the store once more: a store
    that is away would otherwise be waited for with every group. A single run is not spooled.

    Use it as a context manager, in one thread.

    Attributes:
        run_ids: The ids of the runs that the store has taken, by the index of their job.
    """

    def __init__(self, open_store: Callable[[], TrackedSweep]) -> None:
        """Start to open the store."""
        self._thread = ThreadPoolExecutor(1)
        self._opening = self._thread.submit(open_store)
        self._under_way: _Write | None = None
        self._error: TrackingError | None = None
        self.run_ids: dict[int, str] = {}
        self._spooled: dict[Path, list[int]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Wait for the thread to end."""
        self._thread.shutdown()

    @property
    def sweep(self) -> TrackedSweep:
        """The open store; blocks until it is open, and raises what opening it raised."""
        return self._opening.result()

    @property
    def is_open(self) -> bool:
        """Whether the store was opened, as far as is known without waiting for it."""
        return self._opening.done() and self._opening.exception() is None

    @property
    def n_spooled(self) -> int:
        """How many runs wait in the spool."""
        return sum(len(indices) for indices in self._spooled.values())

    def submit(self, indices: Sequence[int], records: Sequence[RunRecord]) -> None:
        """Write runs in the background; blocks while the previous write is unfinished.

        Args:
            indices: The indices of the jobs.
            records: Their records, in the same order.

        Raises:
            TrackingError: Neither the store nor the spool takes runs.
        """
        staged: StagedRuns | None = None
        if self._error is None:
            try:
                staged = self.sweep.tracker.stage(records, self.sweep.parent)
            except TrackingError as error:
                self._error = error
        self.flush()
        if staged is not None and self._error is None:
            self._under_way = _Write(indices, records, self._thread.submit(self._commit, staged))
            return
        if staged is not None:
            staged.discard()
        self._spool(indices, records)

    def close(self) -> dict[int, str]:
        """Finish writing; offer what was spooled to the store once more.

        Returns:
            The ids of all runs that were submitted, by the indices of their jobs.

        Raises:
            TrackingError: The store does not take some runs, which stay in the spool.
        """
        self.flush()
        for file, indices in list(self._spooled.items()):
            staged = self.sweep.tracker.stage(spool.read(file), self.sweep.parent)
            self.run_ids.update(zip(indices, staged.commit(), strict=True))
            spool.remove(file)
            del self._spooled[file]
        return self.run_ids

    def _commit(self, staged: StagedRuns) -> list[str]:
        """Write to the store; runs in the thread."""
        return staged.commit()

    def flush(self) -> None:
        """Wait for the write that is under way; spool what the store did not take of it."""
        write, self._under_way = self._under_way, None
        if write is None:
            return
        try:
            run_ids = write.run_ids.result()
        except TrackingError as error:
            self._error = error
            # A tracker without transactions may have written some of the runs.
            run_ids = list(error.written) or [""] * len(write.records)
        pairs = list(zip(write.indices, run_ids, strict=True))
        self.run_ids |= {index: run_id for index, run_id in pairs if run_id}
        left = [place for place, (_, run_id) in enumerate(pairs) if not run_id]
        if left:
            self._spool([write.indices[p] for p in left], [write.records[p] for p in left])

    def _spool(self, indices: Sequence[int], records: Sequence[RunRecord]) -> None:
        """Keep runs in a file. Raises TrackingError where that fails or no spool is used."""
        assert self._error is not None
        parent = self.sweep.parent
        if parent is None:
            raise self._error
        try:
            file = spool.write(parent, records)
        except OSError as error:
            reason = str(self._error).rstrip(".")
            raise TrackingError(
                f"{reason}; the spool in {spool.folder(parent)} cannot be written either ({error})."
            ) from error
        self._spooled[file] = list(indices)
