"""How the combinations of a race came out: what tables, MLflow and reports say about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bpexp.config.schema import SeedsConfig
from bpexp.runs.objective import Objective
from bpexp.sweeps.job import Job
from bpexp.sweeps.samplers.betting import ALPHA
from bpexp.sweeps.samplers.racing import DECIDED, NARROW, Center, center_of
from bpexp.typing import Array

MAX_NAMED = 3
"""Maximum number of combinations that a sentence names."""


@dataclass(frozen=True, eq=False)
class Standing:
    """How one combination came out.

    Attributes:
        job: Its first job.
        scores: The score of each of its seeds, (n_seeds,); smaller is better.
        is_racing: Whether it has not been stopped.
        evidence: The capital of the bets that it is worse, see ``samplers.racing``.
        center: What ranks it, with its interval.
    """

    job: Job
    scores: Array
    is_racing: bool
    evidence: float
    center: Center

    @property
    def n_seeds(self) -> int:
        """How many seeds it got."""
        return len(self.scores)


@dataclass(frozen=True)
class RaceResult:
    """How a race came out, or stands.

    Attributes:
        standings: Of all combinations, in the order of the jobs.
        best: The position of the best combination that races.
        end: Why the race ended, see ``samplers.racing``; "" before.
        objective: What the combinations are compared by.
        config: The settings of the race.
    """

    standings: Sequence[Standing]
    best: int
    end: str
    objective: Objective
    config: SeedsConfig

    @property
    def leader(self) -> Standing:
        """The best combination."""
        return self.standings[self.best]

    @property
    def n_seeds(self) -> int:
        """The largest number of seeds."""
        return self.leader.n_seeds

    @property
    def n_racing(self) -> int:
        """The number of combinations that race."""
        return sum(one.is_racing for one in self.standings)

    def of(self, job: Job) -> Standing:
        """The standing of the combination of a job."""
        return next(one for one in self.standings if one.job.combination == job.combination)

    @property
    def history(self) -> list[tuple[int, int]]:
        """After each block: the number of seeds, and of combinations that race."""
        block, last = self.config.block, self.n_seeds
        looks = [*range(block, last, block), last]
        return [(n, sum(one.is_racing or one.n_seeds > n for one in self.standings)) for n in looks]

    @property
    def ranked(self) -> list[Standing]:
        """The leader, the others that race, and those that stopped, the last ones first."""
        return sorted(
            self.standings,
            key=lambda one: (
                one is not self.leader,
                not one.is_racing,
                -one.n_seeds,
                self.objective.ranking_key(one.scores, self.horizon),
            ),
        )

    @property
    def horizon(self) -> float:
        """The smallest maximum number of epochs of all combinations."""
        return float(min(one.job.config.epochs for one in self.standings))

    def course(self, standing: Standing) -> dict[int, Center]:
        """What ranks a combination after each block that it got, by the number of seeds."""
        n_combinations = len(self.standings)
        return {
            n: center_of(self.objective, self.horizon, standing.scores[:n], n_combinations)
            for n, _ in self.history
            if n <= standing.n_seeds
        }

    def state(self, standing: Standing) -> str:
        """Why a combination got no more seeds, in a few words."""
        if not standing.is_racing:
            return f"worse beyond doubt after {standing.n_seeds} seeds"
        if standing is self.leader:
            return "best" if self.end == DECIDED else "leads"
        return "not distinguishable from the first"

    @property
    def progress(self) -> str:
        """The last block in a sentence."""
        leader, objective = self.leader, self.objective
        name = f" with {leader.job.combination_name}" if leader.job.combination_name else ""
        stopped = [
            one.job.combination_name
            for one in self.standings
            if not one.is_racing and one.n_seeds == self.n_seeds
        ]
        race = f"{self.n_racing} of {len(self.standings)} combinations race"
        best = f"{objective.superlative} {objective.center_label}"
        center = leader.center.value
        value = f"{center:.6g}" if math.isfinite(center) else "not reached"
        text = f"{self.n_seeds} seeds: {race}, {best} {value}{name}"
        return f"{text}{f'; stopped as worse: {_listed(stopped)}' if stopped else ''}"

    @property
    def verdict(self) -> str:
        """How the race came out, in a sentence."""
        leader, objective = self.leader, self.objective
        quantity = objective.center_label
        _, low, high = leader.center
        share = f"the {quantity} has no finite interval"
        if math.isfinite(leader.center.relative_half_width):
            share = (
                f"half of the width of the 95% interval, {low:.4g} to {high:.4g}, is "
                f"{leader.center.relative_half_width:.2g} of the {objective.statistic}"
            )
        if self.end == NARROW:
            why = f"The {quantity} is known well enough after {self.n_seeds} seeds"
            why = f"{why} ({share}; seeds.width={self.config.width:g})"
        else:
            why = f"After {self.n_seeds} seeds"
            why = f"{why}{', the maximum (seeds.max)' if self.end else ''}, {share}"
        if len(self.standings) == 1:
            return f"{why}."
        name, n_worse = leader.job.combination_name, len(self.standings) - self.n_racing
        errors = f"all tests together err with a probability of at most {ALPHA:.0%}"
        if self.end == DECIDED:
            others = f"each of the {n_worse} others is worse than another one beyond doubt"
            if n_worse == 1:
                (other,) = (one for one in self.standings if not one.is_racing)
                others = f"{other.job.combination_name} is worse beyond doubt"
            seeds = self._seeds_of_stopped
            return f"{name} is the best combination: {others}, after {seeds} ({errors})."
        similar = [
            one.job.combination_name
            for one in self.standings
            if one.is_racing and one is not leader
        ]
        verb = "are" if len(similar) > 1 else "is"
        worse = f"; {n_worse} of {len(self.standings)} combinations stopped as worse ({errors})"
        return (
            f"{why}: {name} leads, but {_listed(similar)} {verb} not statistically "
            f"distinguishable from it{worse if n_worse else ''}."
        )

    @property
    def _seeds_of_stopped(self) -> str:
        """The numbers of seeds after which combinations stopped: ``10 to 30 seeds``."""
        counts = sorted({one.n_seeds for one in self.standings if not one.is_racing})
        ends = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        return f"{ends} seeds"


def _listed(names: Sequence[str]) -> str:
    """The names, of which at most ``MAX_NAMED`` are written.

    >>> _listed(["a", "b"]), _listed(list("abcdef"))
    ('a and b', 'a, b, c and 3 others')
    """
    if len(names) > MAX_NAMED + 1:
        names = [*names[:MAX_NAMED], f"{len(names) - MAX_NAMED} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
