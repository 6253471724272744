"""Resumes and extends stored sweeps."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bpexp.app import preview
from bpexp.app.execution import execute
from bpexp.app.follow_up import follow_up
from bpexp.app.starting import with_stored_results
from bpexp.config import combinations
from bpexp.config.compose import composer
from bpexp.config.schema import BackendConfig, BudgetConfig
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.reporter import Reporter
from bpexp.runs import run_tags
from bpexp.sweeps import (
    budget,
    extension,
    plan_file,
    plan_generations,
    provenance,
    resume,
    rungs,
)
from bpexp.sweeps.parent_files import ParentFiles
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_writer import TrackedSweep
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking import recovery, spool, store_lock
from bpexp.tracking.archive import Archive
from bpexp.tracking.contract import Tracker
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.reading import NO_PARTS, UNFINISHED, Query, StoredRun
from bpexp.tracking.retry import ResumeAdvice, resume_command_in_errors


@dataclass(frozen=True)
class ResumeRequest:
    """The sweep that is to be resumed.

    Attributes:
        archive: Its experiment in the store that holds it.
        experiment: The name of its experiment.
        sweep: Its parent run.
        ended: Whether the user confirmed that its process on another machine has ended.
        backend: The backend to train with; None for the one it was started with.
        budget: What this command may spend; the budget that the sweep was started with is spent.
        pruned: Whether to train the jobs to their ends that ``search.halving`` stopped.
    """

    archive: Archive
    experiment: str
    sweep: StoredRun
    ended: bool = False
    backend: BackendConfig | None = None
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    pruned: bool = False

    @property
    def command(self) -> str:
        """The command that resumes the sweep."""
        return self.archive.store.resume_command(self.sweep.run_id, self.experiment)


@dataclass(frozen=True)
class StoredPlan:
    """The plan of a sweep before it is extended, and its file, if it has one."""

    plan: Plan
    file: bytes | None

    @classmethod
    def of(cls, sweep: StoredRun, archive: Archive) -> "StoredPlan":
        """Read the plan of a sweep."""
        # The file first: an extension in between is then noticed, and not overwritten.
        file = archive.file_if_any(sweep, plan_file.NAME)
        return cls(resume.plan_of(sweep, archive), file)


@dataclass(frozen=True)
class Continuation:
    """A stored sweep, and the plan by which it goes on.

    Attributes:
        request: The sweep.
        plan: The plan.
        before: The stored plan, if the other one extends it and is to be stored in its place.
    """

    request: ResumeRequest
    plan: Plan
    before: StoredPlan | None = None

    def dry_run(self, reporter: Reporter) -> None:
        """Report what ``train`` would take; nothing is written.

        Raises:
            ConfigError: The workers cannot be used.
        """
        run_id = self.request.sweep.run_id
        if spool.files(run_id):
            reporter.say(f"Runs that wait in {spool.folder(run_id)} are not counted as stored.")
        archive, confirms = self.request.archive, self._confirms
        preview.dry_run_of_stored(self.plan, archive, run_id, reporter, confirms=confirms)

    def train(self, reporter: Reporter) -> FinishedSweep:
        """Train the jobs of the plan that have no finished run.

        Args:
            reporter: Receives progress and results.

        Raises:
            ConfigError: The sweep was extended meanwhile, or another process trains it.
            TrackingError: Runs cannot be written to the store; the message says how to resume.
        """
        request, store = self.request, self.request.archive.store
        finished = execute(
            self.plan,
            store,
            partial(_reopen, self),
            reporter,
            generations=plan_generations.of_plan(self.plan),
            has_stored=True,
        )
        is_extended = self.before is not None and not finished.interrupted
        if is_extended and finished.race and len(finished.plan.jobs) == len(self.plan.jobs):
            reporter.say("No seeds were added: the race has ended.")
        with resume_command_in_errors(lambda: ResumeAdvice(request.command)):
            _delete_replaced(request, finished)
        follow_up(finished, store, reporter, confirms=self._confirms)
        return finished

    @property
    def _confirms(self) -> bool:
        """Whether the best combinations are still to be confirmed, if ``confirm`` is set."""
        return self.before is not None or run_tags.CONFIRMED_BY not in self.request.sweep.tags


def resumed(request: ResumeRequest, reporter: Reporter) -> Continuation:
    """Plan to train the jobs of a stored sweep that have no finished run.

    Args:
        request: The sweep.
        reporter: Receives a sentence on what is done.

    Raises:
        ConfigError: It is not a sweep, is still running, cannot be resumed, or has no pruned jobs
            although they are asked for.
    """
    archive, sweep = request.archive, request.sweep
    resume.check_can_resume(sweep, has_ended=request.ended)
    stored = StoredPlan.of(sweep, archive)
    plan = _with_backend_and_budget(stored.plan, request)
    if not request.pruned or plan.trains_pruned:
        return Continuation(request, plan)
    pruned = rungs.pruned_epochs(plan.rungs)
    if not pruned:
        raise ConfigError(f"{sweep.label} has no pruned runs.")
    its_ends = "its end" if len(pruned) == 1 else "their ends"
    reporter.say(f"Training {counted(len(pruned), 'pruned run')} to {its_ends}.")
    return Continuation(request, replace(plan, trains_pruned=True), stored)


def extended(request: ResumeRequest, arguments: Sequence[str], reporter: Reporter) -> Continuation:
    """Plan to add jobs to a stored sweep, and to train its jobs that have no finished run.

    Args:
        request: The sweep.
        arguments: What is added, see ``extension.extended_plan``.
        reporter: Receives a sentence on what is done.

    Raises:
        ConfigError: As ``resumed`` and ``extension.extended_plan``.
    """
    archive, sweep = request.archive, request.sweep
    resume.check_can_resume(sweep, has_ended=request.ended)
    stored = StoredPlan.of(sweep, archive)
    plan = extension.extended_plan(stored.plan, arguments, composer())
    plan = _with_backend_and_budget(plan, request)
    n_added = len(plan.jobs) - len(stored.plan.jobs)
    if n_added:
        added = counted(n_added, "run")
        reporter.say(f"Adding {added} to the {len(stored.plan.jobs)} of the sweep.")
    return Continuation(request, plan, stored)


def _with_backend_and_budget(plan: Plan, request: ResumeRequest) -> Plan:
    """The plan with the backend and the budget of the request. Raises ConfigError."""
    backend = request.backend or plan.runtime.backend
    runtime = replace(plan.runtime, backend=backend, budget=request.budget)
    combinations.check_runtime(runtime)
    budget.check(runtime.budget, plan.jobs)
    return replace(plan, runtime=runtime)


def _reopen(continued: Continuation) -> TrackedSweep:
    """Reopen the parent run of a sweep, store its plan if it is extended, and read its results."""
    request, plan, before = continued.request, continued.plan, continued.before
    archive, sweep = request.archive, request.sweep
    # Opened before the lock is taken, because MLflow's client takes it, too.
    tracker = open_tracker(archive.store, request.experiment)
    with store_lock.exclusive(archive.store.database):
        # Checked again: another process may have resumed it meanwhile.
        found = archive.get(sweep.run_id) or sweep
        resume.check_can_resume(found, has_ended=request.ended)
        if before and archive.file_if_any(sweep, plan_file.NAME) != before.file:
            raise ConfigError(f"{sweep.label} was extended meanwhile; repeat the command.")
        # Other stores have no lock.
        recovery.reopen(tracker, found)
    # Resuming a sweep whose new plan is not stored would forget the extension.
    advice = None if before else ResumeAdvice(request.command)
    with resume_command_in_errors(lambda: advice):
        recovery.close_orphaned_runs(tracker)
        files = ParentFiles.of_stored(tracker, found, archive)
        # A plan that was lost was composed again.
        if before or not archive.file_if_any(sweep, plan_file.NAME):
            files.write({plan_file.NAME: plan_file.to_bytes(plan)})
    with resume_command_in_errors(lambda: ResumeAdvice(request.command)):
        if before:
            _describe_extension(tracker, sweep, before.plan, plan)
        resume.write_spooled_runs(plan, archive, tracker, sweep.run_id)
        tracked = TrackedSweep(tracker, archive.store, request.experiment, sweep.run_id, files)
        return with_stored_results(tracked, plan, archive)


def _describe_extension(tracker: Tracker, sweep: StoredRun, before: Plan, plan: Plan) -> None:
    """Tag and rename the parent run of a sweep that is extended."""
    # Another combination may be the best now.
    tags: dict[str, str | None] = {run_tags.CONFIRMED_BY: None}
    if plan.extensions:
        tags[run_tags.EXTENSIONS] = shlex.join(plan.extensions)[: run_tags.MAX_LENGTH]
    # A name that the user gave stays.
    is_generated = sweep.name == provenance.sweep_name(before)
    tracker.update_run(sweep.run_id, tags, provenance.sweep_name(plan) if is_generated else None)


def _delete_replaced(request: ResumeRequest, finished: FinishedSweep) -> None:
    """Delete the unfinished runs of a sweep, and if it is complete those that were replaced."""
    archive, sweep = request.archive, request.sweep
    tracked = {row.run_id for row in finished.rows}
    unfinished = archive.search(Query(statuses=UNFINISHED, sweep=sweep.run_id), NO_PARTS)
    superseded = [run.run_id for run in unfinished if run.run_id not in tracked]
    if finished.is_complete:
        superseded += finished.replaced
    if superseded:
        # A sweep that was interrupted early has thousands.
        open_tracker(archive.store, request.experiment).delete_runs(superseded)
