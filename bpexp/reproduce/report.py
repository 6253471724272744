"""Selects the runs to reproduce, reports the findings, and chooses the exit status."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.reproduce.verify import (
    Finding,
    Verdict,
    check_stored,
    check_sweeps,
    environment_changes,
    verify,
)
from bpexp.sweeps import sweep_integrity
from bpexp.sweeps.integrity import status_problem
from bpexp.sweeps.sweep_integrity import AlteredFileError
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import FINISHED, NO_PARTS, UNFINISHED, Query, StoredRun

MAX_LISTED = 20
"""Runs of each finding that are described; the others are only counted."""


def select_runs(archive: Archive, named: Sequence[StoredRun]) -> Iterator[tuple[str | None, str]]:
    """The id of the sweep and that of the run of each finished run that a user means.

    Args:
        archive: The experiment.
        named: Runs of it; a sweep stands for its finished runs. Empty for all finished runs of the
            experiment.

    Raises:
        ConfigError: A run has not finished. One that has a result, but another status, is left
            out, see ``_of_altered_status``.
    """
    for run in named:
        if not run.is_sweep and run.status != "FINISHED" and not status_problem(run):
            raise ConfigError(f"RUN must have finished, got {run.label}, which is {run.status}.")
    search = partial(archive.reader.search, archive.experiment_id, parts=NO_PARTS)
    if not named:
        yield from ((run.parent, run.run_id) for run in search(FINISHED))
    seen: set[str] = set()
    for run in named:
        for child in search(replace(FINISHED, sweep=run.run_id)) if run.is_sweep else [run]:
            if child.run_id not in seen and child.status == "FINISHED":
                seen.add(child.run_id)
                yield child.parent, child.run_id


def _of_altered_status(archive: Archive, named: Sequence[StoredRun]) -> list[Verdict]:
    """Verdicts on single runs that have a result, but not the status of a finished run.

    Those of a sweep are part of the verdict on the sweep.

    Args:
        archive: The experiment.
        named: As for ``select_runs``.
    """
    runs: Iterable[StoredRun] = named
    if not named:
        unfinished = archive.search(Query(statuses=UNFINISHED, are_sweeps=False), NO_PARTS)
        runs = (run for run in unfinished if not run.parent)
    problems = ((run, status_problem(run)) for run in runs if not run.is_sweep)
    return [Verdict(run, Finding.ALTERED, problem) for run, problem in problems if problem]


def reproduce(
    archive: Archive,
    named: Sequence[StoredRun],
    engine: str,
    n_jobs: int,
    show: Callable[[str], object],
) -> int:
    """Check sweeps and runs, train the runs again, and report what was found.

    Args:
        archive: The experiment.
        named: Runs and sweeps of it, see ``select_runs``.
        engine: Engine to train with; ``auto`` chooses the fastest.
        n_jobs: Number of workers, -1 for all processors.
        show: Called with each line of the report.

    Returns:
        The exit status: 0 if all runs are identical, 1 if one differs or was altered, 2 if one is
        unreadable.

    Raises:
        ConfigError: There are no runs, or a sweep has stored none.
    """
    altered: AlteredFileError | None = None
    for sweep in [run for run in named if run.is_sweep]:
        try:
            rows = sweep_integrity.table_rows(sweep, archive)
        except AlteredFileError as error:
            # It is reported after the runs, if there are any.
            altered = error
            continue
        if sweep_integrity.are_untracked(rows):
            raise ConfigError(
                f"The runs of {sweep.label} were not tracked one by one (tracking.runs=false), so "
                f"that there is nothing to compare them with; bpexp verify {sweep.short_id} "
                "checks its tables."
            )
    run_ids = list(select_runs(archive, named))
    of_altered_status = _of_altered_status(archive, named)
    if not run_ids and not of_altered_status:
        raise altered or ConfigError("There are no finished runs to reproduce.")
    verdicts = verify(archive, [run_id for _, run_id in run_ids], engine, n_jobs)
    of_runs = _show_verdicts(chain(verdicts, of_altered_status), archive, show)
    of_sweeps = _show_verdicts(_check_sweeps(archive, named, run_ids), archive, show)
    of_sweeps.pop(Finding.UNTRACKED, 0)
    show(_summary(of_runs, "identical to the bit", of_sweeps))
    return _exit_status(of_runs + of_sweeps)


def verify_stored(
    archive: Archive, named: Sequence[StoredRun], show: Callable[[str], object]
) -> int:
    """Check runs against their digests without training, and report what was found.

    Args:
        archive: The experiment.
        named: Runs and sweeps of it, see ``select_runs``.
        show: Called with each line of the report.

    Returns:
        The exit status: 0 if all runs are intact, 1 if one was altered, 2 if one is unreadable.

    Raises:
        ConfigError: There are no runs, and no sweeps that have stored none.
    """
    run_ids = list(select_runs(archive, named))
    checked = check_stored(archive, [run_id for _, run_id in run_ids])
    verdicts = chain(checked, _of_altered_status(archive, named))
    of_runs = _show_verdicts(verdicts, archive, show)
    of_sweeps = _show_verdicts(_check_sweeps(archive, named, run_ids), archive, show)
    n_untracked = of_sweeps.pop(Finding.UNTRACKED, 0)
    if of_runs or of_sweeps:
        show(_summary(of_runs, "match their digests", of_sweeps))
    elif not n_untracked:
        raise ConfigError("There are no finished runs to verify.")
    return _exit_status(of_runs + of_sweeps)


def _check_sweeps(
    archive: Archive, named: Sequence[StoredRun], run_ids: Iterable[tuple[str | None, str]]
) -> Iterator[Verdict]:
    """Check the sweeps among those that a user named, or all, and whether they lack runs.

    Args:
        archive: The experiment.
        named: Runs and sweeps of it; empty for all.
        run_ids: The result of ``select_runs``.
    """
    finished: defaultdict[str | None, set[str]] = defaultdict(set)
    for sweep, run_id in run_ids:
        finished[sweep].add(run_id)
    sweeps = [run for run in named if run.is_sweep]
    if not named:
        sweeps = archive.search(Query(are_sweeps=True), sweep_integrity.TO_CHECK)
    return check_sweeps(archive, sweeps, finished)


def _show_verdicts(
    verdicts: Iterable[Verdict], archive: Archive, show: Callable[[str], object]
) -> Counter[Finding]:
    """Show the runs or sweeps that are not identical; returns the number with each finding."""
    counts: Counter[Finding] = Counter()
    shown: set[str] = set()
    for verdict in verdicts:
        counts[verdict.finding] += 1
        # A missing data file is the same reason for all runs of a sweep.
        is_known = verdict.finding is Finding.UNREADABLE and verdict.explanation in shown
        if verdict.finding is Finding.IDENTICAL or is_known:
            continue
        if counts[verdict.finding] <= MAX_LISTED:
            shown.add(verdict.explanation)
            for line in _describe(verdict, archive):
                show(line)
    return counts


def _exit_status(counts: Counter[Finding]) -> int:
    if counts[Finding.DIFFERENT] or counts[Finding.ALTERED]:
        return 1
    return 2 if counts[Finding.UNREADABLE] else 0


def _describe(verdict: Verdict, archive: Archive) -> list[str]:
    lines = [f"{verdict.finding}: {verdict.run.label}: {verdict.explanation}"]
    if verdict.finding is Finding.DIFFERENT:
        changes = environment_changes(verdict.run, archive)
        lines += [f"  {key}: {then} then, {now} now" for key, (then, now) in changes.items()]
        if not changes:
            lines.append("  The recorded environment is the same as now.")
    return lines


def _summary(of_runs: Counter[Finding], state: str, of_sweeps: Counter[Finding]) -> str:
    runs = [f"{of_runs[Finding.IDENTICAL]} of {of_runs.total()} runs {state}"] if of_runs else []
    runs += [f"{of_runs[kind]} {kind}" for kind in list(Finding)[1:] if of_runs[kind]]
    sweeps = [f"{counted(of_sweeps[kind], 'sweep')} {kind}" for kind in Finding if of_sweeps[kind]]
    return "; ".join(", ".join(parts) for parts in (runs, sweeps) if parts) + "."
