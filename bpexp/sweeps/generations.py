"""The generations of jobs that a sampler proposes after the first one of a sweep.

A grid has one generation, and needs none of this.
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

ScoresOf = Callable[[Sequence[Job]], Sequence[float | None]]
"""Returns the scores of jobs that have been trained, see ``Sampler.tell``."""


class OtherProposalsError(ConfigError):
    """A sampler does not propose the jobs that are stored."""


@dataclass(frozen=True)
class Generations:
    """Where the jobs of a new sweep come from after its first generation.

    Attributes:
        sampler: Proposes generations. Its ``ask`` has been called once, for the first generation.
        compose: Composes the configuration of a proposed job.
    """

    sampler: Sampler
    compose: Callable[[Any], Mapping[str, Any]]

    def catch_up(self, plan: Plan, scores_of: ScoresOf) -> None:
        """Bring the sampler to the last generation of a plan, before whose jobs all are trained.

        The sampler of a new sweep is there: the plan has one generation.

        Args:
            plan: The plan.
            scores_of: Returns the scores of jobs.

        Raises:
            ConfigError: The sampler proposes other jobs than the plan has.
        """

    def next_plan(self, plan: Plan, scores: Sequence[float | None]) -> Plan | None:
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
        return plan.with_generation(map(self.compose, proposals)) if proposals else None

    def progress(self, plan: Plan) -> Sequence[str]:
        """Sentences on the results so far, after a generation."""
        return ()

    def race(self, plan: Plan) -> "RaceResult | None":
        """How the combinations of a race came out so far; None before its first block ended."""
        return None

    def trials(self, plan: Plan) -> Sequence[Trial]:
        """The trials of a search so far."""
        return ()


@dataclass(frozen=True)
class ReplayedGenerations(Generations):
    """The generations of a sweep that can be resumed, although its sampler is not stored.

    ``bpexp.sweeps.search`` has those of a search, ``bpexp.sweeps.race`` those of a race.

    Attributes:
        sampler: A new sampler, whose ``ask`` has not been called.
    """

    def catch_up(self, plan: Plan, scores_of: ScoresOf) -> None:
        """Ask for the generations of the plan again, and tell all but the last one's scores.

        Raises:
            OtherProposalsError: The sampler proposes other jobs than the plan has.
        """
        *earlier, last = plan.jobs_by_generation
        for jobs in earlier:
            self._ask_again(jobs)
            self.sampler.tell(scores_of(jobs))
        self._ask_again(last)

    def _ask_again(self, jobs: Sequence[Job]) -> None:
        """Ask for a generation that is known."""
        configs = [train_config(self.compose(proposal)) for proposal in self.sampler.ask()]
        if configs != [job.config for job in jobs]:
            raise OtherProposalsError(
                f"The sampler proposes other runs than before from run {jobs[0].index + 1} on: "
                "packages, data or results have changed; start a new sweep."
            )


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """What the result of a composed job depends on. Raises ConfigError."""
    return parse_train({key: value for key, value in values.items() if key not in RUNTIME})
