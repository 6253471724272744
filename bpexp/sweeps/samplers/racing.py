"""Racing: every combination gets blocks of seeds, until it is worse than another one beyond doubt.

After each block, a combination is stopped if bets against it (``betting``) have won too much. The
bets of a block are that the combination is worse than the combination that was the best one before
the block: a choice that the block cannot influence, so that the bets are fair, whichever
combination is chosen. In the first block, they are divided equally between all other combinations.
The best combination of a look is never stopped, and the best one is itself compared with the
second.

What "worse" means depends on the objective, which ranks combinations by their median: the other
combination has the better value on more seeds than not (ties count for neither). For epochs to
converge, which are ranked by their mean: the mean of the other combination is smaller, where a run
that does not converge counts the maximum number of epochs.

If no other combination is better than some combinations, none of these is ever stopped with a
probability of at least 95%, for all combinations and looks together. The limit for the capital is
that of Holm's method: (k - s) / 0.05 for k combinations of which s are stopped. Ranks and the rules
for the end do not affect this, because the bets are fair at every number of seeds.

>>> from bpexp.runs.objective import objectives
>>> rng, objective = np.random.default_rng(0), objectives()["final_loss"]
>>> sampler = RacingSampler([[{"lr": 1}], [{"lr": 2}]], SeedsConfig(name="auto"), objective, 100.0)
>>> while jobs := sampler.ask():
...     sampler.tell([job["lr"] + rng.normal() for job in jobs])
>>> sampler.race.end, sampler.race.n_seeds.tolist(), sampler.race.is_racing.tolist()
(<RaceEnd.DECIDED: 'decided'>, [60, 60], [True, False])
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bpexp.config.schema import SeedsConfig
from bpexp.runs.objective import Objective
from bpexp.sweeps.samplers import betting
from bpexp.typing import Array


class RaceEnd(StrEnum):
    """Why a race ended."""

    DECIDED = "decided"
    """One combination is left."""
    NARROW = "narrow"
    """The interval of the best one is as narrow as ``seeds.width`` asks for."""
    NO_MORE_SEEDS = "no more seeds"
    """The best one has ``seeds.max`` seeds."""


class Center(NamedTuple):
    """What ranks a combination: the median of its scores, or the mean of its epochs to converge.

    Attributes:
        value: The estimate, which may be infinite.
        low: The lower end of its interval, which holds for all combinations and numbers of seeds
            together; nan for too few seeds.
        high: The upper end.
    """

    value: float
    low: float
    high: float

    @property
    def relative_half_width(self) -> float:
        """Half of the width of the interval, as a share of the estimate; inf if there is none."""
        half = (self.high - self.low) / 2.0
        if not math.isfinite(self.value) or not math.isfinite(half):
            return math.inf
        if half == 0.0:
            return 0.0
        return half / abs(self.value) if self.value else math.inf


class Race:
    """The combinations that still race, and the capital of the bets against each one.

    Several races with the same number of combinations can be held at once, for simulations: ``...``
    stands for their dimensions.

    Attributes:
        scores: The scores by combination and seed, (..., k, n); nan after a combination has
            stopped.
        is_racing: Which combinations still race, (..., k).
        n_seeds: How many seeds each combination got, (..., k).
        end: Why the race ended; None before. ``RacingSampler`` sets it.
    """

    def __init__(
        self,
        n_combinations: int,
        outcomes: Callable[[Array, Array], Array],
        ranks: Callable[[Array], Array],
        races: tuple[int, ...] = (),
    ) -> None:
        """Start a race.

        Args:
            n_combinations: Number of combinations, k.
            outcomes: From the scores of a combination and of another one, the outcome of a bet that
                the first is worse, in [-1, 1].
            ranks: From scores, (..., k, n), the finite ranks of the combinations, (..., k), the
                smallest for the best.
            races: The dimensions of several races.
        """
        self.scores = np.empty((*races, n_combinations, 0))
        self.is_racing = np.ones((*races, n_combinations), bool)
        self.n_seeds = np.zeros((*races, n_combinations), int)
        self.end: RaceEnd | None = None
        self._outcomes, self._ranks = outcomes, ranks
        self._capital = np.ones((*races, n_combinations, len(betting.BETS)))
        self._best = self._second = np.zeros(races, int)

    @property
    def best(self) -> Any:
        """The index of the best combination that races, (...)."""
        return self._best

    @property
    def evidence(self) -> Array:
        """The capital of the bets against each combination, (..., k); its inverse is a p-value."""
        return betting.total(self._capital)

    def add(self, block: Array) -> None:
        """Take the scores of a block of seeds, (..., k, n); nan for combinations that stopped."""
        n_combinations = block.shape[-2]
        if self.scores.shape[-1]:
            bets = betting.capital_after(self._against_best(block), self._capital)
        elif n_combinations > 1:
            # A combination ties with itself, which leaves a capital of 1.
            against = [
                betting.capital_after(self._outcomes(block, block[..., [other], :]))
                for other in range(n_combinations)
            ]
            bets = (np.add.reduce(against, axis=0) - 1.0) / (n_combinations - 1)
        else:
            bets = self._capital
        self._capital = np.where(self.is_racing[..., None], bets, self._capital)
        self.scores = np.concatenate([self.scores, block], axis=-1)
        self.n_seeds = self.n_seeds + self.is_racing * block.shape[-1]
        self._rank()
        self._stop()
        self._rank()

    def _against_best(self, block: Array) -> Array:
        """The outcomes of the bets on a block, (..., k, n)."""
        indices = np.arange(block.shape[-2])
        is_best = indices == self._best[..., None]
        others = np.where(is_best, self._second[..., None], self._best[..., None])
        return self._outcomes(block, np.take_along_axis(block, others[..., None], axis=-2))

    def _rank(self) -> None:
        """Find the best and the second of the combinations that race."""
        ranks = np.where(self.is_racing, self._ranks(self.scores), np.inf)
        self._best = np.argmin(ranks, axis=-1)
        np.put_along_axis(ranks, self._best[..., None], np.inf, axis=-1)
        self._second = np.argmin(ranks, axis=-1)

    def _stop(self) -> None:
        """Stop the combinations whose bets have reached the limit of Holm's method.

        The worst one goes first. One that no other combination is better than is stopped first at
        the limit for all combinations that are not yet stopped, among which are all of its kind.
        """
        n_combinations = self.is_racing.shape[-1]
        is_best = np.arange(n_combinations) == self._best[..., None]
        evidence = self.evidence
        for _ in range(n_combinations):
            limit = self.is_racing.sum(axis=-1) / betting.ALPHA
            candidates = np.where(self.is_racing & ~is_best, evidence, -np.inf)
            worst = np.argmax(candidates, axis=-1)[..., None]
            is_worse = np.take_along_axis(candidates, worst, axis=-1) >= limit[..., None]
            if not is_worse.any():
                break
            kept = np.take_along_axis(self.is_racing, worst, axis=-1) & ~is_worse
            np.put_along_axis(self.is_racing, worst, kept, axis=-1)


class RacingSampler:
    """Proposes blocks of seeds for the combinations that race. See ``Sampler``.

    Attributes:
        race: How the race stands.
        horizon: The smallest maximum number of epochs of all combinations.
    """

    def __init__(
        self,
        combinations: Sequence[Sequence[Mapping[str, Any]]],
        config: SeedsConfig,
        objective: Objective,
        horizon: float,
    ) -> None:
        """Prepare a race.

        Args:
            combinations: The configurations of each combination without a seed: several if it has
                several folds or splits, whose median (or mean) is the score of a seed.
            config: How many seeds.
            objective: What the combinations are compared by.
            horizon: The smallest maximum number of epochs of all combinations.
        """
        self._combinations, self._config = combinations, config
        self._objective, self.horizon = objective, horizon
        self._seeds = range(0)
        self._asked: list[int] = []
        self.race = Race(
            len(combinations),
            partial(outcomes, objective, horizon),
            partial(ranks, objective, horizon),
        )

    def ask(self) -> list[dict[str, Any]]:
        """The next seeds of each combination that races; none after the end."""
        if self.race.end is not None:
            return []
        first = self._seeds.stop
        self._seeds = range(first, min(first + self._config.block, self._config.max))
        self._asked = np.flatnonzero(self.race.is_racing).tolist()
        return [
            {**values, "seed": seed}
            for index in self._asked
            for seed in self._seeds
            for values in self._combinations[index]
        ]

    def tell(self, scores: Sequence[float | None]) -> None:
        """Receive the scores of a block, stop combinations, and end the race if it is decided."""
        told = iter(scores)
        block = np.full((len(self._combinations), len(self._seeds)), np.nan)
        for index in self._asked:
            for place in range(len(self._seeds)):
                block[index, place] = self._score([next(told) for _ in self._combinations[index]])
        self.race.add(block)
        self.race.end = self._end()

    def _score(self, told: Sequence[float | None]) -> float:
        """The score of a seed; a failed or diverged run counts as in rankings."""
        missing = float(self._objective.scores(np.array([np.nan]), np.array(["diverged"]))[0])
        found = [missing if score is None else score for score in told]
        if len(found) == 1:
            return found[0]
        return self._objective.center(found, self.horizon)

    def _end(self) -> RaceEnd | None:
        race, config = self.race, self._config
        if len(self._combinations) > 1 and race.is_racing.sum() == 1:
            return RaceEnd.DECIDED
        best, n_combinations = race.scores[race.best], len(self._combinations)
        center = center_of(self._objective, self.horizon, best, n_combinations)
        if config.width is not None and center.relative_half_width <= config.width:
            return RaceEnd.NARROW
        return RaceEnd.NO_MORE_SEEDS if self._seeds.stop >= config.max else None


def outcomes(objective: Objective, horizon: float, scores: Array, others: Array) -> Array:
    """The outcomes of bets that a combination is worse than another one on the same seeds.

    Args:
        objective: What the combinations are compared by.
        horizon: The smallest maximum number of epochs of all combinations.
        scores: Scores of the combination, (..., n).
        others: Scores of the other combination, of a shape that broadcasts.

    Returns:
        In [-1, 1], positive where the combination is worse: 1, 0 or -1, or, for epochs to converge,
        the difference as a share of the maximum number of epochs.
    """
    if objective.is_time:
        difference = np.minimum(scores, horizon) - np.minimum(others, horizon)
        return np.asarray(difference / horizon)
    return (scores > others).astype(float) - (scores < others)


def ranks(objective: Objective, horizon: float, scores: Array) -> Array:
    """The ranks of combinations by ``Objective.ranking_key``, from 0; ties in their order.

    Args:
        objective: What the combinations are compared by.
        horizon: The smallest maximum number of epochs of all combinations.
        scores: Their scores, (k, n); nan for those that have stopped, which come last.
    """
    stopped = np.asarray(np.isnan(scores).any(axis=-1))
    known = np.where(stopped[:, None], np.inf, scores)
    keys = [objective.ranking_key(one, horizon) for one in known]
    order = sorted(range(len(keys)), key=lambda index: (bool(stopped[index]), keys[index]))
    found = np.empty(len(keys))
    found[order] = np.arange(len(keys))
    return found


def center_of(objective: Objective, horizon: float, scores: Array, n_combinations: int) -> Center:
    """What ranks a combination, with its interval, as measured.

    Args:
        objective: What the combinations are compared by.
        horizon: The smallest maximum number of epochs of all combinations.
        scores: The scores of a combination, (n,) with n > 0.
        n_combinations: Number of combinations, whose intervals hold together.
    """
    if objective.is_time:
        ends = betting.mean_bounds(np.minimum(scores, horizon), horizon, n_combinations)
    else:
        ends = betting.median_bounds(scores, n_combinations)
    low, high = sorted(map(objective.as_measured, ends))
    return Center(objective.as_measured(objective.center(scores, horizon)), low, high)
