"""What ``reproduce`` prints, and its exit status."""

from collections import Counter
from collections.abc import Sequence

from bpexp.cli.screen import console
from bpexp.fields.checks import ConfigError
from bpexp.reproduce.verify import Finding, Verdict, surroundings, verify
from bpexp.tracking.archive import Archive, StoredRun

SHOWN = 20
"""Runs that differ, at most so many of which are told of one by one."""


def wanted(archive: Archive, names: Sequence[str]) -> list[StoredRun]:
    """The finished runs that are meant, those of a sweep for its name; all for no names.

    Raises ConfigError for a run that has no result.
    """
    if not names:
        return _finished(archive.search("attributes.status = 'FINISHED'"))
    runs: dict[str, StoredRun] = {}
    for name in names:
        run = archive.find(name)
        if run.is_sweep:
            children = archive.search("attributes.status = 'FINISHED'", run.run_id)
            runs |= {child.run_id: child for child in _finished(children)}
        elif run.status == "FINISHED":
            runs[run.run_id] = run
        else:
            raise ConfigError(f"RUN must have finished, got {run.label}, which is {run.status}.")
    return list(runs.values())


def _finished(runs: Sequence[StoredRun]) -> list[StoredRun]:
    return [run for run in runs if not run.is_sweep]


def reproduce(archive: Archive, runs: Sequence[StoredRun], engine: str, n_jobs: int) -> int:
    """Verify ``runs`` and say what was found; 0 if all are identical, 1 if any differs, else 2.

    Raises ConfigError where there are none.
    """
    if not runs:
        raise ConfigError("reproduce must be given at least one finished run, got none.")
    out, found = console(), Counter[Finding]()
    native = 0
    for verdict in verify(archive, runs, engine, n_jobs):
        found[verdict.finding] += 1
        native += verdict.native
        if verdict.finding is not Finding.IDENTICAL and found[verdict.finding] <= SHOWN:
            for line in _lines(verdict, archive):
                out.print(line, soft_wrap=True)
    parts = [f"{found[Finding.IDENTICAL]} of {len(runs)} runs identical to the bit"]
    parts += [f"{found[kind]} {kind}" for kind in list(Finding)[1:] if found[kind]]
    out.print(", ".join(parts) + ".")
    if native:
        out.print(
            f"{native} with numerics=native: their bits belong to one machine's NumPy and BLAS; "
            "numerics=exact gives the same bits on every machine.",
            soft_wrap=True,
        )
    if found[Finding.DIFFERENT]:
        return 1
    return 2 if found[Finding.UNREADABLE] else 0


def _lines(verdict: Verdict, archive: Archive) -> list[str]:
    lines = [f"{verdict.finding}: {verdict.run.label}: {verdict.said}"]
    if verdict.finding is Finding.DIFFERENT:
        differ = surroundings(verdict.run, archive)
        lines += [f"  {key}: {then} then, {now} now" for key, (then, now) in differ.items()]
        if not differ:
            lines.append("  The environment is the same as far as it was recorded.")
    return lines
