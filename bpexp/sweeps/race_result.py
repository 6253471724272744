"""How the combinations of a race came out: what tables, MLflow and reports say about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpexp.config.schema import SeedsConfig
from bpexp.render.wording import counted, listed_briefly
from bpexp.runs.objective import Objective
from bpexp.sweeps.job import Job
from bpexp.sweeps.samplers.betting import ALPHA
from bpexp.sweeps.samplers.racing import Center, RaceEnd, center_of
from bpexp.typing import Array

ERRORS = f"all tests together err with a probability of at most {ALPHA:.0%}"
"""What holds for the sentences with "beyond doubt"."""


@dataclass(frozen=True, eq=False)
class RacedCombination:
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
        combinations: Of all combinations, in the order of the jobs.
        best: The position of the best combination that races.
        end: Why the race ended; None before.
        objective: What the combinations are compared by.
        config: The settings of the race.
        horizon: The smallest maximum number of epochs of all combinations.
    """

    combinations: Sequence[RacedCombination]
    best: int
    end: RaceEnd | None
    objective: Objective
    config: SeedsConfig
    horizon: float

    @property
    def leader(self) -> RacedCombination:
        """The best combination."""
        return self.combinations[self.best]

    @property
    def n_seeds(self) -> int:
        """The largest number of seeds."""
        return self.leader.n_seeds

    @property
    def n_racing(self) -> int:
        """The number of combinations that race."""
        return sum(one.is_racing for one in self.combinations)

    def of(self, job: Job) -> RacedCombination:
        """The combination of a job."""
        return next(one for one in self.combinations if one.job.combination == job.combination)

    @property
    def history(self) -> list[tuple[int, int]]:
        """After each block: the number of seeds, and of combinations that race."""
        block, last = self.config.block, self.n_seeds
        looks = [*range(block, last, block), last]
        return [
            (n, sum(one.is_racing or one.n_seeds > n for one in self.combinations)) for n in looks
        ]

    @property
    def ranked(self) -> list[RacedCombination]:
        """The leader, the others that race, and those that stopped, the last ones first."""
        return sorted(
            self.combinations,
            key=lambda one: (
                one is not self.leader,
                not one.is_racing,
                -one.n_seeds,
                self.objective.ranking_key(one.scores, self.horizon),
            ),
        )

    def centers_by_seeds(self, combination: RacedCombination) -> dict[int, Center]:
        """What ranks a combination after each block that it got, by the number of seeds."""
        n_combinations = len(self.combinations)
        return {
            n: center_of(self.objective, self.horizon, combination.scores[:n], n_combinations)
            for n, _ in self.history
            if n <= combination.n_seeds
        }

    def state(self, combination: RacedCombination) -> str:
        """Why a combination got no more seeds, in a few words."""
        if not self.has_values:
            return "no value"
        if not combination.is_racing:
            return f"worse beyond doubt after {counted(combination.n_seeds, 'seed')}"
        is_leader = combination is self.leader
        if self.end is RaceEnd.DECIDED:
            return "best" if self.is_best else "the only one left"
        if self.is_contradicted:
            return f"best {self.objective.statistic} only" if is_leader else "not worse"
        return "leads" if is_leader else "not distinguishable from the first"

    @property
    def has_values(self) -> bool:
        """Whether any run has a value of the objective, such as one that converged."""
        return any(bool(np.isfinite(one.scores).any()) for one in self.combinations)

    @property
    def is_contradicted(self) -> bool:
        """Whether the leader, which is the best one by what ranks it, is worse by the tests.

        More than half of the seeds can favor the combination with the worse median.
        """
        return len(self.combinations) > 1 and self.leader.evidence >= self.n_racing / ALPHA

    @property
    def is_best(self) -> bool:
        """Whether the leader is left alone, and better than each other one in every respect."""
        better = self._better_by_center or self._better_on_more_seeds
        return self.end is RaceEnd.DECIDED and not better and not self.is_contradicted

    @property
    def _others(self) -> list[RacedCombination]:
        return [one for one in self.combinations if one is not self.leader]

    def _of_leader(self, other: RacedCombination) -> Array:
        """The scores of the leader on the seeds that another combination got, too."""
        return self.leader.scores[: other.n_seeds]

    def _center(self, scores: Array) -> float:
        return self.objective.center(scores, self.horizon)

    @property
    def _better_by_center(self) -> list[RacedCombination]:
        """The combinations with a better median (or mean) than the leader over the same seeds."""
        return [
            one
            for one in self._others
            if self._center(one.scores) < self._center(self._of_leader(one))
        ]

    @property
    def _better_by_fewer_seeds(self) -> list[RacedCombination]:
        """The others with a better median (or mean) than the leader has over more seeds."""
        center, better = self._center(self.leader.scores), self._better_by_center
        return [
            one for one in self._others if self._center(one.scores) < center and one not in better
        ]

    def _seeds_won(self, other: RacedCombination) -> int:
        """The number of seeds on which another combination is better than the leader."""
        return int(np.sum(other.scores < self._of_leader(other)))

    @property
    def _better_on_more_seeds(self) -> list[RacedCombination]:
        """The combinations that are better than the leader on more seeds than not.

        Epochs to converge are not compared in this way, but by their mean.
        """
        if self.objective.is_time:
            return []
        return [
            one
            for one in self._others
            if self._seeds_won(one) > np.sum(one.scores > self._of_leader(one))
        ]

    @property
    def progress(self) -> str:
        """The last block in a sentence."""
        leader, objective = self.leader, self.objective
        verb = "races" if self.n_racing == 1 else "race"
        if not self.has_values:
            seeds = counted(self.n_seeds, "seed")
            racing = counted(self.n_racing, "combination")
            return f"{seeds}: {racing} {verb}, {self._no_values} yet"
        name = f" with {leader.job.combination_name}" if leader.job.combination_name else ""
        stopped = [
            one.job.combination_name
            for one in self.combinations
            if not one.is_racing and one.n_seeds == self.n_seeds
        ]
        race = f"{self.n_racing} of {len(self.combinations)} combinations {verb}"
        best = f"{objective.superlative} {objective.center_label}"
        center = leader.center.value
        value = f"{center:.6g}" if math.isfinite(center) else "not reached"
        text = f"{counted(self.n_seeds, 'seed')}: {race}, {best} {value}{name}"
        return f"{text}{f'; stopped as worse: {listed_briefly(stopped)}' if stopped else ''}"

    @property
    def verdict(self) -> str:
        """How the race came out, in sentences."""
        if not self.has_values:
            return f"After {counted(self.n_seeds, 'seed')}, {self._no_values}: nothing is decided."
        if len(self.combinations) == 1:
            return f"{self._reason}."
        outcome = self._decision if self.end is RaceEnd.DECIDED else self._undecided
        return " ".join([outcome, *self._disagreements])

    @property
    def _no_values(self) -> str:
        """That no run has a value."""
        if self.objective.is_time:
            return f"no run has converged within {self.horizon:g} epochs"
        return f"no run has a {self.objective.label}"

    @property
    def _reason(self) -> str:
        """Why there are no more seeds although the race is not decided, without a full stop."""
        n_seeds = counted(self.n_seeds, "seed")
        if self.end is RaceEnd.NARROW:
            known = f"The {self.objective.center_label} is known well enough after {n_seeds}"
            return f"{known} ({self._precision}; seeds.width={self.config.width:g})"
        limit = "" if self.end is None else ", the maximum (seeds.max)"
        return f"After {n_seeds}{limit}, {self._precision}"

    @property
    def _precision(self) -> str:
        """How well the median (or mean) of the leader is known."""
        objective, center = self.objective, self.leader.center
        if not math.isfinite(center.relative_half_width):
            return f"the {objective.center_label} has no finite interval"
        return (
            f"half of the width of the 95% interval, {center.low:.4g} to {center.high:.4g}, is "
            f"{center.relative_half_width:.2g} of the {objective.statistic}"
        )

    @property
    def _decision(self) -> str:
        """The combination that is left alone, and what was found of the others."""
        stopped = self._others
        first = "best combination" if self.is_best else "only combination left"
        others = f"each of the {len(stopped)} others {self._worse('another one')}"
        if len(stopped) == 1:
            others = f"{stopped[0].job.combination_name} {self._worse('it')}"
        text = (
            f"{self.leader.job.combination_name} is the {first}: {others} beyond doubt, after "
            f"{self._seeds_of_stopped} ({ERRORS})."
        )
        if self.is_contradicted:
            return f"{text} It {self._worse('another one')} beyond doubt, too."
        if not self.is_best:
            return text
        wins = "" if self.objective.is_time else ", or is better on more of them"
        center = f"a {self._better} {self.objective.statistic} over the same seeds"
        return f"{text} No other has {center}{wins}."

    @property
    def _undecided(self) -> str:
        """Why there are no more seeds, and which combinations are left."""
        name, n_worse = self.leader.job.combination_name, len(self.combinations) - self.n_racing
        worse = f"; {n_worse} of {len(self.combinations)} combinations stopped as worse"
        if self.is_contradicted:
            center = f"{self.objective.superlative} {self.objective.center_label}"
            return (
                f"{self._reason}: {name} has the {center}, but {self._worse('another one')} beyond "
                f"doubt ({ERRORS}), so that none is called the best{worse if n_worse else ''}."
            )
        similar = [one.job.combination_name for one in self._others if one.is_racing]
        verb = "are" if len(similar) > 1 else "is"
        return (
            f"{self._reason}: {name} leads, but {listed_briefly(similar)} {verb} not statistically "
            f"distinguishable from it{f'{worse} ({ERRORS})' if n_worse else ''}."
        )

    def _worse(self, than: str) -> str:
        """What the tests show of a combination that is worse than another one."""
        if self.objective.is_time:
            return f"takes more epochs on average than {than}"
        worse = "lower" if self.objective.is_maximized else "higher"
        return f"has a {worse} {self.objective.label} than {than} on more seeds than not"

    @property
    def _better(self) -> str:
        return "higher" if self.objective.is_maximized else "lower"

    @property
    def _disagreements(self) -> list[str]:
        """Where the tests do not agree with what ranks the combinations, each with an example."""
        statistic, n, sentences = self.objective.center_label, self.n_seeds, []
        if better := self._better_by_center:
            one, others = better[0], _and_others(better)
            values = self._values(one.scores, self._of_leader(one))
            sentences.append(
                f"The ranking by the {self.objective.statistic} differs: {others} has a "
                f"{self._better} {statistic} over the same {one.n_seeds} seeds ({values})."
            )
        if better := self._better_by_fewer_seeds:
            one, others = better[0], _and_others(better)
            values = self._values(one.scores, self.leader.scores)
            sentences.append(
                f"{others} has a {self._better} {statistic} over its {one.n_seeds} seeds than the "
                f"first over {n} ({values}), but not over the same seeds."
            )
        if better := self._better_on_more_seeds:
            one, others = better[0], _and_others(better)
            sentences.append(
                f"{others} has a {self._better} {self.objective.label} than the first on "
                f"{self._seeds_won(one)} of {one.n_seeds} seeds."
            )
        return sentences

    def _values(self, scores: Array, others: Array) -> str:
        """The statistic of two samples of scores, such as ``0.1 against 0.12``."""
        values = [self.objective.as_measured(self._center(one)) for one in (scores, others)]
        return " against ".join(f"{value:.6g}" for value in values)

    @property
    def _seeds_of_stopped(self) -> str:
        """The numbers of seeds after which combinations stopped: ``10 to 30 seeds``."""
        counts = sorted({one.n_seeds for one in self.combinations if not one.is_racing})
        ends = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        return f"{ends} seeds"


def _and_others(combinations: Sequence[RacedCombination]) -> str:
    """The name of the first combination, and how many more there are."""
    name = combinations[0].job.combination_name
    n_others = len(combinations) - 1
    return f"{name} (like {counted(n_others, 'other')})" if n_others else name
