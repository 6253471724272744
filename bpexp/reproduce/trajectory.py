"""Checks that a stored search proposes its trials again, given the stored results."""

from dataclasses import dataclass, replace

from bpexp.config.compose import composer
from bpexp.runs import run_tags
from bpexp.sweeps import resume, search
from bpexp.sweeps.ranking import scores_to_tell
from bpexp.sweeps.samplers.search import version
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import FINISHED, StoredRun


@dataclass(frozen=True)
class Trajectory:
    """Whether the trials of a search are proposed again.

    Attributes:
        is_identical: Whether they are.
        sentence: What was found.
    """

    is_identical: bool
    sentence: str


def check(sweep: StoredRun, archive: Archive) -> Trajectory | None:
    """Propose the trials of a stored sweep again; None if it is not a search.

    Args:
        sweep: The parent run.
        archive: Where it is stored.

    Raises:
        ConfigError: The plan cannot be read, or a package is missing.
    """
    plan = resume.plan_of(sweep, archive)
    if plan.search is None or plan.runtime.search.name is None:
        return None
    n_trials = len(plan.jobs) // plan.search.n_replicates
    children = archive.search(replace(FINISHED, sweep=sweep.run_id), resume.NEEDED)
    found = resume.finished_runs(plan, children, [], archive).runs
    rows = resume.results_of(plan, found, archive).rows
    if len(rows) < len(plan.jobs):
        missing = len(plan.jobs) - len(rows)
        return Trajectory(True, f"The trials were not proposed again: {missing} runs are missing.")
    job_composer = composer()
    try:
        search.replay(
            plan,
            search.sampler_of(plan, job_composer),
            search.compose_like(plan, job_composer),
            lambda jobs: scores_to_tell([rows[job.index] for job in jobs], plan.objective),
        )
    except search.OtherProposalsError as error:
        then, now = sweep.tags.get(run_tags.SAMPLER), version(plan.runtime.search.name)
        packages = f" ({then} then, {now} now)" if then != now else ""
        return Trajectory(False, f"{str(error).rstrip('.')}{packages}.")
    return Trajectory(True, f"{n_trials} of {n_trials} trials proposed again.")
