"""Executes a plan: opens the store, trains, tracks and summarizes.

``run_single``, ``run_sweep`` and ``resume_sweep`` are the entry points. They report progress and
results to a ``Reporter``, so that they work from the command line and from Python. What only some
sweeps do at their end, such as plots, studies and the export, is imported there: it needs SciPy,
matplotlib and pandas, which take longer to import than many sweeps to train.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from bpexp.config import combinations
from bpexp.config.compose import composer
from bpexp.config.schema import BackendConfig, BudgetConfig
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.reporter import Reporter
from bpexp.runs import run_tags
from bpexp.studies import definition
from bpexp.sweeps import (
    budget,
    comparable,
    confirmation,
    extension,
    forecast,
    plan_file,
    provenance,
    resume,
    rungs,
    stored_generations,
)
from bpexp.sweeps.executors import open_executor
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.ranking import are_independent, scores_of, why_best
from bpexp.sweeps.run_writer import RunWriter, TrackedSweep
from bpexp.sweeps.runner import FinishedSweep, SweepRunner, now
from bpexp.sweeps.samplers.trials import Trial
from bpexp.tracking import durable, lookup, output_directory, recovery
from bpexp.tracking.archive import Archive, open_archive
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.factory import open_reader, open_tracker
from bpexp.tracking.reading import NO_PARTS, UNFINISHED, Query, StoredRun
from bpexp.tracking.retry import RetryPolicy, TrackingError
from bpexp.tracking.store import Store, connect, exclusive_lock, locate
from bpexp.typing import Array

EXIT_STATUS = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}
"""The program's exit status by MLflow's status of its run or sweep."""


def run_single(plan: Plan, reporter: Reporter) -> FinishedSweep:
    """Train and track one run.

    Raises:
        ConfigError: The store or the workers cannot be used.
        TrackingError: The run cannot be written to the store.
    """
    store = locate(plan.runtime.tracking.uri, Path.cwd(), os.environ)

    def open_store() -> TrackedSweep:
        return TrackedSweep(_open_experiment(store, plan.runtime.tracking.experiment))

    finished = _execute(plan, store, open_store, reporter)
    _export_best(finished, store, reporter)
    return finished


def run_sweep(
    plan: Plan,
    reporter: Reporter,
    *,
    generations: Generations | None = None,
    folder: Path | None = None,
) -> FinishedSweep:
    """Train and track a sweep.

    Args:
        plan: Its first generation of jobs.
        reporter: Receives progress and results.
        generations: Further generations, if there are any.
        folder: Folder in which the table of results is written as well; None for no such file.

    Raises:
        ConfigError: The store, the workers or ``folder`` cannot be used.
        TrackingError: Runs cannot be written to the store; the message says how to resume.
    """
    rungs.check(plan.jobs, plan.runtime.search)
    if folder is not None:
        _check_writable(folder)
    store = locate(plan.runtime.tracking.uri, Path.cwd(), os.environ)
    started = now()

    def open_store() -> TrackedSweep:
        return _start_sweep(store, plan, started)

    finished = _execute(
        plan, store, open_store, reporter, generations=generations, has_stored=plan.runtime.reuse
    )
    if folder is not None:
        _write_results(finished, folder)
    _report_lr_range(finished, store, reporter)
    _export_best(finished, store, reporter)
    _confirm(finished, store, reporter)
    return finished


def dry_run(plan: Plan, reporter: Reporter) -> None:
    """Report what running a plan would take; nothing is written.

    Raises:
        ConfigError: The store or the workers cannot be used.
    """
    rungs.check(plan.jobs, plan.runtime.search)
    store = locate(plan.runtime.tracking.uri, Path.cwd(), os.environ)
    with open_executor(plan.runtime) as executor:
        reporter.announce(plan, store, executor.description)
        for sentence in forecast.sentences(plan, store, executor):
            reporter.say(sentence)


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


def resume_sweep(request: ResumeRequest, reporter: Reporter) -> FinishedSweep:
    """Train the jobs of a stored sweep that have no finished run.

    Args:
        request: The sweep.
        reporter: Receives progress and results.

    Raises:
        ConfigError: It is not a sweep, is still running, cannot be resumed, or has no pruned jobs
            although they are asked for.
        TrackingError: Runs cannot be written to the store; the message says how to resume.
    """
    archive, sweep = request.archive, request.sweep
    resume.check_can_resume(sweep, request.ended)
    stored = resume.plan_of(sweep, archive)
    plan = _continued(stored, request)
    if not request.pruned or plan.trains_pruned:
        return _train_missing(request, plan, reporter)
    pruned = rungs.pruned_epochs(plan.rungs)
    if not pruned:
        raise ConfigError(f"{sweep.label} has no pruned runs.")
    reporter.say(f"Training {len(pruned)} pruned runs to their ends.")
    before = _StoredPlan(stored, archive.file_if_any(sweep, plan_file.NAME))
    return _train_missing(request, replace(plan, trains_pruned=True), reporter, before)


def extend_sweep(
    request: ResumeRequest, arguments: Sequence[str], reporter: Reporter
) -> FinishedSweep:
    """Add jobs to a stored sweep, and train its jobs that have no finished run.

    Args:
        request: The sweep.
        arguments: What is added, see ``extension.extended``.
        reporter: Receives progress and results.

    Raises:
        ConfigError: As ``resume_sweep`` and ``extension.extended``; nothing is written.
        TrackingError: As ``resume_sweep``.
    """
    archive, sweep = request.archive, request.sweep
    resume.check_can_resume(sweep, request.ended)
    file = archive.file_if_any(sweep, plan_file.NAME)
    stored = resume.plan_of(sweep, archive)
    plan = _continued(extension.extended(stored, arguments, composer()), request)
    n_added = len(plan.jobs) - len(stored.jobs)
    if n_added:
        reporter.say(f"Adding {n_added} runs to the {len(stored.jobs)} of the sweep.")
    return _train_missing(request, plan, reporter, _StoredPlan(stored, file))


class _StoredPlan(NamedTuple):
    """The plan of a sweep before it is extended, and its file, if it has one."""

    plan: Plan
    file: bytes | None


def _train_missing(
    request: ResumeRequest,
    plan: Plan,
    reporter: Reporter,
    extended: _StoredPlan | None = None,
) -> FinishedSweep:
    """Train the jobs of a plan that have no finished run, after storing an extended plan."""
    archive, experiment, sweep = request.archive, request.experiment, request.sweep
    store = archive.store
    generations = stored_generations.of_plan(plan)
    command = store.resume_command(sweep.run_id, experiment)
    replaced: list[str] = []

    def open_store() -> TrackedSweep:
        # Opened before the lock is taken, because MLflow's client takes it, too.
        tracker = open_tracker(store, experiment)
        with exclusive_lock(store):
            # Checked again: another process may have resumed it meanwhile.
            found = archive.get(sweep.run_id) or sweep
            resume.check_can_resume(found, request.ended)
            if extended and archive.file_if_any(sweep, plan_file.NAME) != extended.file:
                raise ConfigError(f"{sweep.label} was extended meanwhile; repeat the command.")
            # Other stores have no lock.
            recovery.reopen(tracker, found)
        with _resume_command_in_errors(command):
            recovery.close_orphaned_runs(tracker)
            if extended:
                tracker.add_files(sweep.run_id, {plan_file.NAME: plan_file.to_bytes(plan)})
                _describe_extension(archive, sweep, extended.plan, plan)
            resume.write_spooled_runs(plan, archive, tracker, sweep.run_id)
            tracked = TrackedSweep(tracker, sweep.run_id, command)
            tracked = _with_stored_results(tracked, plan, archive)
            replaced.extend(tracked.replaced)
        return tracked

    finished = _execute(plan, store, open_store, reporter, generations=generations, has_stored=True)
    tracked = {row.run_id for row in finished.rows}
    with _resume_command_in_errors(command):
        unfinished = archive.search(Query(statuses=UNFINISHED, sweep=sweep.run_id), NO_PARTS)
        superseded = [run.run_id for run in unfinished if run.run_id not in tracked]
        if finished.is_complete:
            superseded += replaced
        if superseded:
            recovery.delete_runs(archive.client, superseded)
    _report_lr_range(finished, store, reporter)
    _export_best(finished, store, reporter)
    if extended or run_tags.CONFIRMED_BY not in sweep.tags:
        _confirm(finished, store, reporter)
    return finished


def _describe_extension(archive: Archive, sweep: StoredRun, before: Plan, plan: Plan) -> None:
    """Tag and rename the parent run of a sweep that is extended."""
    retry, client = RetryPolicy(), archive.client
    if plan.extensions:
        arguments = shlex.join(plan.extensions)[: run_tags.MAX_LENGTH]
        retry.call(client.set_tag, sweep.run_id, run_tags.EXTENSIONS, arguments)
    # A name that the user gave stays.
    if sweep.name == provenance.sweep_name(before):
        name = provenance.sweep_name(plan)
        retry.call(client.update_run, sweep.run_id, name=name)
    if run_tags.CONFIRMED_BY in sweep.tags:
        # Another combination may be the best now.
        retry.call(client.delete_tag, sweep.run_id, run_tags.CONFIRMED_BY)


def _continued(plan: Plan, request: ResumeRequest) -> Plan:
    """The plan with the backend and the budget of the request. Raises ConfigError."""
    backend = request.backend or plan.runtime.backend
    runtime = replace(plan.runtime, backend=backend, budget=request.budget)
    combinations.check_runtime(runtime)
    budget.check(runtime.budget, plan.jobs)
    return replace(plan, runtime=runtime)


def _execute(
    plan: Plan,
    store: Store,
    open_store: Callable[[], TrackedSweep],
    reporter: Reporter,
    *,
    generations: Generations | None = None,
    has_stored: bool = False,
) -> FinishedSweep:
    """Train and track the jobs of a plan, and close the parent run of a sweep.

    Args:
        plan: The first generation of jobs.
        store: The store, for messages.
        open_store: Opens the store; called in the thread of the ``RunWriter``.
        reporter: Receives progress and results.
        generations: Further generations.
        has_stored: Whether the store may hold results of the jobs already.
    """
    with open_executor(plan.runtime) as executor:
        reporter.announce(plan, store, executor.description)
        if store.is_new:
            reporter.say("Preparing a new store (a few seconds) ...")
        is_ranked = not comparable.sentence(plan.jobs, plan.objective)
        ranked_by = plan.objective if is_ranked else None
        total = max(len(plan.jobs), generations.n_jobs if generations is not None else 0)
        with (
            reporter.progress(total, ranked_by) as on_result,
            RunWriter(open_store) as writer,
        ):
            runner = SweepRunner(plan, executor, writer, on_result)
            runner.say = reporter.say

            def on_epochs(jobs: Sequence[Job], losses: Array) -> None:
                reporter.on_epochs(jobs, losses)
                runner.on_epochs(jobs, losses)

            executor.on_epochs = on_epochs
            with runner.resume_command_in_errors():
                if has_stored:
                    runner.use_stored_results()
                    for note in writer.sweep.notes:
                        reporter.say(note)
                runner.train()
                trials: Sequence[Trial] = ()
                race: RaceResult | None = None
                if generations is not None and runner.is_complete:
                    _train_generations(runner, generations, reporter)
                    trials, race = generations.trials(runner.plan), generations.race(runner.plan)
                finished = _with_study(replace(runner.finish(), trials=trials, race=race))
                if finished.parent is not None:
                    record = _parent_record(finished, runner.started)
                    writer.sweep.tracker.close_run(finished.parent, record)
                    writer.sweep.tracker.finish()
                    finished = replace(finished, files=record.artifacts)
    reporter.finished(finished, store)
    return finished


def _train_generations(runner: SweepRunner, generations: Generations, reporter: Reporter) -> None:
    """Train the generations after those of the plan."""
    runner.continue_from(generations.catch_up(runner.plan, runner.scores))
    while runner.is_complete:
        extended = generations.extend(runner.plan, runner.last_scores())
        for sentence in generations.progress(runner.plan):
            reporter.say(sentence)
        if extended is None:
            break
        runner.extend(extended)
        runner.train()


def _with_study(finished: FinishedSweep) -> FinishedSweep:
    """Add the results of a study to a sweep that is one."""
    if finished.plan.study is None:
        return finished
    from bpexp.studies.sweep_results import study_results

    study = definition.parse(finished.plan.study)
    return replace(finished, study=study_results(study, finished))


def _parent_record(finished: FinishedSweep, started: int) -> RunRecord:
    """Return the final record of the parent run of a sweep.

    There is no plot of an interrupted sweep: the user waits for the program to end.
    """
    from bpexp.sweeps import summary

    record = summary.sweep_record(finished, started, now(started))
    if finished.interrupted:
        return record
    from bpexp.sweeps import summary_plot

    pictures = summary_plot.pictures(finished)
    return replace(record, artifacts={**record.artifacts, **pictures})


def _open_experiment(store: Store, experiment: str) -> Tracker:
    """Open or create an experiment, and close runs whose process died."""
    tracker = open_tracker(store, experiment)
    recovery.close_orphaned_runs(tracker)
    return tracker


def _start_sweep(store: Store, plan: Plan, started: int) -> TrackedSweep:
    """Create the parent run of a sweep, with the tags and files that resuming it needs."""
    experiment = plan.runtime.tracking.experiment
    tracker = _open_experiment(store, experiment)
    archive = open_archive(store, experiment) if plan.runtime.reuse else None
    tags = provenance.sweep_tags(plan)
    parent = tracker.open_run(provenance.sweep_name(plan), started, tags)
    command = store.resume_command(parent, experiment)
    with _resume_command_in_errors(command):
        tracker.add_files(parent, provenance.sweep_files(plan))
        tracked = TrackedSweep(tracker, parent, command)
        return tracked if archive is None else _with_stored_results(tracked, plan, archive)


def _with_stored_results(tracked: TrackedSweep, plan: Plan, archive: Archive) -> TrackedSweep:
    """Add the results of jobs that are stored already; runs of other sweeps are linked to this one.

    Runs whose artifacts do not match their digest count as not trained.
    """
    parent = tracked.parent
    assert parent is not None
    link = run_tags.linked_sweep(parent)
    found = resume.finished_runs(plan, parent, archive)
    has_link = {run.run_id for run in archive.search(Query(tags={link: "linked"}), NO_PARTS)}
    linked = {run.run_id for run in found.runs.values() if run.parent != parent} - has_link
    tracked.tracker.tag_many(sorted(linked), link, "linked")
    damaged = [run for run, _ in found.damaged]
    for run in damaged:
        if run.run_id in has_link:
            RetryPolicy().call(archive.client.delete_tag, run.run_id, link)
    return replace(
        tracked,
        stored=resume.results_of(plan, found.runs, archive),
        notes=found.sentences(),
        replaced=[
            *(run.run_id for run in damaged if run.parent == parent),
            *(run.run_id for run in found.superseded),
        ],
    )


@contextmanager
def _resume_command_in_errors(command: str) -> Iterator[None]:
    """Add the command that resumes the sweep to a TrackingError."""
    try:
        yield
    except TrackingError as error:
        reason = str(error).rstrip(".")
        raise TrackingError(f"{reason}; to go on: {command}{error.resume_option}") from error


def _report_lr_range(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Report where training diverges, and the best learning rate, after ``search=lr_range``."""
    if finished.plan.runtime.search.name != "lr_range" or not finished.is_complete:
        return
    assert finished.parent is not None
    from bpexp.analysis.sources import lr_range_of

    reader = open_reader(store)
    parent = lookup.with_id(reader, finished.parent)
    archive = Archive(reader, store, parent.experiment_id)
    found = lr_range_of(archive, parent, finished.ranking.objective)
    if found is not None:
        reporter.say(found.sentence)


