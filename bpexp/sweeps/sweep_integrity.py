"""Checks what the parent run of a sweep has stored: files by digests, its runs by its table."""

import csv
import io
from collections.abc import Collection, Sequence

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted, listed
from bpexp.runs import record_digests, run_tags
from bpexp.tracking.archive import Archive
from bpexp.tracking.ids import short
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.unreadable import UnreadableRunError

_MAX_NAMED = 5
"""Missing runs that are named."""


def file_problems(sweep: StoredRun, archive: Archive) -> list[str]:
    """How files of the parent run of a sweep, such as its tables, contradict their digests.

    Args:
        sweep: The parent run; it has digests once the sweep has ended.
        archive: Where it is stored.

    Returns:
        A sentence for each file that is missing or was altered.
    """
    recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
    found = []
    for name in record_digests.file_names(recorded):
        try:
            content = archive.file(sweep, name)
        except UnreadableRunError as error:
            found.append(str(error))
        else:
            if _is_altered(sweep, name, content):
                found.append(f"{name} was altered: it does not match its digest.")
    return found


def checked_file(sweep: StoredRun, archive: Archive, name: str) -> bytes | None:
    """The content of a file of the parent run of a sweep; None if it does not have the file.

    Raises:
        ConfigError: The file does not match its digest, or cannot be read.
    """
    content = archive.file_if_any(sweep, name)
    if content is not None and _is_altered(sweep, name, content):
        raise ConfigError(
            f"{name} of {sweep.label} was altered: it does not match its digest; bpexp resume "
            f"{sweep.short_id} writes it again."
        )
    return content


def _is_altered(sweep: StoredRun, name: str, content: bytes) -> bool:
    """Whether a file has a digest, and another content."""
    recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
    return name in recorded and record_digests.of_file(sweep.tags, name, content) != recorded[name]


def table_rows(sweep: StoredRun, archive: Archive) -> list[tuple[str, str]]:
    """The name and the id of each run in the table of a sweep; the id is "" if it is not tracked.

    Without a table, as of a sweep that has not ended, there are none.
    """
    # Not the Parquet file: pandas takes longer to import than the runs of a small sweep to check.
    content = archive.file_if_any(sweep, "results.csv") or b""
    table = csv.DictReader(io.StringIO(content.decode(errors="replace")))
    return [(row.get("name") or "", row.get("run_id") or "") for row in table]


def are_untracked(rows: Sequence[tuple[str, str]]) -> bool:
    """Whether the runs of a sweep are in its table only (``tracking.runs=false``)."""
    return bool(rows) and not any(run_id for _, run_id in rows)


def missing_runs(rows: Sequence[tuple[str, str]], stored: Collection[str]) -> str:
    """A sentence on the runs of the table of a sweep that it has no more; "" if it has them.

    Args:
        rows: The result of ``table_rows``.
        stored: The ids of the runs of the sweep.
    """
    missing = [
        f"{name} ({short(run_id)})" for name, run_id in rows if run_id and run_id not in stored
    ]
    if not missing:
        return ""
    named = [*missing[:_MAX_NAMED], *(["others"] if len(missing) > _MAX_NAMED else [])]
    return (
        f"{counted(len(missing), 'run')} of results.csv {'is' if len(missing) == 1 else 'are'} "
        f"deleted, or moved to another sweep: {listed(named)}."
    )
