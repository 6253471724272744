"""The generations of jobs that a sampler proposes for a sweep.

A grid has one generation, and needs none of this.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bpexp.config.schema import RUNTIME, TrainConfig, parse_train
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import Plan, make_plan
from bpexp.sweeps.samplers.base import Proposal, Sampler
from bpexp.sweeps.samplers.trials import Trial

if TYPE_CHECKING:
    from bpexp.sweeps.race_result import RaceResult

ScoresOf = Callable[[Sequence[Job]], Sequence[float | None]]
"""Returns the scores of jobs that have been trained, see ``Sampler.tell``."""


class OtherProposalsError(ConfigError):
    """A sampler does not propose the jobs that are stored."""


@dataclass
class Generations:
    """The generations of jobs of a sweep, in the order in which its sampler proposes them.

    The plan of a sweep has the generations that were proposed so far. A new sampler is brought to
    the last one of them by ``catch_up``, as when a sweep is resumed; ``next_plan`` then goes on.
    ``bpexp.sweeps.search`` has the generations of a search, ``bpexp.sweeps.race`` those of a race.

    Attributes:
        sampler: Proposes the jobs. It has not been asked before, and is asked here only.
        compose: Composes the configuration of a proposed job.
    """

    sampler: Sampler
    compose: Callable[[Any], Mapping[str, Any]]
    _n_asked: int = field(default=0, init=False)

    def first_plan(self) -> Plan:
        """Plan the first generation. Raises ConfigError if a proposed job breaks a rule."""
        return make_plan(map(self.compose, self._ask()))

    def catch_up(self, plan: Plan, scores_of: ScoresOf) -> None:
        """Ask the sampler for those generations of a plan that it has not been asked for.

        Args:
            plan: The plan. All jobs before its last generation are trained.
            scores_of: Returns the scores of jobs.

        Raises:
            OtherProposalsError: The sampler proposes other jobs than the plan has.
        """
        generations = plan.jobs_by_generation
        while self._n_asked < len(generations):
            if self._n_asked:
                self.sampler.tell(scores_of(generations[self._n_asked - 1]))
            jobs = generations[self._n_asked]
            configs = [train_config(self.compose(proposal)) for proposal in self._ask()]
            if configs != [job.config for job in jobs]:
                raise OtherProposalsError(
                    f"The sampler proposes other runs than before from run {jobs[0].index + 1} on: "
                    "packages, data or results have changed; start a new sweep."
                )

    def next_plan(self, plan: Plan, scores: Sequence[float | None]) -> Plan | None:
        """Report the results of the last generation to the sampler and plan the next one.

        Args:
            plan: The plan so far, with which the sampler has caught up.
            scores: The score of each job of the last generation, see ``Sampler.tell``.

        Returns:
            The plan with the next generation, or None if the sampler proposes no more jobs.

        Raises:
            ConfigError: A proposed job breaks a rule.
        """
        self.sampler.tell(scores)
        proposals = self._ask()
        return plan.with_generation(map(self.compose, proposals)) if proposals else None

    def _ask(self) -> Sequence[Proposal]:
        self._n_asked += 1
        return self.sampler.ask()

    def progress(self, plan: Plan) -> Sequence[str]:
        """Sentences on the results so far, after a generation."""
        return ()

    def race(self, plan: Plan) -> "RaceResult | None":
        """How the combinations of a race came out so far; None before its first block ended."""
        return None

    def trials(self, plan: Plan) -> Sequence[Trial]:
        """The trials of a search so far."""
        return ()


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """What the result of a composed job depends on. Raises ConfigError."""
    return parse_train({key: value for key, value in values.items() if key not in RUNTIME})
