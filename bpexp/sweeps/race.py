"""Races as sweeps (``seeds=auto``): from one job for each combination to blocks of seeds.

A race is a function of its first plan and of the results. It is therefore not stored: it is derived
from the jobs of the plan with the first seed.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bpexp.config.options import key_of
from bpexp.config.replicates import OWN_SEEDS, is_replicate_key
from bpexp.config.schema import TrainConfig, flatten, plain
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.generations import Generations, ScoresOf
from bpexp.sweeps.grid.setting_values import check_count
from bpexp.sweeps.job import Combination, Job, by_combination
from bpexp.sweeps.plan import Plan, Values, make_plan
from bpexp.sweeps.race_result import RacedCombination, RaceResult
from bpexp.sweeps.ranking import sources_of
from bpexp.sweeps.samplers.racing import RacingSampler, center_of


@dataclass
class RaceGenerations(Generations):
    """The blocks of seeds of a race."""

    sampler: RacingSampler

    @classmethod
    def of_plan(cls, plan: Plan) -> Self:
        """The generations of the race of a plan, new or stored."""
        runtime = plain(plan.runtime)
        with_first_seed = [job.config for job in plan.jobs if job.config.seed == 0]
        sampler = _sampler(plan, _combinations(with_first_seed))
        return cls(sampler, lambda values: {**values, **runtime})

    def progress(self, plan: Plan) -> Sequence[str]:
        """See ``Generations.progress``."""
        return (self.result(plan).progress,)

    def race(self, plan: Plan) -> RaceResult | None:
        """See ``Generations.race``."""
        return self.result(plan) if self.sampler.race.n_seeds.any() else None

    def result(self, plan: Plan) -> RaceResult:
        """How the race came out after a block of seeds."""
        race, objective = self.sampler.race, plan.objective
        jobs, horizon = _first_jobs(plan), self.sampler.horizon
        combinations = []
        for index, job in enumerate(jobs):
            n_seeds = int(race.n_seeds[index])
            scores = race.scores[index, :n_seeds]
            combinations.append(
                RacedCombination(
                    job=job,
                    scores=scores,
                    is_racing=bool(race.is_racing[index]),
                    evidence=float(race.evidence[index]),
                    center=center_of(objective, horizon, scores, len(jobs)),
                )
            )
        seeds = plan.runtime.seeds
        return RaceResult(combinations, int(race.best), race.end, objective, seeds, horizon)


def replayed(plan: Plan, scores_of: ScoresOf) -> RaceResult:
    """How a race came out whose jobs are all trained.

    Raises:
        OtherProposalsError: The scores give other numbers of seeds than the plan has.
    """
    generations = RaceGenerations.of_plan(plan)
    generations.catch_up(plan, scores_of)
    generations.sampler.tell(scores_of(plan.last_generation))
    return generations.result(plan)


def check_no_seed(jobs: Iterable[Iterable[str]]) -> None:
    """Raise ConfigError if the arguments or keys of a job set the seed."""
    for job in jobs:
        for text in job:
            if key_of(text) == "seed":
                raise ConfigError(
                    f"seed must be left out with seeds=auto, which takes the seeds 0, 1, 2 and so "
                    f"on, got {text}; for fixed seeds leave out seeds=auto."
                )


def first_plan(plan: Plan) -> Plan:
    """The plan of the first block of seeds.

    Args:
        plan: One job for each combination; several for one with several folds or splits.

    Raises:
        ConfigError: The race could have too many runs, or some would repeat others because nothing
            is drawn from the seed.
    """
    combinations = _combinations(plan.configs)
    check_count(sum(map(len, combinations)) * plan.runtime.seeds.max)
    runtime = plain(plan.runtime)
    composed = [{**values, **runtime} for values in _sampler(plan, combinations).ask()]
    first = make_plan(composed, plan.overrides, datasets=plan.datasets)
    _check_no_repetition(first)
    return first


def _check_no_repetition(plan: Plan) -> None:
    """Refuse a race in which runs with other seeds are the same: they would count as evidence."""
    known: dict[tuple[Combination, int], Job] = {}
    for job, drawn in zip(plan.jobs, sources_of(plan.jobs).distinct.tolist(), strict=True):
        first = known.setdefault((job.combination_key, drawn), job)
        if first is not job:
            values = flatten(plain(first.config))
            own = [key for key in OWN_SEEDS if values.get(key) is not None]
            raise ConfigError(
                "seeds=auto needs runs that differ by their seed, but nothing is drawn from it for "
                f"{first.name}; leave out {' or '.join([*own, 'seeds=auto'])}."
            )


def _sampler(plan: Plan, combinations: Sequence[Sequence[Values]]) -> RacingSampler:
    horizon = min(max(values["epochs"] for values in combination) for combination in combinations)
    return RacingSampler(combinations, plan.runtime.seeds, plan.objective, horizon)


def _combinations(configs: Iterable[TrainConfig]) -> list[list[dict[str, Any]]]:
    """The configurations of each combination without their seed, in order."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for config in configs:
        values = plain(config)
        del values["seed"]
        flat = flatten(values)
        combination = {key: value for key, value in flat.items() if not is_replicate_key(key)}
        same = found.setdefault(json.dumps(combination), {})
        same.setdefault(json.dumps(flat), values)
    return [list(same.values()) for same in found.values()]


def _first_jobs(plan: Plan) -> list[Job]:
    """The first job of each combination, in order."""
    with_first_seed = [job for job in plan.jobs if job.config.seed == 0]
    return [jobs[0] for jobs in by_combination(with_first_seed)]
