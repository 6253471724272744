"""Trains and tracks one run."""

from functools import partial

from bpexp.app import final_steps, opening
from bpexp.app.execution import execute
from bpexp.reporter import Reporter
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_writer import TrackedSweep
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking.store import Store


def run_single(plan: Plan, reporter: Reporter) -> FinishedSweep:
    """Train and track one run.

    Raises:
        ConfigError: The store or the workers cannot be used.
        TrackingError: The run cannot be written to the store.
    """
    store = opening.store_of(plan)
    experiment = plan.runtime.tracking.experiment
    finished = execute(plan, store, partial(_open_store, store, experiment), reporter)
    final_steps.export_best(finished, store, reporter)
    return finished


def _open_store(store: Store, experiment: str) -> TrackedSweep:
    return TrackedSweep(opening.open_experiment(store, experiment))
