"""A plan from announcement to summary, as the command line and Python both use it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.config.schema import BackendConfig
from bpexp.fields.checks import ConfigError
from bpexp.render import plot_process
from bpexp.reporter import Reporter, SilentReporter
from bpexp.sweeps.executors import dask_cluster
from bpexp.sweeps.executors.local import workers
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.results import Tally
from bpexp.sweeps.runner import Beginning, Finished, execute, sweep_name
from bpexp.tracking import output_directory
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import Store, alone, locate

if TYPE_CHECKING:
    from bpexp.tracking.archive import Archive
    from bpexp.tracking.contract import Tracker


SILENT = SilentReporter()


def run(
    plan: Plan, *, is_sweep: bool, folder: Path | None = None, reporter: Reporter = SILENT
) -> Finished:
    """Train and track a plan.

    The results are also written to ``folder``. Raises ConfigError.
    """
    store = locate(plan.session.tracking.uri, Path.cwd(), os.environ)
    begin = partial(_sweep if is_sweep else _single, store, plan)
    with plot_process.beside() if is_sweep else nullcontext(plot_process.here) as draw:
        finished = _carry_out(plan, store, begin, is_sweep and plan.session.reuse, reporter, draw)
    if folder is not None:
        _keep(finished, folder)
    _export(finished, store, reporter)
    return finished


def resume(
    store: Store,
    experiment: str,
    wanted: str,
    *,
    ended: bool,
    backend: BackendConfig | None = None,
    reporter: Reporter = SILENT,
) -> Finished:
    """Train what a sweep lacks. Raises ConfigError where it cannot be, or is being, carried on.

    ``ended`` is the user's word that its process on another machine has ended; without
    ``backend`` it is trained where it was.
    """
    from bpexp.sweeps import resume
    from bpexp.tracking import recovery
    from bpexp.tracking.archive import open_archive

    archive = open_archive(store, experiment)
    sweep = archive.find(wanted)
    resume.check(sweep, ended)
    plan = resume.plan_of(sweep, archive)
    if backend is not None:
        plan = replace(plan, session=replace(plan.session, backend=backend))
    command = store.resume_command(sweep.run_id, experiment)

    def begin(started: int) -> Beginning:
        with alone(store):
            # Another process may have begun to resume it since.
            resume.check(archive.find(sweep.run_id), ended)
            recovery.reopen(archive.client, sweep.run_id)
        with _to_go_on(command):
            tracker = _open(store, experiment)
            resume.unspool(plan, archive, tracker, sweep.run_id)
            found = _reused(plan, archive, tracker, sweep.run_id)
        return Beginning(tracker, sweep.run_id, command, found)

    with plot_process.beside() as draw:
        finished = _carry_out(plan, store, begin, True, reporter, draw)
    held = {row.run_id for row in finished.rows}
    with _to_go_on(command):
        cut = archive.search("attributes.status != 'FINISHED'", sweep.run_id)
        recovery.hide(archive.client, [run.run_id for run in cut if run.run_id not in held])
    _export(finished, store, reporter)
    return finished


@contextmanager
def _to_go_on(command: str) -> Iterator[None]:
    """What the store does not take is said with the command that resumes."""
    try:
        yield
    except TrackingError as error:
        raise TrackingError(f"{str(error).rstrip('.')}; to go on: {command}") from error


def _carry_out(
    plan: Plan,
    store: Store,
    begin: Callable[[int], Beginning],
    may_have_rows: bool,
    reporter: Reporter,
    draw: plot_process.Draw,
) -> Finished:
    from bpexp.sweeps import summary

    with dask_cluster.opened(plan.session.backend) as connected:
        reporter.announce(plan, store, _where(plan, connected))
        with reporter.progress(len(plan.configs)) as advance:
            summarise = partial(summary.sweep_record, draw)
            finished = execute(plan, begin, may_have_rows, summarise, advance, connected)
    reporter.finished(finished, store)
    return finished


def _where(plan: Plan, cluster: dask_cluster.Cluster | None) -> str:
    """The number of workers, and the address of the cluster if they belong to one."""
    count = workers(plan.session.n_jobs) if cluster is None else cluster.size
    owner = "" if cluster is None else f" of {cluster.address}"
    return f"{count} worker{'s' * (count > 1)}{owner}"


def _export(finished: Finished, store: Store, reporter: Reporter) -> None:
    """Log the network of the best run as a model if that is asked. Raises ConfigError."""
    if finished.plan.session.export and not finished.interrupted:
        for sentence in _exported(finished, store):
            reporter.say(sentence)


def _exported(finished: Finished, store: Store) -> list[str]:
    from bpexp.export.publish import publish
    from bpexp.sweeps.results import ranked
    from bpexp.tracking import read
    from bpexp.tracking.store import connect

    best = ranked(finished.rows)
    if not best:
        return ["No run has a network to export."]
    client = connect(store)
    experiment = finished.plan.session.tracking.experiment
    return publish(store, client, read.find(client, experiment, best[0].run_id))


def _open(store: Store, experiment: str) -> "Tracker":
    """The experiment, made if it is not there, without runs that dead processes left open."""
    from bpexp.tracking import recovery
    from bpexp.tracking.factory import open_tracker

    tracker = open_tracker(store, experiment)
    recovery.close_orphans(tracker)
    return tracker


def _single(store: Store, plan: Plan, started: int) -> Beginning:
    return Beginning(_open(store, plan.session.tracking.experiment))


def _sweep(store: Store, plan: Plan, started: int) -> Beginning:
    """The parent of a new sweep, with all that is needed to resume it."""
    from bpexp.sweeps import provenance
    from bpexp.tracking.archive import open_archive

    experiment = plan.session.tracking.experiment
    tracker = _open(store, experiment)
    archive = open_archive(store, experiment) if plan.session.reuse else None
    parent = tracker.open_run(sweep_name(plan), started, provenance.sweep_tags(plan))
    command = store.resume_command(parent, experiment)
    with _to_go_on(command):
        tracker.add_files(parent, provenance.sweep_files(plan))
        found = Tally() if archive is None else _reused(plan, archive, tracker, parent)
    return Beginning(tracker, parent, command, found)


def _reused(plan: Plan, archive: "Archive", tracker: "Tracker", parent: str) -> Tally:
    """The runs that are finished: the sweep's own, and others', which are linked to it."""
    from bpexp.sweeps import resume

    stored = archive.search("attributes.status = 'FINISHED'")
    children = [run for run in stored if run.parent == parent]
    others = [run for run in stored if run.parent != parent and not run.is_sweep]
    found = resume.done(plan, children, others)
    key = f"bpexp.sweep.{parent}"
    new = {r.run_id for r in found.values() if r.parent != parent and key not in r.tags}
    tracker.tag_many(sorted(new), key, "linked")
    rows = resume.rows(plan, found, archive)
    return Tally(rows, resume.predictions(rows, found, archive))


EXIT = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}
"""Exit status of the program by how its runs ended."""


def check_folder(folder: Path) -> None:
    """Raises ConfigError where ``folder`` cannot be made; asked before the first run."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(folder, "it is in no folder that can be written")


def _keep(finished: Finished, folder: Path) -> None:
    """Write the sweep's results also as a file in ``folder``. Raises ConfigError."""
    try:
        output_directory.make(folder)
        (folder / "results.csv").write_bytes(finished.files["results.csv"])
    except OSError as error:
        raise _unwritable(folder, f"{error.strerror}; the sweep is tracked") from error


def _unwritable(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        f"hydra.sweep.dir must be a folder that can be written, got {str(folder)!r}: {why}."
    )
