"""Finished runs on their way to the store; where it takes none they wait in the spool."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bpexp.tracking import spool
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.patience import TrackingError


class Keeper:
    """Keeps the runs of one sweep, or a run without ``parent``, which is not spooled.

    ``tracker`` gives the way to the store. Once that has failed, all further runs are spooled
    until ``deliver``: a store that is away is not waited for again with each of them.
    """

    def __init__(self, tracker: Callable[[], Tracker], parent: str | None) -> None:
        self._tracker, self._parent = tracker, parent
        self._waiting: dict[Path, list[int]] = {}

    @property
    def waiting(self) -> int:
        """How many runs the spool holds."""
        return sum(len(places) for places in self._waiting.values())

    def keep(self, places: Sequence[int], runs: Sequence[RunRecord]) -> list[str]:
        """The ids of runs that the store took, "" for those that wait.

        ``places`` are the runs' own in the sweep. Raises TrackingError where neither takes them.
        """
        written, said = [""] * len(runs), ""
        if not self._waiting:
            try:
                return self._tracker().record_many(runs, self._parent)
            except TrackingError as error:
                if self._parent is None:
                    raise
                written, said = list(error.written) or written, str(error)
        left = [at for at, run_id in enumerate(written) if not run_id]
        if self._parent is not None and left:
            try:
                file = spool.write(self._parent, [runs[at] for at in left])
            except OSError as error:
                why = f"it could not be kept in {spool.folder(self._parent)} either ({error})"
                raise TrackingError(f"{said.rstrip('.') or 'A result came'}; {why}.") from error
            self._waiting[file] = [places[at] for at in left]
        return written

    def deliver(self) -> Iterator[tuple[int, str]]:
        """Each run that waited, by place and id, once the store has it. Raises TrackingError."""
        for file, places in list(self._waiting.items()):
            ids = self._tracker().record_many(spool.read(file), self._parent)
            spool.remove(file)
            del self._waiting[file]
            yield from zip(places, ids, strict=True)
