"""The generations of jobs that a sampler proposes after the first one of a sweep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.samplers.base import Sampler
from bpexp.sweeps.samplers.trials import Trial

Scores = Callable[[Sequence[Job]], Sequence[float | None]]
"""The scores of jobs that have been trained, see ``Sampler.tell``."""


@dataclass(frozen=True)
class Generations:
    """Where the jobs of a sweep come from after its first generation.

    ``bpexp.sweeps.search`` has the generations of a search.

    Attributes:
        sampler: Proposes generations. ``ask`` has been called once, for the first generation.
        compose: Composes the configuration of a proposed job.
        n_jobs: The maximum number of jobs; 0 if it is not known.
    """

    sampler: Sampler
    compose: Callable[[Any], Mapping[str, Any]]
    n_jobs: int = 0

    def catch_up(self, plan: Plan, scores: Scores) -> int:
        """Bring the sampler to the last generation of a plan, whose jobs are trained.

        Args:
            plan: The plan.
            scores: The scores of jobs.

        Returns:
            The index of the first job of the last generation.

        Raises:
            ConfigError: The sampler proposes other jobs than the plan has.
        """
        return 0

    def extend(self, plan: Plan, scores: Sequence[float | None]) -> Plan | None:
        """Report the results of the last generation to the sampler and plan the next one.

        Args:
            plan: The plan so far.
            scores: The score of each job of the last generation, see ``Sampler.tell``.

        Returns:
            The plan with the next generation, or None if the sampler proposes no more jobs.

        Raises:
            ConfigError: A proposed job breaks a rule.
        """
        self.sampler.tell(scores)
        proposals = self.sampler.ask()
        return plan.extended(map(self.compose, proposals)) if proposals else None

    def progress(self, plan: Plan) -> Sequence[str]:
        """Sentences on the results so far, after a generation."""
        return ()

    @property
    def trials(self) -> Sequence[Trial]:
        """The trials of a search so far."""
        return ()
