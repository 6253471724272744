"""Finished runs on their way to the store; where it takes none they wait in the spool."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

from bpexp.tracking import spool
from bpexp.tracking.contract import RunRecord, StagedRuns, Tracker
from bpexp.tracking.retry import TrackingError


class Keeper:
    """Keeps the runs of one sweep, or a run without ``parent``, which is not spooled.

    ``tracker`` and ``parent`` wait for the store to be open; ``writer``, of one thread, writes to
    it. Once that has failed, all further runs are spooled until ``deliver``: a store that is away
    is not waited for again with each of them.
    """

    def __init__(
        self, tracker: Callable[[], Tracker], parent: Callable[[], str | None], writer: Executor
    ) -> None:
        self._tracker, self._parent, self._writer = tracker, parent, writer
        self._failed: TrackingError | None = None
        self._waiting: dict[Path, list[int]] = {}

    @property
    def waiting(self) -> int:
        """How many runs the spool holds."""
        return sum(len(places) for places in self._waiting.values())

    def keep(self, places: Sequence[int], runs: Sequence[RunRecord]) -> Callable[[], list[str]]:
        """Begin to; the function returned waits for it, and is to be called before long: the ids
        of runs that the store took, "" for those that wait.

        ``places`` are the runs' own in the sweep. Either raises TrackingError where neither
        store nor spool takes them.
        """
        try:
            self._check()
            batch = self._tracker().stage(runs, self._parent())
        except TrackingError as error:
            self._failed = self._failed or error
            return partial(self._spool, places, runs, error)
        writing = self._writer.submit(self._commit, batch)
        return partial(self._written, places, runs, writing)

    def _check(self) -> None:
        if self._failed is not None:
            raise TrackingError(str(self._failed))

    def _commit(self, batch: StagedRuns) -> list[str]:
        if self._failed is not None:
            batch.discard()
        self._check()
        try:
            return batch.commit()
        except TrackingError as error:
            self._failed = error
            raise

    def _written(
        self, places: Sequence[int], runs: Sequence[RunRecord], writing: Future[list[str]]
    ) -> list[str]:
        try:
            return writing.result()
        except TrackingError as error:
            return self._spool(places, runs, error)

    def _spool(
        self, places: Sequence[int], runs: Sequence[RunRecord], refusal: TrackingError
    ) -> list[str]:
        """Keep what the store did not take of ``runs``."""
        parent = self._parent()
        if parent is None:
            raise refusal
        written = list(refusal.written) or [""] * len(runs)
        left = [at for at, run_id in enumerate(written) if not run_id]
        if left:
            try:
                file = spool.write(parent, [runs[at] for at in left])
            except OSError as error:
                why = f"it could not be kept in {spool.folder(parent)} either ({error})"
                raise TrackingError(f"{str(refusal).rstrip('.')}; {why}.") from error
            self._waiting[file] = [places[at] for at in left]
        return written

    def deliver(self) -> Iterator[tuple[int, str]]:
        """Each run that waited, by place and id, once the store has it. Raises TrackingError."""
        for file, places in list(self._waiting.items()):
            ids = self._tracker().stage(spool.read(file), self._parent()).commit()
            spool.remove(file)
            del self._waiting[file]
            yield from zip(places, ids, strict=True)
