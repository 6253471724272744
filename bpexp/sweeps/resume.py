"""Finds the jobs of a sweep whose results are stored already, to resume it or to reuse runs."""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from bpexp.config.compose import composer
from bpexp.fields.checks import ConfigError
from bpexp.runs import identity, metrics, record_digests, run_tags
from bpexp.runs.record_digests import NAMES_KEY
from bpexp.runs.result import Outcome
from bpexp.runs.run_tags import IDENTITY, OUTCOME, RESULT
from bpexp.sweeps import integrity, plan_file, sweep_integrity
from bpexp.sweeps.grid import sweep_files
from bpexp.sweeps.grid_plan import plan_grid
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.ranking import rank_runs
from bpexp.sweeps.results import MAX_CURVES, SweepResults
from bpexp.sweeps.row import (
    NO_CURVE,
    Curve,
    Row,
    curve_of,
    reason_of,
    shows_validation,
    validation_curve,
)
from bpexp.sweeps.rungs import pruned_epochs
from bpexp.sweeps.stored_pages import map_pages
from bpexp.tracking import process, spool
from bpexp.tracking.archive import Archive
from bpexp.tracking.contract import Tracker
from bpexp.tracking.process import ProcessState
from bpexp.tracking.reading import FINISHED, Parts, Query, StoredRun
from bpexp.tracking.stored_results import losses_of, predictions_of, validation_of
from bpexp.tracking.unreadable import UnreadableRunError
from bpexp.typing import Array

NEEDED = replace(integrity.TO_CHECK, params=None, data=False)
"""What ``finished_runs`` reads of each run."""
_USED = ("mlflow.parentRunId", IDENTITY, OUTCOME)
"""Tags of a run that are used after its check."""
_ONLY_IDENTITY = Parts(params=(), tags=(IDENTITY,), metrics=(), data=False)
_ONLY_OUTCOME = Parts(
    params=(), tags=(IDENTITY, RESULT), metrics=("epochs_run", "final_loss"), data=False
)
MAX_DAMAGED_SHOWN = 10
"""Damaged runs that are named to the user; the others are only counted."""


def check_can_resume(run: StoredRun, *, has_ended: bool) -> None:
    """Check that a run is a sweep that no process is working on.

    Args:
        run: The run that the user named.
        has_ended: Whether the user confirmed that a process on another machine has ended.

    Raises:
        ConfigError: The run is not a sweep, or may still be running.
    """
    if not run.is_sweep:
        raise ConfigError(f"{run.label} is a single run; type the id of a sweep.")
    if run.status != "RUNNING":
        return
    tag = run.tags.get(run_tags.PROCESS, "")
    state = process.state_of(tag)
    if state is ProcessState.ALIVE:
        raise ConfigError(f"{run.label} is still running, in process {process.pid_of(tag)}.")
    if state is ProcessState.UNKNOWN and not has_ended:
        raise ConfigError(
            f"{run.label} was started on the host {process.host_of(tag)} and may still run there; "
            "if it has ended, add --ended."
        )


def plan_of(run: StoredRun, archive: Archive) -> Plan:
    """The plan of a stored sweep; composed again from its overrides if no plan was stored.

    Raises:
        ConfigError: The plan is broken, was altered, or cannot be composed again.
    """
    content = archive.file_if_any(run, plan_file.NAME)
    # A power loss may leave an empty file.
    if content:
        sweep_integrity.check_file(run, archive, plan_file.NAME, content)
        return plan_file.from_bytes(content, archive.load_data)
    # The sweep ended between the creation of its parent run, which has the overrides, and the
    # storage of the plan, or the file was deleted.
    no_plan = ConfigError(
        f"{run.label} has stored no plan; start a new sweep with reuse=true, which links the runs "
        "that are stored."
    )
    # MLflow cuts a longer text, whose rest would be another sweep.
    has_overrides = 0 < len(run.tags.get(run_tags.OVERRIDES, "")) < run_tags.MAX_LENGTH
    if not has_overrides or run_tags.EXTENSIONS in run.tags:
        raise no_plan
    try:
        overrides = shlex.split(run.tags[run_tags.OVERRIDES])
    except ValueError as error:
        raise ConfigError(f"{run.label} has stored unreadable overrides.") from error
    if any(re.match(r"\+*search(?:\.name)?=(?!null$)", text) for text in overrides):
        # The jobs of a search follow from its sampler.
        raise no_plan
    composed = recompose(_safe_overrides(overrides))
    if composed[0].get("study") is not None:
        raise no_plan
    plan = plan_grid(composed, overrides).plan
    if not sweep_integrity.is_recorded(run, archive, plan_file.NAME, plan_file.to_bytes(plan)):
        raise no_plan
    return plan


