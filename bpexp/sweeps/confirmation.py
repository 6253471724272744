"""Plans the sweep that trains the best combinations again, on fresh seeds (``confirm=N``).

The best of many combinations is partly the luckiest, so that its result in the sweep that chose it
is optimistic.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from bpexp.config.replicates import OWN_SEEDS
from bpexp.config.schema import BudgetConfig, SearchConfig, SeedsConfig, plain
from bpexp.sweeps import rungs
from bpexp.sweeps.job import by_combination
from bpexp.sweeps.plan import Plan, make_plan
from bpexp.sweeps.ranking import RankedCombination, is_diverged
from bpexp.sweeps.runner import FinishedSweep

TOP = 3
"""Number of combinations that are trained again."""
N_SEEDS = 2**32
"""Number of seeds that there are."""


def combinations_to_confirm(finished: FinishedSweep) -> list[RankedCombination]:
    """The best combinations of a sweep, as many as are trained again.

    Those that were stopped early, or of which all runs diverged, have no result at their ends to
    confirm.
    """
    ranked = finished.ranking.combinations
    ended = [one for one in ranked if one.pruned_at is None and not is_diverged(one.best)]
    return ended[:TOP]


def n_runs(plan: Plan) -> int:
    """How many runs confirm the best combinations of a plan, at most."""
    combinations = by_combination(plan.jobs)
    n_combinations, settings = len(combinations), plan.runtime.search
    if plan.search is not None:
        n_combinations = settings.trials
    if settings.halving is not None and not plan.trains_pruned:
        generation = n_combinations if plan.search is None else settings.generation
        longest = max(job.config.epochs for job in plan.jobs)
        _, n_ends = rungs.schedule(min(generation, n_combinations), settings, longest)[-1]
        n_combinations = n_ends * math.ceil(n_combinations / generation)
    n_data = max(len({job.config.data for job in some}) for some in combinations)
    return min(TOP, n_combinations) * n_data * plan.runtime.confirm


def plan_of(finished: FinishedSweep) -> Plan:
    """The plan that trains the best combinations of a sweep on ``confirm`` fresh seeds each.

    Every split and fold of a combination is trained with every fresh seed. Where a source of
    variation had several seeds of its own, it follows the fresh seed. The jobs of a combination
    follow each other, the best combination first.
    """
    runtime = finished.plan.runtime
    objective = replace(runtime.objective, name=finished.ranking.objective.name)
    runtime = replace(
        runtime,
        confirm=0,
        export=None,
        reuse=False,
        objective=objective,
        search=SearchConfig(),
        seeds=SeedsConfig(),
        budget=BudgetConfig(),
    )
    varied = [key for key in OWN_SEEDS if key in finished.plan.varying]
    used = {job.config.seed for job in finished.plan.jobs}
    used |= {
        job.varying[key] or 0 for job in finished.plan.jobs for key in varied if key in job.varying
    }
    seeds = list(itertools.islice(_fresh_seeds(used), finished.plan.runtime.confirm))
    composed = []
    for combination in combinations_to_confirm(finished):
        config = plain(combination.job.config)
        for group, _, name in (key.rpartition(".") for key in varied):
            part = config[group] if group else config
            if name in part:
                part[name] = None
        for data in dict.fromkeys(row.job.config.data for row in combination.rows):
            composed += [
                {**plain(runtime), **config, "data": plain(data), "seed": seed} for seed in seeds
            ]
    return make_plan(composed, datasets=finished.plan.datasets)


def _fresh_seeds(used: set[int]) -> Iterator[int]:
    """Seeds after the largest used one, then from 0, without those that are used."""
    first = max(used) + 1
    return (
        seed for seed in (number % N_SEEDS for number in itertools.count(first)) if seed not in used
    )
