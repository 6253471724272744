"""A plan from announcement to summary, as the command line and Python both use it."""

import os
from pathlib import Path

from bpexp.sweeps.execute import Finished, execute
from bpexp.sweeps.plan import Plan
from bpexp.tracking.contract import Tracker
from bpexp.tracking.store import Store, locate


def run(plan: Plan, *, is_sweep: bool, quiet: bool = False) -> Finished:
    """Train and track a plan, saying so on the terminal unless ``quiet``."""
    from rich.console import Console

    from bpexp.review import summary, terminal

    store = locate(plan.session.tracking.uri, Path.cwd(), os.environ)
    out = Console(quiet=True) if quiet else terminal.console()
    terminal.announce(out, plan, store)
    with terminal.progress(out, len(plan.configs)) as advance:
        finished = execute(
            plan, lambda: open_tracker(store, plan), is_sweep, summary.sweep_record, advance
        )
    terminal.report(out, finished, store)
    return finished


def open_tracker(store: Store, plan: Plan) -> Tracker:
    """The tracker that fits the store."""
    from bpexp.tracking.choice import choose
    from bpexp.tracking.store import connect, experiment_id

    client = connect(store)
    return choose(client, experiment_id(client, store, plan.session.tracking.experiment))


EXIT = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}
"""Exit status of the program by how its runs ended."""


def keep(finished: Finished, folder: Path) -> None:
    """Write the sweep's results also as a file in ``folder``."""
    from bpexp.review import summary

    folder.mkdir(parents=True, exist_ok=True)
    summary.table(finished).to_csv(folder / "results.csv", index=False)
