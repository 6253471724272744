"""Checks that a stored search or race proposes its runs again, given the stored results."""

from dataclasses import dataclass, replace

from bpexp.runs import run_tags
from bpexp.sweeps import resume, stored_generations
from bpexp.sweeps.generations import OtherProposalsError
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.ranking import scores_to_tell
from bpexp.sweeps.samplers.search import version
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import FINISHED, StoredRun


@dataclass(frozen=True)
class Trajectory:
    """Whether the trials of a search, or the runs of a race, are proposed again.

    Attributes:
        is_identical: Whether they are.
        sentence: What was found.
    """

    is_identical: bool
    sentence: str


def check(sweep: StoredRun, archive: Archive) -> Trajectory | None:
    """Propose the runs of a stored sweep again; None if it is neither a search nor a race.

    Args:
        sweep: The parent run.
        archive: Where it is stored.

    Raises:
        ConfigError: The plan cannot be read, or a package is missing.
    """
    plan = resume.plan_of(sweep, archive)
    generations = stored_generations.of_plan(plan)
    if generations is None:
        return None
    n_proposed, noun = _proposed(plan)
    children = archive.search(replace(FINISHED, sweep=sweep.run_id), resume.NEEDED)
    found = resume.finished_runs(plan, children, [], archive).runs
    rows = resume.results_of(plan, found, archive).rows
    if len(rows) < len(plan.jobs):
        missing = len(plan.jobs) - len(rows)
        return Trajectory(True, f"The {noun} were not proposed again: {missing} runs are missing.")
    try:
        generations.catch_up(
            plan, lambda jobs: scores_to_tell([rows[job.index] for job in jobs], plan.objective)
        )
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
