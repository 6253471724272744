"""Checks what the parent run of a sweep has stored: files and tags, and its runs by the table."""

import csv
import io
from collections.abc import Collection, Sequence

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted, listed_briefly
from bpexp.runs import file_names, record_digests, run_tags
from bpexp.tracking.archive import Archive
from bpexp.tracking.ids import short
from bpexp.tracking.reading import NO_PARTS, Parts, Query, StoredRun
from bpexp.tracking.unreadable import UnreadableRunError

_ADVICE = {
    file_names.PLAN: "restore it from a backup, or start the sweep again with reuse=true, which "
    "links the runs that are stored",
    **dict.fromkeys(
        ("config.yaml", "environment.json", "git.diff"),
        "restore it from a backup, or {delete}type bpexp resume {sweep} to go on without it",
    ),
}
"""What to do about a file that a sweep has from its start."""
_WRITTEN_AGAIN = "bpexp resume {sweep} writes it again"
"""The same about a file that it gets at its end."""


TO_CHECK = Parts(
    params=(), tags=(run_tags.DIGESTS, *record_digests.SUMMARY_TAGS), metrics=(), data=False
)
"""What the checks of this module need of the parent run of a sweep."""


class AlteredFileError(ConfigError):
    """A file of the parent run of a sweep does not match its digest."""


def file_problems(sweep: StoredRun, archive: Archive) -> list[str]:
    """How files of the parent run of a sweep contradict their digests, such as plan and tables.

    Args:
        sweep: The parent run.
        archive: Where it is stored.

    Returns:
        A sentence for each file that is missing or was altered, and on the tags.
    """
    problem = tags_problem(sweep)
    found = [problem] if problem else []
    recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
    for name in record_digests.file_names(recorded):
        try:
            content = archive.file(sweep, name)
        except UnreadableRunError as error:
            advice = _advice(sweep, name, is_missing=name not in archive.files(sweep))
            found.append(f"{str(error).rstrip('.')}; {advice}.")
        else:
            if not is_recorded(sweep, archive, name, content):
                found.append(f"{name} {_altered(sweep, name)}")
    return found


def tags_problem(sweep: StoredRun) -> str:
    """A sentence if tags of the parent run of a sweep do not match their digest; "" if they do.

    These are the tags that it gets at its end, and that with the digests itself. The tag with the
    kind has no digest, but only one value.
    """
    kind = sweep.tags.get(run_tags.KIND, "")
    if kind != run_tags.SWEEP_KIND:
        return (
            f"The tag {run_tags.KIND} was altered: it is {kind!r}, but the run is a sweep; bpexp "
            f"resume {sweep.short_id} writes it again."
        )
    recorded = record_digests.parse(sweep.tags.get(run_tags.DIGESTS, ""))
    if _lacks_digests(sweep):
        return f"{record_digests.DAMAGED}; {_advice(sweep, file_names.PLAN)}."
    found = record_digests.of_summary_tags(sweep.tags)
    if recorded.get(record_digests.TAGS_KEY, found) == found:
        return ""
    return (
        f"The tag {run_tags.BEST_RUN}, {run_tags.OBJECTIVE} or {run_tags.VERDICT} was altered; "
        f"bpexp resume {sweep.short_id} writes them again."
    )


def check_tags(sweep: StoredRun) -> None:
    """Raise AlteredFileError if tags of the parent run of a sweep do not match their digest."""
    problem = tags_problem(sweep)
    if problem:
        raise AlteredFileError(f"{sweep.label} is altered: {problem}")


def _lacks_digests(sweep: StoredRun) -> bool:
    """Whether the digests of files were deleted or damaged: a sweep that has ended has some."""
    value = sweep.tags.get(run_tags.DIGESTS)
    return sweep.status == "FINISHED" if value is None else not record_digests.parse(value)


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
    if _lacks_digests(sweep):
        check_tags(sweep)
    if not is_recorded(sweep, archive, name, content):
        raise AlteredFileError(f"{name} of {sweep.label} {_altered(sweep, name)}")


