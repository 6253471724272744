"""Checks what the parent run of a sweep has stored: files by digests, its runs by its table."""

import csv
import io
from collections.abc import Collection, Sequence

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted, listed_briefly
from bpexp.runs import record_digests, run_tags
from bpexp.tracking.archive import Archive
from bpexp.tracking.ids import short
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.unreadable import UnreadableRunError

_ADVICE = {
    "plan.jsonl.gz": "restore it from a backup, or start the sweep again with reuse=true, which "
    "links the runs that are stored",
    **dict.fromkeys(
        ("config.yaml", "environment.json", "git.diff"),
        "restore it from a backup, or delete it and type bpexp resume {sweep} to go on without it",
    ),
}
"""What to do about a file that a sweep has from its start."""
_WRITTEN_AGAIN = "bpexp resume {sweep} writes it again"
"""The same about a file that it gets at its end."""


class AlteredFileError(ConfigError):
    """A file of the parent run of a sweep does not match its digest."""


def file_problems(sweep: StoredRun, archive: Archive) -> list[str]:
    """How files of the parent run of a sweep contradict their digests, such as plan and tables.

    Args:
        sweep: The parent run.
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
            found.append(f"{str(error).rstrip('.')}; {_advice(sweep, name)}.")
        else:
            if not is_recorded(sweep, archive, name, content):
                found.append(f"{name} {_altered(sweep, name)}")
    return found


def checked_file(sweep: StoredRun, archive: Archive, name: str) -> bytes | None:
    """The content of a file of the parent run of a sweep; None if it does not have the file.

    Raises:
        AlteredFileError: The file does not match its digest.
        ConfigError: It cannot be read.
    """
    content = archive.file_if_any(sweep, name)
    if content is not None:
        check_file(sweep, archive, name, content)
    return content


def check_file(sweep: StoredRun, archive: Archive, name: str, content: bytes) -> None:
    """Raise AlteredFileError if a file of the parent run of a sweep does not match its digest."""
    if not is_recorded(sweep, archive, name, content):
        raise AlteredFileError(f"{name} of {sweep.label} {_altered(sweep, name)}")


def is_recorded(sweep: StoredRun, archive: Archive, name: str, content: bytes) -> bool:
    """Whether a file of the parent run of a sweep has no digest, or this content."""
    found = record_digests.of_sweep_file(name, content)
    if found in _digests(sweep, name, found):
        return True
    # A sweep that goes on may have replaced the file since the run was read.
    current = archive.get(sweep.run_id)
    return current is not None and found in _digests(current, name, found)


def _digests(sweep: StoredRun, name: str, default: str) -> list[str]:
    """The digests that a file may have: several while it is replaced."""
    recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
    return str(recorded.get(name, default)).split()


def _altered(sweep: StoredRun, name: str) -> str:
    return f"was altered: it does not match its digest; {_advice(sweep, name)}."


def _advice(sweep: StoredRun, name: str) -> str:
    return _ADVICE.get(name, _WRITTEN_AGAIN).format(sweep=sweep.short_id)


def table_rows(sweep: StoredRun, archive: Archive) -> list[tuple[str, str]]:
    """The name and the id of each run in the table of a sweep; the id is "" if it is not tracked.

    Without a table, as of a sweep that has not ended, there are none.

    Raises:
        ConfigError: The table was altered.
    """
    # Not the Parquet file: pandas takes longer to import than the runs of a small sweep to check.
    content = checked_file(sweep, archive, "results.csv") or b""
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
    return (
        f"{counted(len(missing), 'run')} of results.csv {'is' if len(missing) == 1 else 'are'} "
        f"deleted, or moved to another sweep: {listed_briefly(missing)}."
    )
