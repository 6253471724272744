"""Trains and tracks the jobs of a plan: the part that single runs and all sweeps have in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bpexp.app import final_steps
from bpexp.reporter import Reporter
from bpexp.sweeps import comparable
from bpexp.sweeps.executors import open_executor
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.run_writer import RunWriter, TrackedSweep
from bpexp.sweeps.runner import FinishedSweep, SweepRunner
from bpexp.tracking.retry import resume_command_in_errors
from bpexp.tracking.store import Store


def execute(
    plan: Plan,
    store: Store,
    open_store: Callable[[], TrackedSweep],
    reporter: Reporter,
    *,
    generations: Generations | None = None,
    has_stored: bool = False,
) -> FinishedSweep:
    """Train and track the jobs of a plan, and close the parent run of a sweep.

    Args:
        plan: The first generation of jobs.
        store: The store, for messages.
        open_store: Opens the store; called in the thread of the ``RunWriter``.
        reporter: Receives progress and results.
        generations: Further generations.
        has_stored: Whether the store may hold results of the jobs already: the training then starts
            only when the store is open.

    Raises:
        ConfigError: The store or the workers cannot be used.
        TrackingError: Runs cannot be written to the store; the message says how to resume a sweep.
    """
    with open_executor(plan.runtime) as executor:
        reporter.announce(plan, store, executor.description)
        if store.is_new:
            reporter.say("Preparing a new store (a few seconds) ...")
        is_ranked = not comparable.sentence(plan.jobs, plan.objective)
        ranked_by = plan.objective if is_ranked else None
        with (
            reporter.progress(plan.max_jobs, ranked_by) as on_result,
            RunWriter(open_store) as writer,
        ):
            runner = SweepRunner(plan, executor, writer, reporter, on_result)
            with (
                resume_command_in_errors(runner.resume_advice),
                _resume_command_if_interrupted(runner, reporter),
            ):
                if has_stored:
                    runner.use_stored_results()
                if generations is None:
                    runner.train()
                    finished = runner.finish()
                else:
                    finished = _train_generations(runner, generations, reporter)
                finished = final_steps.with_study(finished)
                if writer.sweep.files is not None:
                    record = final_steps.parent_record(finished, runner.started)
                    writer.sweep.files.close(record)
                    writer.sweep.tracker.finish()
                    finished = replace(finished, files=record.artifacts)
    reporter.finished(finished, store)
    return finished


@contextmanager
def _resume_command_if_interrupted(runner: SweepRunner, reporter: Reporter) -> Iterator[None]:
    """Say how a sweep is resumed that is interrupted after its training."""
    try:
        yield
    except KeyboardInterrupt:
        advice = runner.resume_advice()
        if advice is not None:
            reporter.say(f"Resume: {advice.command}")
        raise


def _train_generations(
    runner: SweepRunner, generations: Generations, reporter: Reporter
) -> FinishedSweep:
    """Train the generations of the plan and those after them."""
    earlier = runner.plan.jobs_by_generation[:-1]
    unknown = {job.index for job in runner.missing()}
    is_known = not any(job.index in unknown for jobs in earlier for job in jobs)
    if is_known:
        # Before the training, which the user may interrupt.
        generations.catch_up(runner.plan, runner.scores)
    runner.train()
    if not is_known and runner.is_complete:
        generations.catch_up(runner.plan, runner.scores)
    while runner.is_complete:
        plan = generations.next_plan(runner.plan, runner.scores(runner.plan.last_generation))
        for sentence in generations.progress(runner.plan):
            reporter.say(sentence)
        if plan is None:
            break
        runner.add_generation(plan)
        runner.train()
    trials, race = generations.trials(runner.plan), generations.race(runner.plan)
    return replace(runner.finish(), trials=trials, race=race)
