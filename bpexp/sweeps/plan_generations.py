"""The further generations of a plan, new or stored: a search and a race have some, a grid none."""

from bpexp.config.compose import Composer, composer
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.plan import Plan
from bpexp.sweeps.race import RaceGenerations
from bpexp.sweeps.search import SearchGenerations


def of_plan(plan: Plan, job_composer: Composer | None = None) -> Generations | None:
    """The generations of a plan, to be caught up with; None for a grid.

    Args:
        plan: The plan.
        job_composer: Composes the jobs that a search proposes; by default ``composer()``.

    Raises:
        ConfigError: A package is missing.
    """
    if plan.search is not None and plan.runtime.search.name is not None:
        return SearchGenerations.of_plan(plan, job_composer or composer())
    return RaceGenerations.of_plan(plan) if plan.is_race else None
