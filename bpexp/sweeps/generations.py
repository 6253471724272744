"""The generations of jobs that a sampler proposes after the first one of a sweep.

A sampler is not stored. To continue a stored sweep, a new sampler is asked for the generations of
the plan again, and told the stored results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpexp.config.schema import RUNTIME, TrainConfig, parse_train
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.samplers.base import Sampler
from bpexp.sweeps.samplers.trials import Trial

if TYPE_CHECKING:
    from bpexp.sweeps.race_result import RaceResult

Scores = Callable[[Sequence[Job]], Sequence[float | None]]
"""The scores of jobs that have been trained, see ``Sampler.tell``."""


class OtherProposalsError(ConfigError):
    """A sampler does not propose the jobs that are stored."""


@dataclass(frozen=True)
class Generations:
    """Where the jobs of a sweep come from after its first generation.

    ``bpexp.sweeps.search`` has the generations of a search, ``bpexp.sweeps.race`` those of a race.

    Attributes:
        sampler: Proposes generations. ``ask`` has been called once, for the first generation.
        compose: Composes the configuration of a proposed job.
    """

    sampler: Sampler
    compose: Callable[[Any], Mapping[str, Any]]

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

    def race(self, plan: Plan) -> "RaceResult | None":
        """How the combinations of a race came out so far; None if there is no race."""
        return None

    def trials(self, plan: Plan) -> Sequence[Trial]:
        """The trials of a search so far."""
        return ()


def replay(
    plan: Plan,
    sampler: Sampler,
    compose: Callable[[Any], Mapping[str, Any]],
    scores: Scores,
) -> int:
    """Ask a new sampler for the generations of a plan, and tell it all but the last one's scores.

    Args:
        plan: The plan, whose jobs are trained.
        sampler: A new sampler.
        compose: Composes the configuration of a proposed job.
        scores: The scores of jobs.

    Returns:
        The index of the first job of the last generation.

    Raises:
        OtherProposalsError: The sampler proposes other jobs than the plan has.
    """
    first = 0
    while True:
        configs = [train_config(compose(proposal)) for proposal in sampler.ask()]
        last = first + len(configs)
        if not configs or configs != [job.config for job in plan.jobs[first:last]]:
            raise OtherProposalsError(
                f"The sampler proposes other runs than before from run {first + 1} on: packages, "
                "data or results have changed; start a new sweep."
            )
        if last == len(plan.jobs):
            return first
        sampler.tell(scores(plan.jobs[first:last]))
        first = last


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """What the result of a composed job depends on. Raises ConfigError."""
    return parse_train({key: value for key, value in values.items() if key not in RUNTIME})
