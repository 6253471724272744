"""Writes finished runs to the tracking store in the background, and spools them if that fails."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bpexp.interrupts import in_daemon_thread, result_of
from bpexp.sweeps.parent_files import ParentFiles
from bpexp.sweeps.results import SweepResults
from bpexp.tracking import spool
from bpexp.tracking.clock import now
from bpexp.tracking.contract import RunRecord, StagedRuns, Tracker
from bpexp.tracking.ids import ascending
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import Store

if TYPE_CHECKING:
    from bpexp.sweeps.resume import ReusableRuns

SECONDS_TO_OPEN = 0.5
"""How long Ctrl-C waits for a store that is being opened; MLflow takes longer to create one."""


@dataclass(frozen=True)
class TrackedSweep:
    """A sweep, or a single run, in an open store.

    Attributes:
        tracker: Writes to the store.
        store: The store.
        experiment: The name of the experiment.
        parent: The id of the sweep's parent run; None for a single run.
        files: The files of the parent run.
        stored: The results of runs that the store holds already; None if it is not searched.
        notes: What to tell the user about stored runs that are trained again.
        replaced: The ids of damaged runs of this sweep, which are trained again, and of pruned
            ones, which are trained to their ends.
        reusable: Links runs of other sweeps to jobs of further generations; None without
            ``reuse=true``.
    """

    tracker: Tracker
    store: Store
    experiment: str
    parent: str | None = None
    files: ParentFiles | None = None
    stored: SweepResults | None = None
    notes: Sequence[str] = ()
    replaced: Sequence[str] = ()
    reusable: "ReusableRuns | None" = None

    @property
    def is_single_run(self) -> bool:
        """Whether it is a single run and not a sweep."""
        return self.parent is None

    def resume_command(self, key: str) -> str:
        """The command that resumes the sweep, or stores a single run that was spooled.

        Args:
            key: The id of the sweep, or the name of the run's folder in the spool.
        """
        return self.store.resume_command(key, self.experiment)


class JobRecord(NamedTuple):
    """The record of the run of a job, with the index of the job."""

    job_index: int
    record: RunRecord


class _PendingWrite(NamedTuple):
    """A write in progress: its runs, and the future of their ids."""

    runs: Sequence[JobRecord]
    run_ids: Future[list[str]]


class RunWriter:
    """Writes the runs of one sweep, or a single run, in a background thread.

    Another one opens the store first, so that training can start meanwhile. While one group of runs
    is written, the artifacts of the next group are prepared.

    After a write has failed, all further runs are spooled, that is, written to files in
    ``outputs/spool``, so that training does not wait for the timeout of a store that does not
    respond with every group. ``close`` tries to write the spooled runs to the store again.

    A single run may be shown in the store while it is trained, see ``show``. It is then ended
    there, instead of written anew.

    Use it as a context manager, in one thread; only ``show`` may be called in another one.

    Attributes:
        run_ids: The ids of the runs that were written to the store, by the index of their job.
    """

    def __init__(self, open_store: Callable[[], TrackedSweep]) -> None:
        """Call ``open_store`` in a thread that the program does not wait for at its end."""
        self._thread = ThreadPoolExecutor(1)
        self._was_interrupted = False
        self._opening = in_daemon_thread(lambda: self._open(open_store))
        self._pending: _PendingWrite | None = None
        self._error: TrackingError | None = None
        self.run_ids: dict[int, str] = {}
        self._spooled: dict[Path, list[int]] = {}
        self._showing: Future[None] | None = None
        self._shown_id: str | None = None
        self._single_key = next(ascending())[: spool.KEY_LENGTH]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Wait until everything is written, but on Ctrl-C not until the store is open."""
        self._was_interrupted = kind is KeyboardInterrupt
        if not self._was_interrupted:
            wait([self._opening])
        self._thread.shutdown()

    def _open(self, open_store: Callable[[], TrackedSweep]) -> TrackedSweep:
        sweep = open_store()
        if self._was_interrupted and sweep.parent is not None:
            # The sweep ended while its parent run was created. In Python the process goes on, so
            # that no later command would find the run orphaned.
            ended = now()
            sweep.tracker.close_run(sweep.parent, RunRecord("", "KILLED", ended, ended))
        return sweep

    @property
    def sweep(self) -> TrackedSweep:
        """The open store. Blocks until it is open; raises the error if opening it failed."""
        return result_of(self._opening)

    @property
    def is_open(self) -> bool:
        """Whether the store has been opened. Does not block."""
        return self._opening.done() and self._opening.exception() is None

    @property
    def cannot_open(self) -> bool:
        """Whether opening the store has failed. Does not block."""
        return self._opening.done() and self._opening.exception() is not None

    def wait_for_store(self) -> None:
        """Wait until the store is open; raises the error if opening it failed."""
        result_of(self._opening)

    def wait_briefly(self) -> bool:
        """Wait ``SECONDS_TO_OPEN`` at most; returns whether the store is open or failed to open."""
        return bool(wait([self._opening], SECONDS_TO_OPEN).done)

    @property
    def n_spooled(self) -> int:
        """Number of runs in the spool."""
        return sum(len(indices) for indices in self._spooled.values())

    @property
    def spool_key(self) -> str:
        """The folder of the runs in the spool: the id of the sweep, or a name for a single run."""
        return self.sweep.parent or self._single_key

    def show(self, run: RunRecord) -> bool:
        """Show in the background what is known of a single run that is being trained.

        Errors of the store are ignored: the run is written at its end. Does not block.

        Args:
            run: Its record so far, with the status RUNNING. Its parameters and tags count when it
                is shown first, its metrics are added every time.

        Returns:
            Whether the record was taken: not while the store is being opened or the previous record
            is being written, and not if the run belongs to a sweep.
        """
        is_free = self._showing is None or self._showing.done()
        if not is_free or not self.is_open or not self.sweep.is_single_run:
            return False
        self._showing = self._thread.submit(self._show, run)
        return True

    def _show(self, run: RunRecord) -> None:
        tracker = self.sweep.tracker
        with suppress(TrackingError):
            if self._shown_id is None:
                self._shown_id = tracker.open_run(run.name, run.started, run.tags)
                tracker.add_values(self._shown_id, replace(run, tags={}))
            else:
                tracker.add_values(self._shown_id, replace(run, params={}, tags={}))

    def submit(self, runs: Sequence[JobRecord]) -> None:
        """Write runs in the background; blocks while the previous write is unfinished.

        Raises:
            TrackingError: The runs could be written neither to the store nor to the spool.
        """
        if self._showing is not None:
            # The tracker must not be used by two threads.
            result_of(self._showing)
        if self._shown_id is not None:
            (run,) = runs
            ending = self._thread.submit(self._end_shown, self._shown_id, run.record)
            self._pending = _PendingWrite(runs, ending)
            return
        staged: StagedRuns | None = None
        if self._error is None:
            try:
                staged = self.sweep.tracker.stage([run.record for run in runs], self.sweep.parent)
            except TrackingError as error:
                self._error = error
        self.flush()
        if staged is not None and self._error is None:
            self._pending = _PendingWrite(runs, self._thread.submit(staged.commit))
            return
        if staged is not None:
            staged.discard()
        self._spool(runs)

    def _end_shown(self, run_id: str, record: RunRecord) -> list[str]:
        self.sweep.tracker.close_run(run_id, record)
        return [run_id]

    def close(self) -> dict[int, str]:
        """Finish writing, and try to write the spooled runs to the store.

        Returns:
            The ids of all runs that were submitted, by the indices of their jobs.

        Raises:
            TrackingError: Some runs could not be written to the store; they stay in the spool.
        """
        self.flush()
        if self._spooled and self.sweep.is_single_run:
            # Nothing else was written meanwhile: it would fail again.
            assert self._error is not None
            raise self._error
        for file, indices in list(self._spooled.items()):
            staged = self.sweep.tracker.stage(spool.read(file), self.sweep.parent)
            self.run_ids.update(zip(indices, staged.commit(), strict=True))
            spool.remove(file)
            del self._spooled[file]
        return self.run_ids

    def flush(self) -> None:
        """Wait for the write in progress; spool the runs of it that were not written."""
        write, self._pending = self._pending, None
        if write is None:
            return
        try:
            run_ids = result_of(write.run_ids)
        except TrackingError as error:
            self._error = error
            # A tracker without transactions may have written some of the runs.
            run_ids = list(error.written) or [""] * len(write.runs)
        unwritten = []
        for run, run_id in zip(write.runs, run_ids, strict=True):
            if run_id:
                self.run_ids[run.job_index] = run_id
            else:
                unwritten.append(run)
        if unwritten:
            self._spool(unwritten)

    def _spool(self, runs: Sequence[JobRecord]) -> None:
        """Write runs to a spool file. Raises TrackingError if that fails."""
        assert self._error is not None
        try:
            file = spool.write(self.spool_key, [run.record for run in runs])
        except OSError as error:
            reason, folder = str(self._error).rstrip("."), spool.folder(self.spool_key)
            raise TrackingError(
                f"{reason}; the spool in {folder} cannot be written either ({error})."
            ) from error
        self._spooled[file] = [run.job_index for run in runs]
