"""Checks that a stored sweep proposes and stops its runs again as before, given their results."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpexp.render.wording import counted
from bpexp.runs import run_tags
from bpexp.sweeps import plan_generations, resume
from bpexp.sweeps.executors import Executor, make_batches
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.generations import Generations, OtherProposalsError
from bpexp.sweeps.halving import HalvedGeneration, scores_told
from bpexp.sweeps.job import Job
from bpexp.sweeps.paused_jobs import PausedJobs
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.row import Row, row_of
from bpexp.sweeps.rungs import Rung
from bpexp.sweeps.samplers.packages import version
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun


@dataclass(frozen=True)
class Trajectory:
    """Whether a sweep took the same course again.

    Attributes:
        is_identical: Whether it did; None if that could not be checked.
        sentence: What was found.
    """

    is_identical: bool | None
    sentence: str


def check(sweep: StoredRun, archive: Archive, engine: str, n_jobs: int) -> list[Trajectory]:
    """Propose the runs of a stored search or race, and judge those of halving, once more.

    Args:
        sweep: The parent run.
        archive: Where it is stored.
        engine: The engine to train with.
        n_jobs: Number of workers, -1 for all processors.

    Returns:
        A finding for each of both that applies to the sweep.

    Raises:
        ConfigError: The plan cannot be read, or a package is missing.
    """
    plan = resume.plan_of(sweep, archive)
    generations = plan_generations.of_plan(plan)
    is_halved = plan.runtime.search.halving is not None
    if generations is None and not is_halved:
        return []
    runs = resume.finished_runs(plan, sweep.run_id, archive, others=False).runs
    rows = resume.results_of(plan, runs, archive).rows
    if len(rows) < len(plan.jobs):
        missing = len(plan.jobs) - len(rows)
        what = "combinations were not judged"
        if generations is not None:
            what = f"{_proposed(plan)[1]} were not proposed"
        return [Trajectory(None, f"The {what} again: {counted(missing, 'run')} missing.")]
    checked = [] if generations is None else [_proposed_again(plan, generations, rows, sweep)]
    return [*checked, _judged_again(plan, engine, n_jobs)] if is_halved else checked


def _proposed_again(
    plan: Plan, generations: Generations, rows: Mapping[int, Row], sweep: StoredRun
) -> Trajectory:
    """Whether the sampler proposes the same runs."""
    n_proposed, noun = _proposed(plan)
    try:
        generations.catch_up(plan, lambda jobs: scores_told(jobs, rows, plan))
    except OtherProposalsError as error:
        then, now = sweep.tags.get(run_tags.SAMPLER), _sampler_version(plan)
        packages = f" ({then} then, {now} now)" if then != now else ""
        return Trajectory(False, f"{str(error).rstrip('.')}{packages}.")
    return Trajectory(True, f"{n_proposed} of {n_proposed} {noun} proposed again.")


def _proposed(plan: Plan) -> tuple[int, str]:
    """How many trials of a search, or runs of a race, a plan has, and what they are called."""
    if plan.search is None:
        return len(plan.jobs), "runs of the race"
    return len(plan.jobs) // plan.search.n_replicates, "trials"


def _sampler_version(plan: Plan) -> str | None:
    """The version of the package that proposes trials; None for a race."""
    return None if plan.runtime.search.name is None else version(plan.runtime.search.name)


def _judged_again(plan: Plan, engine: str, n_jobs: int) -> Trajectory:
    """Whether the same combinations are stopped, when all are trained again up to each rung."""
    rungs_now: list[Rung] = []
    with LocalExecutor(n_jobs) as executor:
        trainer = _Trainer(executor, engine)
        for jobs in plan.jobs_by_generation:
            generation = HalvedGeneration(jobs, plan.runtime.search, plan.objective)
            for epoch in generation.epochs:
                rows = trainer.rows_after(generation.jobs_to_judge(epoch), epoch)
                rungs_now += generation.judge(epoch, rows)
    if tuple(rungs_now) == plan.rungs:
        return Trajectory(
            True, f"{len(rungs_now)} of {len(rungs_now)} times the same combinations stopped."
        )
    different = next(
        one or other for one, other in itertools.zip_longest(rungs_now, plan.rungs) if one != other
    )
    return Trajectory(
        False,
        f"Combinations are judged differently after {counted(different.epoch, 'epoch')} than "
        "before.",
    )


class _Trainer:
    """Trains jobs from rung to rung, without tracking them."""

    def __init__(self, executor: Executor, engine: str) -> None:
        self._executor, self._engine = executor, engine
        self._paused, self._ended = PausedJobs(), dict[int, Row]()

    def rows_after(self, jobs: Sequence[Job], epoch: int) -> dict[int, Row]:
        """Train jobs for so many epochs, unless they end before; returns their rows by index."""
        due = [job for job in jobs if job.index not in self._ended]
        n_workers, states = self._executor.n_workers, self._paused.states()
        batches = make_batches(due, self._engine, n_workers, epoch, states)
        for trained in self._executor.map(batches):
            ended = self._paused.keep(trained)
            self._ended |= {one.job.index: row_of(one) for one in ended}
        return self._paused.rows(jobs, self._ended)
