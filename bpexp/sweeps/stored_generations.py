"""The generations of a stored sweep that proposes jobs by its results: a search or a race."""

from bpexp.config.compose import composer
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.race import RaceGenerations
from bpexp.sweeps.search import SearchGenerations


def of_plan(plan: Plan) -> Generations | None:
    """The generations of a plan, whose sampler has not been asked; None for a grid.

    Raises:
        ConfigError: A package is missing.
    """
    if plan.search is not None and plan.runtime.search.name is not None:
        return SearchGenerations.of_plan(plan, composer())
    return RaceGenerations.of_plan(plan) if plan.is_race else None
