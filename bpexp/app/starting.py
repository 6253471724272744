"""Starts a sweep in a store: its parent run, and the stored runs that it does not train again."""

from dataclasses import replace

from bpexp.app.opening import open_experiment
from bpexp.sweeps import provenance, resume
from bpexp.sweeps.parent_files import ParentFiles
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_writer import TrackedSweep
from bpexp.tracking.archive import Archive, open_archive
from bpexp.tracking.retry import ResumeAdvice, resume_command_in_errors
from bpexp.tracking.store import Store


def start_sweep(store: Store, plan: Plan, started: int) -> TrackedSweep:
    """Create the parent run of a sweep, with the tags and files that resuming it needs.

    Args:
        store: The store.
        plan: The sweep.
        started: When it was started, in milliseconds since the Unix epoch.
    """
    experiment = plan.runtime.tracking.experiment
    tracker = open_experiment(store, experiment)
    archive = open_archive(store, experiment) if plan.runtime.reuse else None
    tags = provenance.sweep_tags(plan)
    parent = tracker.open_run(provenance.sweep_name(plan), started, tags)
    files = ParentFiles(tracker, parent)
    tracked = TrackedSweep(tracker, store, experiment, parent, files)
    with resume_command_in_errors(lambda: ResumeAdvice(tracked.resume_command(parent))):
        files.write(provenance.sweep_files(plan))
        return tracked if archive is None else with_stored_results(tracked, plan, archive)


def with_stored_results(tracked: TrackedSweep, plan: Plan, archive: Archive) -> TrackedSweep:
    """Add the results of jobs that are stored already.

    With ``reuse=true``, runs of other sweeps are linked to this one. Runs whose artifacts do not
    match their digest count as not trained.
    """
    parent = tracked.parent
    assert parent is not None
    is_reusing = plan.runtime.reuse
    earlier = resume.finished_runs(plan, parent, archive, others=is_reusing)
    earlier.link(parent, tracked.tracker)
    return replace(
        tracked,
        reusable=resume.ReusableRuns(archive, tracked.tracker, parent) if is_reusing else None,
        stored=resume.results_of(plan, earlier.runs, archive),
        notes=earlier.sentences(),
        replaced=[
            *(run.run_id for run, _ in earlier.damaged if run.parent == parent),
            *(run.run_id for run in earlier.superseded),
        ],
    )
