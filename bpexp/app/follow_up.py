"""What follows a sweep: its learning rates, the export, the confirmation on fresh seeds."""

from functools import partial

from bpexp.app import final_steps
from bpexp.app.execution import execute
from bpexp.app.starting import start_sweep
from bpexp.render.wording import counted
from bpexp.reporter import Reporter
from bpexp.runs import run_tags
from bpexp.sweeps import confirmation
from bpexp.sweeps.runner import FinishedSweep
from bpexp.tracking.clock import now
from bpexp.tracking.retry import RetryPolicy
from bpexp.tracking.store import Store, connect


def follow_up(
    finished: FinishedSweep, store: Store, reporter: Reporter, *, confirms: bool = True
) -> None:
    """Do what the settings of a sweep ask for after it.

    Args:
        finished: The sweep.
        store: Where it is stored.
        reporter: Receives progress and results.
        confirms: Whether its best combinations are to be trained again, if ``confirm`` is set.

    Raises:
        ConfigError: The store or the workers cannot be used.
        TrackingError: Runs cannot be written to the store; the message says how to resume.
    """
    final_steps.report_lr_range(finished, store, reporter)
    final_steps.export_best(finished, store, reporter)
    if confirms:
        _confirm(finished, store, reporter)


def _confirm(finished: FinishedSweep, store: Store, reporter: Reporter) -> None:
    """Train the best combinations again, as a sweep of its own, if ``confirm`` is set."""
    n_seeds = finished.plan.runtime.confirm
    if not n_seeds or not finished.is_complete:
        return
    if finished.why_several:
        reporter.say(f"Nothing is confirmed. {finished.why_several}")
        return
    chosen = confirmation.combinations_to_confirm(finished)
    if not chosen:
        reporter.say("Nothing is confirmed: no combination has a result at its end.")
        return
    assert finished.parent is not None
    best = "combination" if len(chosen) == 1 else f"{len(chosen)} combinations"
    reporter.say(f"Training the best {best} again on {counted(n_seeds, 'fresh seed')}.")
    plan = confirmation.plan_of(finished)
    fresh = execute(plan, store, partial(start_sweep, store, plan, now()), reporter)
    if fresh.interrupted or fresh.parent is None:
        return
    client = connect(store)
    RetryPolicy().call(client.set_tag, finished.parent, run_tags.CONFIRMED_BY, fresh.parent)
    final_steps.report_confirmation(chosen, finished.ranking.objective, fresh, reporter)
