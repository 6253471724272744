"""Simulated races: combinations that they stop wrongly, the runs that they save, and intervals."""

import math
from functools import partial

import numpy as np
from scipy import stats

from benchmarks.simulations.groups import CONVERGED, CORRELATION, MAX_EPOCHS
from benchmarks.simulations.intervals import Draw, covered
from bpexp.analysis.intervals import Interval
from bpexp.runs.objective import objectives
from bpexp.sweeps.samplers import racing
from bpexp.sweeps.samplers.racing import Race
from bpexp.typing import Array

RACE_SIZES, RACE_EFFECTS = (2, 6, 20), (0.25, 0.5, 1.0, 2.0)
"""Numbers of combinations of races, and by how many standard deviations the first is better."""
RACE_SEEDS, RACE_BLOCK = 200, 10
RACE_LOOKS = (10, 20, 50, 100, 200)
"""Numbers of seeds at which the intervals of races are simulated."""


def race_of(scores: Array, name: str) -> Race:
    """Races with these scores of all seeds, (races, k, n), which do not end before the last one."""
    objective, horizon = objectives()[name], float(MAX_EPOCHS)

    def centers(found: Array) -> Array:
        if objective.is_time:
            return np.asarray(np.minimum(found, horizon).mean(axis=-1))
        return np.asarray(np.median(found, axis=-1))

    outcomes = partial(racing.outcomes, objective, horizon)
    race = racing.Race(scores.shape[1], outcomes, centers, scores.shape[:1])
    for first in range(0, scores.shape[2], RACE_BLOCK):
        race.add(scores[..., first : first + RACE_BLOCK])
    return race


def _correlated(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Standard normal values, (races, k, n), with ``CORRELATION`` between those of a seed."""
    shared = rng.normal(size=(size[0], 1, size[2])) * math.sqrt(CORRELATION)
    return np.asarray(shared + rng.normal(size=size) * math.sqrt(1.0 - CORRELATION))


def _censored(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Epochs to converge; +inf for runs that do not."""
    latent = _correlated(rng, size)
    epochs = np.rint(1000.0 * np.exp(0.5 * latent))
    return np.where(latent <= stats.norm.ppf(CONVERGED), epochs, np.inf)


RACE_DRAWS: dict[str, tuple[str, Draw]] = {
    "lognormal, correlated": ("final_loss", lambda rng, size: np.exp(_correlated(rng, size))),
    "Cauchy, independent": ("final_loss", lambda rng, size: rng.standard_cauchy(size)),
    "accuracies with ties": (
        "accuracy", lambda rng, size: -np.round(0.9 + 0.03 * _correlated(rng, size), 2)
    ),
    "epochs, 30% censored": ("epochs_to_converge", _censored),
}  # fmt: skip
"""The objective and the scores of races, (races, k, n)."""


def race_errors(
    name: str, n_combinations: int, repetitions: int, rng: np.random.Generator
) -> float:
    """Share of races between equal combinations in which any is stopped before the last seed."""
    objective, draw = RACE_DRAWS[name]
    race = race_of(draw(rng, (repetitions, n_combinations, RACE_SEEDS)), objective)
    return float(np.mean(~race.is_racing.all(axis=-1)))


def race_savings(
    n_combinations: int, effect: float, repetitions: int, rng: np.random.Generator
) -> list[float | None]:
    """Races in which the first combination is better than all others, which are equal.

    Args:
        n_combinations: Number of combinations.
        effect: By how many standard deviations of a run the first one is better.
        repetitions: Number of races.
        rng: Draws the scores.

    Returns:
        The share of the runs that is saved compared with all seeds of all combinations; the share
        of races that decide for the first combination; and the share in which it is stopped.
    """
    latent = _correlated(rng, (repetitions, n_combinations, RACE_SEEDS))
    latent[:, 0] -= effect
    race = race_of(np.exp(latent), "final_loss")
    n_seeds, is_decided = race.n_seeds, race.is_racing.sum(axis=-1) == 1
    # A race that is decided ends when its last other combination stops.
    last = np.where(race.is_racing, 0, n_seeds).max(axis=-1)
    n_seeds = np.where(race.is_racing & is_decided[:, None], last[:, None], n_seeds)
    saved = 1.0 - float(n_seeds.mean()) / RACE_SEEDS
    first = race.is_racing[:, 0]
    return [saved, float(np.mean(is_decided & first)), float(np.mean(~first))]


def race_coverage(
    name: str, n_combinations: int, repetitions: int, rng: np.random.Generator
) -> float:
    """The share of races whose intervals all contain the true value at all of ``RACE_LOOKS``.

    The combinations are equal, so that none is stopped; each has an interval.
    """
    objective_name, draw = RACE_DRAWS[name]
    objective, horizon = objectives()[objective_name], float(MAX_EPOCHS)
    many = draw(np.random.default_rng(0), (1, 1, 1_000_001)).ravel()
    true, hits = objective.as_measured(objective.center(many, horizon)), []
    for _ in range(repetitions):
        (scores,) = draw(rng, (1, n_combinations, RACE_SEEDS))
        centers = (
            racing.center_of(objective, horizon, one[:n], n_combinations)
            for n in RACE_LOOKS
            for one in scores
        )
        known = [covered(Interval(*center), true) for center in centers]
        hits.append(np.nanmin(known))
    return float(np.mean(hits))
