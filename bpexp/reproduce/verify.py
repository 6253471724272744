"""Checks stored runs against their digests, and by training them again and comparing every bit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import chain

from bpexp.fields.checks import ConfigError
from bpexp.nn import arithmetic
from bpexp.reproduce.alterations import alterations
from bpexp.reproduce.compare import Difference, difference
from bpexp.runs import environment, identity, record_digests, run_tags
from bpexp.runs.result import Failure, Outcome, TrainResult
from bpexp.sweeps import integrity, resume, sweep_integrity
from bpexp.sweeps.executors import make_batches
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.integrity import status_problem
from bpexp.sweeps.job import Job, JobResult
from bpexp.sweeps.run_record import digests_of
from bpexp.sweeps.stored_pages import PAGE_SIZE, count_processes, map_pages
from bpexp.tracking import logged_curves
from bpexp.tracking.archive import Archive
from bpexp.tracking.logged_curves import Curves
from bpexp.tracking.reading import NO_PARTS, UNFINISHED, Query, StoredRun
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.stored_results import config_of, losses_of, result_of
from bpexp.tracking.unreadable import HiddenFileError, UnreadableRunError

_TO_CHECK = replace(integrity.TO_CHECK, params=None)
"""What is needed of each run."""
_UNTRACKED = (
    "The tables and pictures match their digests, and the plan its data. The results in the tables "
    "cannot be checked: the losses, predictions and weights of the runs are not stored "
    "(tracking.runs=false)."
)
_ALTERED_TAG = (
    f"The tag {run_tags.RESULT} was altered: the artifacts equal the new result, the tag does not."
)


class Finding(StrEnum):
    """How a stored run compares with the run trained again, or with its own digests."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    """training gives another result"""
    ALTERED = "altered"
    """artifacts or metrics in the store are missing, damaged, or not those of the run"""
    UNREADABLE = "unreadable"
    """the stored configuration is invalid, its data are missing or have changed, or a file must not
    be read"""
    UNTRACKED = "not tracked"
    """the runs of a sweep are in its tables only, which match their digests"""


@dataclass(frozen=True)
class Verdict:
    """The finding on one stored run.

    Attributes:
        run: The stored run.
        finding: How it compares.
        explanation: Sentences; empty if the run is identical.
    """

    run: StoredRun
    finding: Finding
    explanation: str = ""


def check_stored(archive: Archive, run_ids: Sequence[str]) -> Iterator[Verdict]:
    """Check runs against their digests without training them; many by several processes.

    Args:
        archive: Where the runs are stored.
        run_ids: Ids of finished runs.

    Yields:
        A verdict on each run, in their order.
    """
    return map_pages(_check_page, archive, run_ids)


def _check_page(archive: Archive, run_ids: Sequence[str]) -> list[Verdict]:
    """``check_stored`` for the runs that are read together."""
    return [_only_named(verdict) for verdict in _check_each(archive, run_ids)]


def _only_named(verdict: Verdict) -> Verdict:
    """The verdict on an intact run without other parts of it, to be sent to another process."""
    if verdict.finding is not Finding.IDENTICAL:
        return verdict
    run = verdict.run
    return replace(verdict, run=StoredRun(run.run_id, run.name, run.status))


def _check_each(archive: Archive, run_ids: Sequence[str]) -> Iterator[Verdict]:
    """See ``check_stored``; the runs have no parameters any more."""
    for start in range(0, len(run_ids), PAGE_SIZE):
        runs = archive.reader.get(run_ids[start : start + PAGE_SIZE], _TO_CHECK)
        for run, curves in chain.from_iterable(logged_curves.pages(archive.reader, runs)):
            yield _check(run, curves, archive)


def _check(run: StoredRun, curves: Curves, archive: Archive) -> Verdict:
    read = replace(run, params={})
    try:
        altered = integrity.problems_by_digests(run, archive, curves)
    except (UnreadableRunError, HiddenFileError) as error:
        return Verdict(read, Finding.UNREADABLE, str(error))
    return Verdict(read, Finding.ALTERED if altered else Finding.IDENTICAL, " ".join(altered))


def check_sweeps(
    archive: Archive, sweeps: Sequence[StoredRun], finished: Mapping[str | None, set[str]]
) -> Iterator[Verdict]:
    """Check the files and tags of the parent runs of sweeps, and the runs by their tables.

    Args:
        archive: Where the sweeps are stored.
        sweeps: The parent runs.
        finished: The ids of the finished runs that each sweep trained, by its id.

    Yields:
        A verdict on each sweep that is altered or unreadable, or has stored no runs.
    """
    for sweep in sweeps:
        try:
            verdict = _check_sweep(sweep, archive, finished[sweep.run_id])
        except HiddenFileError as error:
            verdict = Verdict(sweep, Finding.UNREADABLE, str(error))
        if verdict.finding is not Finding.IDENTICAL:
            yield verdict


def _check_sweep(sweep: StoredRun, archive: Archive, finished: Collection[str]) -> Verdict:
    """See ``check_sweeps``."""
    problems = sweep_integrity.file_problems(sweep, archive)
    if not problems:
        rows = sweep_integrity.table_rows(sweep, archive)
        if sweep_integrity.are_untracked(rows):
            return _check_untracked(sweep, archive)
        if sweep.status != "RUNNING":
            problems = _run_problems(sweep, archive, rows, finished)
    return Verdict(sweep, Finding.ALTERED if problems else Finding.IDENTICAL, " ".join(problems))


def _run_problems(
    sweep: StoredRun, archive: Archive, rows: Sequence[tuple[str, str]], finished: Collection[str]
) -> list[str]:
    """How the runs of a sweep that has ended contradict its table, and their results.

    Args:
        sweep: The parent run.
        archive: Where it is stored.
        rows: Its table, see ``sweep_integrity.table_rows``.
        finished: The ids of the finished runs that it trained.
    """
    query = Query(sweep=sweep.run_id, are_sweeps=False)
    # Such as failed runs, and those that are linked to the sweep.
    others = [row for row in rows if row[1] not in finished]
    stored = {run.run_id for run in archive.search(query, NO_PARTS)} if others else ()
    unfinished = archive.search(replace(query, statuses=UNFINISHED), NO_PARTS)
    known = {run_id for _, run_id in rows}
    added = archive.reader.get(sorted(run for run in finished if run not in known), NO_PARTS)
    found = [
        sweep_integrity.missing_runs(others, stored),
        sweep_integrity.added_runs(sweep, rows, added),
        *(f"{run.label}: {problem}" for run in unfinished if (problem := status_problem(run))),
    ]
    return [sentence for sentence in found if sentence]


def _check_untracked(sweep: StoredRun, archive: Archive) -> Verdict:
    """Check the plan of a sweep whose files match their digests, and that has stored no runs."""
    try:
        resume.plan_of(sweep, archive)
    except TrackingError:
        raise
    except ConfigError as error:
        return Verdict(sweep, Finding.UNREADABLE, str(error))
    return Verdict(sweep, Finding.UNTRACKED, _UNTRACKED)


@dataclass(frozen=True)
class _Repeat:
    """A training that is repeated.

    Attributes:
        job: Its job.
        until: The epoch after which it was stopped; None if it was trained to its end.
        checked: The verdicts of ``check_stored`` on the stored runs that it is compared with: all
            of its identity.
    """

    job: Job
    until: int | None
    checked: list[Verdict] = field(default_factory=list)


def verify(archive: Archive, run_ids: Sequence[str], engine: str, n_jobs: int) -> Iterator[Verdict]:
    """Check runs against their digests, train them again and compare.

    Runs with equal identities are trained once. If there are so many that several processes take
    turns with their pages, those of one page are.

    Args:
        archive: Where the runs are stored.
        run_ids: Ids of finished runs.
        engine: Engine to train with; ``auto`` chooses the fastest.
        n_jobs: Number of workers, -1 for all processors.

    Yields:
        A verdict on each run, in the order in which they are ready.
    """
    if count_processes(archive, len(run_ids), n_jobs) == 1:
        return _verify(archive, run_ids, engine, n_jobs)
    return map_pages(partial(_verify_page, engine=engine), archive, run_ids, n_jobs)


def _verify_page(archive: Archive, run_ids: Sequence[str], engine: str) -> list[Verdict]:
    """``verify`` in one of several processes."""
    return [_only_named(verdict) for verdict in _verify(archive, run_ids, engine, n_jobs=1)]


def _verify(
    archive: Archive, run_ids: Sequence[str], engine: str, n_jobs: int
) -> Iterator[Verdict]:
    repeats: dict[tuple[str, int | None], _Repeat] = {}
    for checked in _check_each(archive, run_ids):
        run = checked.run
        if checked.finding is Finding.UNREADABLE:
            yield checked
            continue
        try:
            config, dataset = config_of(run, archive)
            until = _pruned_at(run, archive)
        except UnreadableRunError as error:
            yield Verdict(run, Finding.UNREADABLE, str(error))
        else:
            # ``config_of`` has compared it with the configuration and the data.
            key = run.tags[run_tags.IDENTITY], until
            if key not in repeats:
                repeats[key] = _Repeat(Job(len(repeats), run.name, config, dataset), until)
            repeats[key].checked.append(checked)
    by_index = {repeat.job.index: repeat for repeat in repeats.values()}
    by_end: dict[int | None, list[Job]] = {}
    for repeat in repeats.values():
        by_end.setdefault(repeat.until, []).append(repeat.job)
    with LocalExecutor(n_jobs) as executor:
        batches = [
            batch
            for until, jobs in by_end.items()
            for batch in make_batches(jobs, engine, executor.n_workers, until)
        ]
        for results in executor.map(batches):
            for one in results:
                for checked in by_index[one.job.index].checked:
                    yield _judge(checked, one, archive)


def _pruned_at(run: StoredRun, archive: Archive) -> int | None:
    """The epoch after which a run was stopped; None if it was trained to its end."""
    if run.tags.get(run_tags.OUTCOME) != Outcome.PRUNED:
        return None
    try:
        return max(1, losses_of(run, archive).size)
    except UnreadableRunError:
        # Damaged losses are reported when the run has been trained.
        return max(1, int(run.metrics.get("epochs_run", 1)))


def _judge(checked: Verdict, trained: JobResult, archive: Archive) -> Verdict:
    """Compare a stored run with the same run trained again.

    Args:
        checked: The verdict of ``check_stored`` on the run.
        trained: The result of the new training.
        archive: Where the run is stored.
    """
    run, job, result = checked.run, trained.job, trained.result
    if isinstance(result, Failure):
        reason = f"training failed: {result.reason}."
        return Verdict(run, Finding.DIFFERENT, reason)
    digest = identity.of_result(result)
    if run.tags.get(run_tags.RESULT) == digest:
        is_intact = checked.finding is Finding.IDENTICAL
        # Then the files and metrics have their digests, which are those of the new result.
        recorded = record_digests.parse(run.tags.get(run_tags.DIGESTS, ""))
        if is_intact and recorded.items() <= digests_of(job, result, run.tags).items():
            return Verdict(run, Finding.IDENTICAL)
        explanation = " ".join(_alterations(run, archive, job, result)) or checked.explanation
        return Verdict(run, Finding.ALTERED if explanation else Finding.IDENTICAL, explanation)
    try:
        stored = result_of(run, archive)
    except UnreadableRunError as error:
        reason = f"the result digest differs; the stored result cannot be read: {error}"
        return Verdict(run, Finding.DIFFERENT, reason)
    own_identity = identity.of_run(job.config, job.dataset)
    has_same_identity = run.tags.get(run_tags.IDENTITY) == own_identity
    if has_same_identity and stored.digest == digest:
        return Verdict(run, Finding.ALTERED, _ALTERED_TAG)
    matches_digest = stored.digest == run.tags.get(run_tags.RESULT)
    explanation = _sentence(difference(stored, result), matches_digest)
    return Verdict(run, Finding.DIFFERENT, explanation)


def _alterations(run: StoredRun, archive: Archive, job: Job, result: TrainResult) -> list[str]:
    """See ``alterations``; reads the other parts of a run."""
    pages = logged_curves.pages(archive.reader, archive.reader.get([run.run_id]))
    return [
        sentence
        for whole, curves in chain.from_iterable(pages)
        for sentence in alterations(whole, archive, job, result, curves)
    ]


def _sentence(difference: Difference, matches_digest: bool) -> str:
    parts = []
    if difference.outcomes[0] != difference.outcomes[1]:
        parts.append(f"{difference.outcomes[0]} before, {difference.outcomes[1]} now")
    if difference.epoch is not None:
        parts.append(f"the first different epoch is {difference.epoch}")
    ulps = ", ".join(
        f"{name} {'of another shape' if ulp is None else f'{ulp} ulp'}"
        for name, ulp in difference.ulps.items()
    )
    parts.append(f"largest differences: {ulps}")
    if not matches_digest:
        parts.append("the stored artifacts do not match the stored digest")
    return "; ".join(parts) + "."


def environment_changes(run: StoredRun, archive: Archive) -> dict[str, tuple[str, str]]:
    """What differs between the environment of a stored run and the present one.

    Returns:
        The value then and the value now, by tag name without ``bpexp.``.
    """
    recorded = archive.reader.get([*filter(None, [run.parent]), run.run_id])
    then = {key: value for one in recorded for key, value in one.tags.items()}
    now = {
        **environment.tags(),
        **environment.hardware_tags(),
        run_tags.ARITHMETIC: str(arithmetic.VERSION),
    }
    return {
        key.removeprefix("bpexp."): (then.get(key, "not recorded"), value)
        for key, value in now.items()
        if key.startswith("bpexp.") and then.get(key, "not recorded") != value
    }
