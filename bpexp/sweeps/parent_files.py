"""Writes the files of the parent run of a sweep together with their digests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from bpexp.runs import record_digests, run_tags
from bpexp.tracking.archive import Archive
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.reading import StoredRun


class ParentFiles:
    """The files of a parent run, with their digests in its tag ``run_tags.DIGESTS``.

    A process may be killed between the tag and the file. Therefore a file that is replaced has its
    old and its new digest meanwhile, and one that is new gets its digest afterwards.

    Args:
        tracker: Writes to the store.
        run_id: The id of the parent run.
        digests: The digests that its tag has already, by the name of the file.
    """

    def __init__(
        self, tracker: Tracker, run_id: str, digests: Mapping[str, str] | None = None
    ) -> None:
        self._tracker, self._run_id = tracker, run_id
        self._digests = dict(digests or {})

    @classmethod
    def of_stored(cls, tracker: Tracker, sweep: StoredRun, archive: Archive) -> Self:
        """The files of a stored sweep, without the digests of files that were deleted."""
        recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
        existing = archive.files(sweep).keys()
        kept = {name: str(digest) for name, digest in recorded.items() if name in existing}
        return cls(tracker, sweep.run_id, kept)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files, given by their names; those that exist are replaced.

        Raises:
            TrackingError: They could not be written.
        """
        digests = self._announced(files)
        self._tracker.add_files(self._run_id, files)
        self._set(digests)

    def close(self, record: RunRecord) -> None:
        """End the run with a record, which has further files; see ``Tracker.close_run``."""
        self._digests = self._announced(record.artifacts)
        of_tags = {record_digests.TAGS_KEY: record_digests.of_summary_tags(record.tags)}
        digests = {**self._digests, **of_tags}
        tags = {**record.tags, run_tags.DIGESTS: record_digests.as_tag(digests)}
        self._tracker.close_run(self._run_id, replace(record, tags=tags))

    def _announced(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """The digests once some files are written; until then, the tag has the old ones, too."""
        new = {name: record_digests.of_sweep_file(name, files[name]) for name in files}
        both = {name: f"{self._digests[name]} {new[name]}" for name in self._digests.keys() & new}
        if both:
            self._set({**self._digests, **both})
        return {**self._digests, **new}

    def _set(self, digests: dict[str, str]) -> None:
        tags = {run_tags.DIGESTS: record_digests.as_tag(digests)}
        self._tracker.update_run(self._run_id, tags)
        self._digests = digests
