"""Says what a run or sweep would take, without running it."""

from bpexp.app.opening import store_of
from bpexp.reporter import Reporter
from bpexp.sweeps import forecast, rungs
from bpexp.sweeps.executors import open_executor
from bpexp.sweeps.plan import Plan


def dry_run(plan: Plan, reporter: Reporter) -> None:
    """Report what running a plan would take; nothing is written.

    Raises:
        ConfigError: The store or the workers cannot be used.
    """
    rungs.check(plan.jobs, plan.runtime.search)
    store = store_of(plan)
    with open_executor(plan.runtime) as executor:
        reporter.announce(plan, store, executor.description)
        for sentence in forecast.sentences(plan, store, executor):
            reporter.say(sentence)