def _export_best(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Log the network of the best run as a model, if ``export=best``. Raises ConfigError."""
    if not finished.plan.runtime.export or not finished.is_complete:
        return
    best = finished.ranking.best
    if finished.why_several:
        reporter.say(f"Nothing is exported. {finished.why_several}")
        return
    if best is None:
        reporter.say("No run has a network to export.")
        return
    if finished.parent is not None:
        reporter.say(f"Exporting {best.job.name}: {why_best(finished.ranking)}.")
    from bpexp.export.publish import publish

    reader = open_reader(store)
    run = lookup.with_id(reader, best.run_id)
    # By its id: somebody may have renamed the experiment meanwhile.
    for sentence in publish(Archive(reader, store, run.experiment_id), run):
        reporter.say(sentence)


def _confirm(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Train the best combinations again on fresh seeds, as a sweep of its own, if ``confirm`` is
    set.

    Raises:
        ConfigError, TrackingError: As ``run_sweep``.
    """
    n_seeds = finished.plan.runtime.confirm
    if not n_seeds or not finished.is_complete:
        return
    if finished.why_several:
        reporter.say(f"Nothing is confirmed. {finished.why_several}")
    if finished.ranking.best is None:
        return
    assert finished.parent is not None
    chosen = confirmation.combinations_to_confirm(finished)
    best, seeds = counted(len(chosen), "combination"), counted(n_seeds, "fresh seed")
    reporter.say(f"Training the best {best} again on {seeds}.")
    fresh = run_sweep(confirmation.plan_of(finished), reporter)
    if fresh.interrupted or fresh.parent is None:
        return
    client = connect(store)
    RetryPolicy().call(client.set_tag, finished.parent, run_tags.CONFIRMED_BY, fresh.parent)
    from bpexp.analysis import confirmation as confirmed

    objective, per_setting = finished.ranking.objective, len(fresh.rows) // len(chosen)
    sentences = []
    for place, combination in enumerate(chosen):
        rows = fresh.rows[place * per_setting : (place + 1) * per_setting]
        rows = [row for row in rows if row.metrics]
        scores, name = scores_of(rows, objective), combination.job.combination_name
        is_independent = are_independent(rows)
        sentences.append(
            confirmed.sentence(objective, name, combination.scores, scores, is_independent)
        )
    reporter.say(confirmed.summary(objective, sentences))


def _check_writable(folder: Path) -> None:
    """Raise ConfigError if ``folder`` cannot be created."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _not_writable(folder, f"{existing} is not a folder that can be written")


def _write_results(finished: FinishedSweep, folder: Path) -> None:
    """Write the table of results to ``folder``. Raises ConfigError."""
    try:
        output_directory.create(folder)
        durable.write_file(folder / "results.csv", finished.files["results.csv"])
    except OSError as error:
        raise _not_writable(folder, f"{error.strerror}; the sweep is tracked") from error


def _not_writable(folder: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"hydra.sweep.dir must be a folder that can be written, got {str(folder)!r}: {reason}."
    )
