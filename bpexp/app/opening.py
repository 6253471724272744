"""Opens the store of a run or sweep."""

import os
from pathlib import Path

from bpexp.sweeps.plan import Plan
from bpexp.tracking import recovery
from bpexp.tracking.contract import Tracker
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.store import Store, locate


def store_of(plan: Plan) -> Store:
    """The store that a plan names, or that of the environment or the current folder.

    Raises:
        ConfigError: It cannot be used.
    """
    return locate(plan.runtime.tracking.uri, Path.cwd(), os.environ)


def open_experiment(store: Store, experiment: str) -> Tracker:
    """Open or create an experiment, and close runs whose process died."""
    tracker = open_tracker(store, experiment)
    recovery.close_orphaned_runs(tracker)
    return tracker