def recompose(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Compose the configurations of a grid from the overrides of its command line."""
    job_composer = composer()
    jobs = sweep_files.jobs(overrides, job_composer)
    return [job_composer.compose(job, number) for number, job in enumerate(jobs)]


def _safe_overrides(overrides: Sequence[str]) -> list[str]:
    """The stored overrides without Hydra's own settings, which change no run.

    Overrides from a store are not trusted: they must not load code, as
    ``hydra.searchpath=[pkg://...]`` would, or read the environment, as ``${oc.env:...}`` would.
    """
    safe = [text for text in overrides if not re.match(r"[+~]*hydra\b", text)]
    for text in safe:
        if "${" in text:
            raise ConfigError(f"The sweep used the interpolation {text!r}; start a new sweep.")
    return safe


class FoundRuns(NamedTuple):
    """The stored runs of the jobs of a plan.

    Attributes:
        runs: Finished and intact runs by the index of their job.
        damaged: Why finished runs are trained again, by run: their artifacts are missing,
            damaged, or not those of the run.
        superseded: Pruned runs of the sweep whose jobs are not pruned any more.
    """

    runs: dict[int, StoredRun]
    damaged: list[tuple[StoredRun, str]]
    superseded: Sequence[StoredRun] = ()

    def sentences(self) -> list[str]:
        """What to tell the user about the damaged runs; only some if there are many."""
        sentences = [f"{run.label} is trained again: {reason}" for run, reason in self.damaged]
        more = len(sentences) - MAX_DAMAGED_SHOWN
        tail = [f"{more} more runs are trained again for such reasons."] if more > 0 else []
        return sentences[:MAX_DAMAGED_SHOWN] + tail

    def link(self, sweep: str, tracker: Tracker) -> None:
        """Link the runs of other sweeps to a sweep, and remove the links to damaged ones.

        Args:
            sweep: The id of the sweep of the plan.
            tracker: Writes to the store.

        Raises:
            TrackingError: The store rejected a tag, or stayed unavailable.
        """
        link = run_tags.linked_sweep(sweep)
        others = {run.run_id: run for run in self.runs.values() if run.parent != sweep}
        new = sorted(run_id for run_id, run in others.items() if link not in run.tags)
        tracker.tag_many(new, link, "linked")
        for run, _ in self.damaged:
            if link in run.tags:
                tracker.update_run(run.run_id, {link: None})


class _CheckedRun(NamedTuple):
    """A stored run and why what is stored of it is not as it was written; "" if it is."""

    run: StoredRun
    problem: str


def finished_runs(plan: Plan, sweep: str, archive: Archive, *, others: bool) -> FoundRuns:
    """Find the stored run of each job that is finished, and check its artifacts.

    Args:
        plan: The plan.
        sweep: The id of its sweep. Each of the sweep's runs is the run of one job; a run of
            another sweep may be reused for several jobs of the same identity.
        archive: Where they are stored.
        others: Whether to look for runs of other sweeps, to which it has no link yet, if any are
            missing (``reuse=true``).

    Raises:
        TrackingError: The store does not answer.
    """
    jobs = _by_identity(plan.jobs)
    query = replace(FINISHED, sweep=sweep)
    listed = list(archive.reader.search(archive.experiment_id, query, _ONLY_IDENTITY))
    ids = [run.run_id for run in listed if run.tags.get(IDENTITY) in jobs]
    checked = _checked(ids, jobs, sweep, archive)
    found = _assigned(plan, jobs, sweep, checked)
    if others and len(found.runs) < len(plan.jobs):
        known = set(ids)
        everywhere = _ids_of(jobs, FINISHED, archive)
        unknown = [run_id for run_id in everywhere if run_id not in known]
        elsewhere = _checked(unknown, jobs, sweep, archive)
        # Those that the sweep has a link to come last: they are preferred.
        found = _assigned(plan, jobs, sweep, [*elsewhere, *checked])
    strange = set(run.run_id for run in listed if run.parent == sweep).difference(ids)
    altered = _altered(sorted(strange), archive)
    return found._replace(damaged=[*found.damaged, *altered])


def stored_jobs(plan: Plan, sweep: str, archive: Archive, *, others: bool) -> Collection[int]:
    """The indices of the jobs with a run that ``finished_runs`` finds, if all artifacts are intact.

    Args:
        plan: The plan.
        sweep: The id of its sweep; "" for one that has not started.
        archive: Where the runs are stored.
        others: As for ``finished_runs``.
    """
    query = FINISHED if others else replace(FINISHED, sweep=sweep)
    checked = [_CheckedRun(run, "") for run in _complete(archive.search(query, _ONLY_OUTCOME))]
    return _assigned(plan, _by_identity(plan.jobs), sweep, checked).runs


def _by_identity(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """Jobs by the identity of their runs, which several jobs may have."""
    found: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        found[identity.of_run(job.config, job.dataset)].append(job)
    return found


def _ids_of(jobs: Container[str], query: Query, archive: Archive) -> list[str]:
    """The ids of the stored runs of some jobs, which are given by their identity."""
    runs = archive.reader.search(archive.experiment_id, query, _ONLY_IDENTITY)
    return [run.run_id for run in runs if run.tags.get(IDENTITY) in jobs]


def _altered(run_ids: Sequence[str], archive: Archive) -> Iterator[tuple[StoredRun, str]]:
    """The altered ones of the runs of a sweep that have no job of it, and what was altered.

    The identities of the others were not altered: these runs were moved here from another sweep.
    """
    for run in _complete(archive.reader.get(run_ids, NEEDED)):
        problem = integrity.artifact_problem(run, archive)
        if problem:
            yield run, problem


def _checked(
    run_ids: Sequence[str], jobs: Mapping[str, Sequence[Job]], sweep: str, archive: Archive
) -> list[_CheckedRun]:
    """Check the complete ones of some runs, many by several processes.

    Args:
        run_ids: Ids of runs.
        jobs: Their jobs, by the identity of the run.
        sweep: The id of the sweep, whose link each run keeps that has it.
        archive: Where the runs are stored.
    """
    checks: list[_CheckedRun] = []
    used = (*_USED, run_tags.linked_sweep(sweep))
    for found in map_pages(partial(_check_page, used=used), archive, run_ids):
        run, names, problem = found.run, found.names, found.value_problem
        job = jobs[run.tags[IDENTITY]][0]
        if not found.is_as_recorded:
            problem = integrity.artifact_problem(run, archive, job) or problem
        elif names not in ("", record_digests.of_names(job.dataset)):
            problem = "The columns or classes of its data have other names."
        checks.append(_CheckedRun(_with_tags(run, used), problem))
    return checks


class _PageRun(NamedTuple):
    """A complete run that was read with others.

    Attributes:
        run: The run.
        is_as_recorded: Whether its files and metrics are those that it was recorded with.
        names: The digest of the names of its data.
        value_problem: How a time or a parameter was altered; "" if none was.
    """

    run: StoredRun
    is_as_recorded: bool
    names: str
    value_problem: str


def _check_page(archive: Archive, run_ids: Sequence[str], used: Collection[str]) -> list[_PageRun]:
    """The complete ones of some runs.

    Those that are as they were recorded have only the tags ``used``: all tags of a large sweep
    need much memory.
    """
    tags = {*(NEEDED.tags or ()), *used}
    runs = list(_complete(archive.reader.get(run_ids, replace(NEEDED, tags=tags))))
    return archive.for_each(runs, partial(_check_one, archive=archive, used=used))


def _check_one(run: StoredRun, archive: Archive, used: Collection[str]) -> _PageRun:
    names = record_digests.parse(run.tags.get(run_tags.DIGESTS, "")).get(NAMES_KEY, "")
    is_as_recorded = integrity.is_as_recorded(run, archive)
    problem = ""
    with suppress(UnreadableRunError):
        problem = integrity.value_problem(run, archive)
    short = _with_tags(run, used) if is_as_recorded else replace(run, params={})
    return _PageRun(short, is_as_recorded, names, problem)


def _with_tags(run: StoredRun, used: Iterable[str]) -> StoredRun:
    """A run without its other tags, and without parameters."""
    tags = {key: run.tags[key] for key in used if key in run.tags}
    return replace(run, params={}, tags=tags)


def _assigned(
    plan: Plan, jobs: Mapping[str, Sequence[Job]], sweep: str, checked: Sequence[_CheckedRun]
) -> FoundRuns:
    """Find the stored run of each job among those that were checked.

    Args:
        plan: The plan.
        jobs: The jobs, all or some of the plan, by the identity of their runs.
        sweep: The id of the sweep.
        checked: The runs. The last of several that fit a job is used.
    """
    stopped = pruned_epochs(plan.rungs)
    own: dict[str, list[StoredRun]] = defaultdict(list)
    elsewhere: dict[str, StoredRun] = {}
    for run, problem in checked:
        if problem:
            continue
        if run.parent == sweep:
            own[run.tags[IDENTITY]].append(run)
        elif not _is_pruned(run):
            elsewhere[run.tags[IDENTITY]] = run
    run_of: dict[int, StoredRun] = {}
    lacking: set[str] = set()
    for job_identity, some in jobs.items():
        for job in some:
            fitting = [run for run in own[job_identity] if _fits(run, stopped.get(job.index), plan)]
            if fitting:
                run_of[job.index] = fitting[-1]
                own[job_identity].remove(fitting[-1])
            elif job_identity in elsewhere:
                run_of[job.index] = elsewhere[job_identity]
            else:
                lacking.add(job_identity)
    damaged = [
        (run, problem)
        for run, problem in checked
        if problem and (run.parent == sweep or run.tags[IDENTITY] in lacking)
    ]
    superseded = [run for runs in own.values() for run in runs if _is_pruned(run)]
    return FoundRuns(run_of, damaged, superseded)


def _is_pruned(run: StoredRun) -> bool:
    return run.tags[OUTCOME] == Outcome.PRUNED


def _fits(run: StoredRun, pruned_at: int | None, plan: Plan) -> bool:
    """Whether a stored run of a job ended where the job does."""
    if not _is_pruned(run):
        return True
    return not plan.trains_pruned and run.metrics["epochs_run"] == pruned_at


@dataclass(frozen=True)
class ReusableRuns:
    """Links runs of other sweeps to jobs that are proposed while a sweep is trained.

    The runs of the experiment are listed once, when jobs are proposed first.

    Attributes:
        archive: Where the runs are stored.
        tracker: Writes to the store.
        sweep: The id of the sweep.
    """

    archive: Archive
    tracker: Tracker
    sweep: str

    @cached_property
    def _ids(self) -> dict[str, str]:
        """The id of a finished run of another sweep, by its identity."""
        runs = self.archive.reader.search(self.archive.experiment_id, FINISHED, _ONLY_IDENTITY)
        return {
            run.tags[IDENTITY]: run.run_id
            for run in runs
            if IDENTITY in run.tags and run.parent != self.sweep and run.outcome != Outcome.PRUNED
        }

    def link(self, plan: Plan, jobs: Sequence[Job]) -> tuple[SweepResults, Sequence[str]]:
        """Link the stored runs of some jobs to the sweep, after checking their artifacts.

        Args:
            plan: The plan of the sweep.
            jobs: The last jobs of the plan, which have no runs yet.

        Returns:
            The results of the jobs that have a run, and what to tell the user about damaged runs.

        Raises:
            TrackingError: The store does not answer.
        """
        by_identity = _by_identity(jobs)
        ids = [self._ids[one] for one in by_identity if one in self._ids]
        checked = _checked(ids, by_identity, self.sweep, self.archive)
        found = _assigned(plan, by_identity, self.sweep, checked)
        found.link(self.sweep, self.tracker)
        return results_of(plan, found.runs, self.archive), found.sentences()


def write_spooled_runs(plan: Plan, archive: Archive, tracker: Tracker, parent: str) -> None:
    """Write the spooled runs of a sweep to the store, except those of jobs that have a run there.

    Runs that are damaged, or ended before their job does, do not count: others replace them.

    Args:
        plan: The plan of the sweep.
        archive: Reads the store.
        tracker: Writes to the store.
        parent: The id of the parent run of the sweep.

    Raises:
        ConfigError: A file of the spool is broken.
        TrackingError: The store does not take them.
    """
    files = spool.files(parent)
    if not files:
        # The user may have deleted a broken file and left the folder.
        spool.remove_empty_folders(parent)
        return
    stored = finished_runs(plan, parent, archive, others=False).runs
    missing = Counter(
        identity.of_run(job.config, job.dataset) for job in plan.jobs if job.index not in stored
    )
    for file in files:
        unwritten = []
        for run in spool.read(file):
            run_identity = run.tags.get(IDENTITY, "")
            if run.status == "FINISHED" and missing[run_identity] > 0:
                unwritten.append(run)
                missing[run_identity] -= 1
        tracker.stage(unwritten, parent).commit()
        spool.remove(file)


def _complete(runs: Iterable[StoredRun]) -> Iterator[StoredRun]:
    """Select the finished runs that have both digests and the metrics of a row of results."""
    for run in runs:
        tagged = {IDENTITY, RESULT, OUTCOME} <= run.tags.keys()
        # A diverged run may have no finite loss.
        measured = "epochs_run" in run.metrics and (
            "final_loss" in run.metrics or run.tags.get(OUTCOME) == Outcome.DIVERGED
        )
        if run.status == "FINISHED" and tagged and measured:
            yield run


def results_of(plan: Plan, runs: Mapping[int, StoredRun], archive: Archive) -> SweepResults:
    """Read the results of stored runs.

    Args:
        plan: The plan.
        runs: Stored runs by the index of their job.
        archive: Reads the loss curves of the best runs, and the predictions of the best one.
    """
    rows = {index: _row(plan.jobs[index], run) for index, run in runs.items()}
    for row in rank_runs(rows.values(), plan.objective)[:MAX_CURVES]:
        rows[row.job.index] = replace(row, curve=_curve(row, runs[row.job.index], plan, archive))
    return SweepResults(plan.objective, rows, PredictionsOfRuns(runs, archive))


def _curve(row: Row, run: StoredRun, plan: Plan, archive: Archive) -> Curve:
    """The curve of a stored run, as ``row_of`` gives it."""
    if not shows_validation(plan.objective):
        return curve_of(losses_of(run, archive))
    if "lowest_validation_loss" not in row.metrics:
        return NO_CURVE
    return validation_curve(validation_of(run, archive))


@dataclass(frozen=True)
class PredictionsOfRuns:
    """Reads the predictions of stored runs, which are given by the index of their job."""

    runs: Mapping[int, StoredRun]
    archive: Archive

    def predictions(self, job: Job) -> Array | None:
        """The predictions of a job's run, (n_samples, n_outputs); None if they cannot be read."""
        if job.index not in self.runs:
            return None
        dataset = job.dataset
        # Predictions that cannot be read must not stop the sweep: they are only printed.
        with suppress(ConfigError):
            stored = predictions_of(self.runs[job.index], self.archive, dataset.Y.shape[1])
            return stored if stored.shape == dataset.Y.shape else None
        return None


def _row(job: Job, run: StoredRun) -> Row:
    values = {name: run.metrics[name] for name in metrics.METRICS if name in run.metrics}
    values["epochs_run"] = int(values["epochs_run"])
    outcome = run.tags[OUTCOME]
    reason = reason_of(outcome, values["epochs_run"])
    return Row(job, outcome, reason, values, run_id=run.run_id)
