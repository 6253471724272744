"""Trains and tracks one run, or stores one whose store had failed."""

from functools import partial

from bpexp.app import final_steps, opening
from bpexp.app.execution import execute
from bpexp.reporter import Reporter
from bpexp.runs.run_tags import IDENTITY, PROCESS
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_writer import TrackedSweep
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking import lookup, spool
from bpexp.tracking.archive import Archive
from bpexp.tracking.contract import RunRecord, Tracker
from bpexp.tracking.factory import open_reader
from bpexp.tracking.ids import short
from bpexp.tracking.reading import NO_PARTS, Query, StoredRun
from bpexp.tracking.retry import ResumeAdvice, resume_command_in_errors
from bpexp.tracking.store import Store


def run_single(plan: Plan, reporter: Reporter) -> FinishedSweep:
    """Train and track one run.

    Raises:
        ConfigError: The store or the workers cannot be used.
        TrackingError: The run cannot be written to the store; the message says how to store it
            later.
    """
    store = opening.store_of(plan)
    experiment = plan.runtime.tracking.experiment
    finished = execute(plan, store, partial(_open_store, store, experiment), reporter)
    final_steps.export_best(finished, store, reporter)
    return finished


def store_spooled_run(store: Store, experiment: str, key: str, reporter: Reporter) -> None:
    """Write a single run to the store that could not be written at its end.

    Args:
        store: The store.
        experiment: The name of its experiment.
        key: The name of its folder in the spool.
        reporter: Receives the id of the run.

    Raises:
        ConfigError: The file in the spool is damaged, or the store cannot be used.
        TrackingError: The store does not take the run, which stays in the spool.
    """
    tracker = opening.open_experiment(store, experiment)
    reader = open_reader(store)
    archive = Archive(reader, store, lookup.experiment_id(reader, experiment))
    command = store.resume_command(key, experiment)
    for file in spool.files(key):
        for record in spool.read(file):
            stored = _same_run(archive, record)
            with resume_command_in_errors(lambda: ResumeAdvice(command)):
                run_id = _store(record, stored, tracker)
            reporter.say(f"The run is stored. Show it: bpexp show {short(run_id)}")
        spool.remove(file)


def _store(record: RunRecord, stored: StoredRun | None, tracker: Tracker) -> str:
    """Write a record to the store, unless it holds the finished run; returns the run's id."""
    if stored is None:
        return tracker.stage([record], None).commit()[0]
    if stored.status != "FINISHED":
        tracker.close_run(stored.run_id, record)
    return stored.run_id


def _same_run(archive: Archive, record: RunRecord) -> StoredRun | None:
    """The run in the store that a record is of: it was shown while it was trained.

    Or it was written before, by a process that was killed before it removed the record.
    """
    tags = {key: record.tags[key] for key in (IDENTITY, PROCESS)}
    for run in archive.search(Query(tags=tags, are_sweeps=False), NO_PARTS):
        # A run is shown before it is known when its training began.
        is_shown = run.status != "FINISHED" and run.started <= record.started
        if is_shown or run.started == record.started:
            return run
    return None


def _open_store(store: Store, experiment: str) -> TrackedSweep:
    return TrackedSweep(opening.open_experiment(store, experiment), store, experiment)
