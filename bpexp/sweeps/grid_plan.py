"""The first plan of a grid: for the command line, for Python, and to resume a sweep without a plan.

>>> from bpexp.config.compose import compose_settings
>>> iris = {"data": "iris", "model": "classifier", "data__folds": 2}
>>> composed = [compose_settings(iris), compose_settings({**iris, "data__fold": 1})]
>>> found = plan_grid(composed, ["lr=0.1 | data.fold=1"])
>>> [job.config.data.fold for job in found.plan.jobs], found.origins
([0, 1], [0, 0])
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bpexp.config import folds
from bpexp.sweeps import race
from bpexp.sweeps.grid import setting_values, sweep_files
from bpexp.sweeps.plan import Plan, Values, check_different_runs, make_plan


class GridPlan(NamedTuple):
    """The plan of a grid.

    Attributes:
        plan: The plan; of a race, that of the first block of seeds.
        origins: Which of the configurations that were planned each run of the grid comes from.
    """

    plan: Plan
    origins: Sequence[int]


def plan_grid(
    composed: Iterable[Values],
    arguments: Sequence[str],
    typed: Callable[[int], Mapping[str, Any]] | None = None,
) -> GridPlan:
    """Plan the runs of a grid.

    Args:
        composed: Composed configurations. One with ``data.folds`` stands for a run of each fold.
        arguments: The arguments of the sweep. Runs that its sub-sweeps have in common are trained
            once.
        typed: Returns the settings of a configuration, by its index, as the user gave them, for
            the message about two runs that are the same; None if equal runs are allowed.

    Raises:
        ConfigError: A setting breaks its rule, runs are the same, or a race could have too many.
    """
    has_sub_sweeps = sweep_files.has_sub_sweeps(arguments)
    origins: list[int] = []

    def jobs() -> Iterator[Values]:
        # The folds first: sub-sweeps may have some of them in common.
        expanded = _with_folds(composed)
        for index, values in _distinct(expanded) if has_sub_sweeps else expanded:
            origins.append(index)
            yield values

    # Not from a list: the composed configurations of a large sweep need much memory.
    plan = make_plan(jobs(), arguments)
    if typed is not None:
        check_different_runs(plan, lambda index: typed(origins[index]))
    return GridPlan(race.first_plan(plan) if plan.is_race else plan, origins)


def _with_folds(composed: Iterable[Values]) -> Iterator[tuple[int, Values]]:
    """The configuration of each fold, with the index of the one that it comes from."""
    for index, values in enumerate(composed):
        for one in folds.expanded([values]):
            yield index, one


def _distinct(numbered: Iterable[tuple[int, Values]]) -> Iterator[tuple[int, Values]]:
    """The first one of equal configurations."""
    known = set()
    for index, values in numbered:
        identity = json.dumps(setting_values.canonical(dict(values)), sort_keys=True)
        if identity not in known:
            known.add(identity)
            yield index, values