def is_recorded(sweep: StoredRun, archive: Archive, name: str, content: bytes) -> bool:
    """Whether a file of the parent run of a sweep has no digest, or this content.

    False if the digests of a sweep that has ended were deleted or damaged.
    """
    if _lacks_digests(sweep):
        return False
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


def _advice(sweep: StoredRun, name: str, *, is_missing: bool = False) -> str:
    delete = "" if is_missing else "delete it and "
    return _ADVICE.get(name, _WRITTEN_AGAIN).format(sweep=sweep.short_id, delete=delete)


def table_rows(sweep: StoredRun, archive: Archive) -> list[tuple[str, str]]:
    """The name and the id of each run in the table of a sweep; the id is "" if it is not tracked.

    Without a table, as of a sweep that has not ended, there are none.

    Raises:
        ConfigError: The table was altered.
    """
    # Not the Parquet file: pandas takes longer to import than the runs of a small sweep to check.
    content = checked_file(sweep, archive, file_names.RESULTS_CSV) or b""
    table = csv.DictReader(io.StringIO(content.decode(errors="replace")))
    return [(row.get("name") or "", row.get("run_id") or "") for row in table]


def are_untracked(rows: Sequence[tuple[str, str]]) -> bool:
    """Whether the runs of a sweep are in its table only (``tracking.runs=false``)."""
    return bool(rows) and not any(run_id for _, run_id in rows)


def best_run(sweep: StoredRun, archive: Archive) -> StoredRun:
    """The best run of a sweep; a run that is not a sweep itself.

    Raises:
        ConfigError: No run of the sweep has finished, its runs are not ranked together, its tags
            were altered, or its best run is not in the sweep any more.
    """
    if not sweep.is_sweep:
        return sweep
    check_tags(sweep)
    best = sweep.tags.get(run_tags.BEST_RUN, "none")
    if best == "none":
        raise ConfigError(f"RUN must be a sweep with a run that finished, got {sweep.name!r}.")
    if best == run_tags.SEVERAL:
        raise ConfigError(
            f"RUN must be a single run, because those of {sweep.name!r} are on different data or "
            "have different losses, and are not ranked together; bpexp runs lists them."
        )
    run = archive.get(best)
    if run is None or not _has_run(sweep, run, archive):
        raise ConfigError(
            f"The best run of {sweep.label}, {short(best)}, is deleted, moved to another sweep or "
            f"altered; bpexp resume {sweep.short_id} trains it again, or type another run."
        )
    return run


def _has_run(sweep: StoredRun, run: StoredRun, archive: Archive) -> bool:
    """Whether an active finished run belongs to a sweep, or is linked to it."""
    # By a tag that few runs share: a sweep may have many runs.
    tags = {run_tags.RESULT: run.tags.get(run_tags.RESULT, "")}
    query = Query(statuses=["FINISHED"], sweep=sweep.run_id, tags=tags)
    return any(found.run_id == run.run_id for found in archive.search(query, NO_PARTS))


def added_runs(
    sweep: StoredRun, rows: Sequence[tuple[str, str]], own: Collection[StoredRun]
) -> str:
    """A sentence on finished runs of a sweep that are not in its table; "" if there are none.

    Somebody moved them into it from another sweep, or restored a run that was replaced.

    Args:
        sweep: The parent run.
        rows: The result of ``table_rows``.
        own: The finished runs of the sweep, without those that are linked to it.
    """
    if sweep.status != "FINISHED" or not rows:
        return ""
    listed_ids = {run_id for _, run_id in rows}
    added = [run.label for run in own if run.run_id not in listed_ids]
    if not added:
        return ""
    are, them = ("is", "it") if len(added) == 1 else ("are", "them")
    return (
        f"{counted(len(added), 'run')} of the sweep {are} not in {file_names.RESULTS_CSV}: "
        f"{listed_briefly(added)}; "
        f"somebody moved {them} here, or restored a run that was replaced."
    )


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
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{counted(len(missing), 'run')} of {file_names.RESULTS_CSV} {are} "
        f"deleted, or moved to another sweep: {listed_briefly(missing)}."
    )
