"""Trains and tracks a sweep."""

import os
from functools import partial
from pathlib import Path

from bpexp.app import opening
from bpexp.app.execution import execute
from bpexp.app.follow_up import follow_up
from bpexp.app.starting import start_sweep
from bpexp.fields.checks import ConfigError
from bpexp.reporter import Reporter
from bpexp.runs import file_names
from bpexp.sweeps import rungs
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking import durable, output_directory
from bpexp.tracking.clock import now


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
        folder: Folder in which the table of results is written as well, and the page of a study;
            None for no such files.

    Raises:
        ConfigError: The store, the workers or ``folder`` cannot be used.
        TrackingError: Runs cannot be written to the store; the message says how to resume.
    """
    rungs.check(plan.jobs, plan.runtime.search)
    if folder is not None:
        _check_writable(folder)
    store = opening.store_of(plan)
    finished = execute(
        plan,
        store,
        partial(start_sweep, store, plan, now()),
        reporter,
        generations=generations,
        has_stored=plan.runtime.reuse,
    )
    if folder is not None:
        _write_results(finished, folder)
        if finished.study is not None:
            reporter.say(f"Written: {folder / 'study.html'}")
    follow_up(finished, store, reporter)
    return finished


def _check_writable(folder: Path) -> None:
    """Raise ConfigError if ``folder`` cannot be created."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _not_writable(folder, f"{existing} is not a folder that can be written")


def _write_results(finished: FinishedSweep, folder: Path) -> None:
    """Write the table of results, and the files of a study, to ``folder``. Raises ConfigError."""
    files = {file_names.RESULTS_CSV: finished.files[file_names.RESULTS_CSV]}
    if finished.study is not None:
        files |= finished.study.files
    try:
        output_directory.create(folder)
        for name, content in files.items():
            durable.write_file(folder / name, content)
    except OSError as error:
        raise _not_writable(folder, f"{error.strerror}; the sweep is tracked") from error


def _not_writable(folder: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"hydra.sweep.dir must be a folder that can be written, got {str(folder)!r}: {reason}."
    )
