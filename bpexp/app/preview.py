"""Says what a run or sweep would take, without running it."""

from collections.abc import Collection

from bpexp.app.opening import store_of
from bpexp.reporter import Reporter
from bpexp.sweeps import forecast, resume, rungs
from bpexp.sweeps.executors import open_executor
from bpexp.sweeps.plan import Plan
from bpexp.tracking.archive import Archive, open_archive
from bpexp.tracking.lookup import NoExperimentError
from bpexp.tracking.store import Store


def dry_run(plan: Plan, reporter: Reporter) -> None:
    """Report what running the plan of a new sweep would take; nothing is written.

    Raises:
        ConfigError: The store, its experiment or the workers cannot be used.
    """
    rungs.check(plan.jobs, plan.runtime.search)
    store = store_of(plan)
    try:
        archive = None if store.is_new else open_archive(store, plan.runtime.tracking.experiment)
    except NoExperimentError:
        # The first run creates it.
        archive = None
    stored = () if archive is None else resume.stored_jobs(plan, "", archive, others=True)
    _report(plan, store, reporter, stored, are_kept=plan.runtime.reuse, confirms=True)


def dry_run_of_stored(
    plan: Plan, archive: Archive, sweep: str, reporter: Reporter, *, confirms: bool
) -> None:
    """Report what training the missing runs of a stored sweep would take; nothing is written.

    Args:
        plan: The plan of the sweep.
        archive: Where it is stored.
        sweep: Its id.
        reporter: Receives the sentences.
        confirms: Whether the best combinations are confirmed afterwards.

    Raises:
        ConfigError: The workers cannot be used.
    """
    stored = resume.stored_jobs(plan, sweep, archive, others=plan.runtime.reuse)
    _report(plan, archive.store, reporter, stored, are_kept=True, confirms=confirms)


def _report(
    plan: Plan,
    store: Store,
    reporter: Reporter,
    stored: Collection[int],
    *,
    are_kept: bool,
    confirms: bool,
) -> None:
    with open_executor(plan.runtime) as executor:
        reporter.announce(plan, store, executor.description)
        for sentence in forecast.sentences(
            plan, executor, stored, are_kept=are_kept, confirms=confirms
        ):
            reporter.say(sentence)
