"""Chooses the objective that ranks the groups of a report: that of the sweeps, or another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bpexp.analysis.groups import Grouped, available_objectives, stops_on_convergence
from bpexp.fields.checks import ConfigError
from bpexp.runs import objective, run_tags
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective, objectives
from bpexp.runs.result import Outcome

if TYPE_CHECKING:
    from bpexp.tracking.reading import StoredRun

OPTIMISTIC = (
    "These figures are optimistic: the combinations are ranked by test rows, on which the best of "
    "several combinations is partly luck."
)
"""What a report says that ranks by a metric of test rows."""


@dataclass(frozen=True)
class ObjectiveChoice:
    """What the user chose.

    Attributes:
        key: The name of the objective; None for that of the sweeps.
        allow_test: Whether it may be a metric of the test rows.
        is_typed: Whether the user of the report typed it. The objective of a sweep, which its runs
            may not have, is replaced by the default.
    """

    key: str | None = None
    allow_test: bool = False
    is_typed: bool = True


ANY_OBJECTIVE = ObjectiveChoice()


def with_objective_of(choice: ObjectiveChoice, parents: Sequence["StoredRun"]) -> ObjectiveChoice:
    """The choice, in which the objective of the sweeps takes the place of None.

    Args:
        choice: What the user of the report chose.
        parents: Parent runs of the sweeps.

    Raises:
        ConfigError: The sweeps have different objectives, and the user chose none.
    """
    tags = [parent.tags for parent in parents]
    allow_test = choice.allow_test or all(t.get(run_tags.ALLOW_TEST) == "true" for t in tags)
    stored = list(dict.fromkeys(filter(None, (t.get(run_tags.OBJECTIVE) for t in tags))))
    if choice.key is None and len(stored) > 1:
        raise ConfigError(
            f"the sweeps have different objectives, {' and '.join(stored)}: name the one to "
            "compare them by with --measure."
        )
    key = stored[0] if choice.key is None and stored else choice.key
    # A store can hold any text.
    known = objectives().get(key or "")
    is_allowed = known is not None and (allow_test or known.split is not Split.TEST)
    is_typed = choice.key is not None
    return ObjectiveChoice(key if is_typed or is_allowed else None, allow_test, is_typed)


def choose(grouped: Grouped, choice: ObjectiveChoice) -> Objective:
    """The objective that ranks the groups.

    Args:
        grouped: The groups.
        choice: What was chosen.

    Raises:
        ConfigError: No group has the objective, or it is of test rows and these are not allowed.
    """
    available = {found.name: found for found in available_objectives(grouped)}
    if choice.key in available:
        objective.named(choice.key, allow_test=choice.allow_test, key="--measure")
        return available[choice.key]
    if choice.key == objective.EPOCHS_TO_CONVERGE and not choice.is_typed:
        # It decided which runs a search or a race trained, although none of them converged.
        return objectives()[choice.key]
    if choice.key is not None and choice.is_typed:
        raise ConfigError(
            f"--measure must be one of {', '.join(available)} for these runs, got {choice.key!r}."
        )
    return objective.default(
        has_validation=_all_have_validation(grouped),
        stops_at_criterion=stops_on_convergence(grouped),
    )


def _all_have_validation(grouped: Grouped) -> bool:
    """Whether all runs that did not diverge have a validation loss, and any has."""
    table = grouped.groups[0].table
    losses = table.columns.get("lowest_validation_loss")
    if losses is None:
        return False
    is_regular = table.outcomes != Outcome.DIVERGED.value
    return bool(is_regular.any() and not np.isnan(losses[is_regular]).any())
