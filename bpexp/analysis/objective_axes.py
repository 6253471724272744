"""How an objective is drawn: losses and epochs on logarithmic scales, the others on linear ones."""

from typing import Any

import numpy as np
from matplotlib.axis import Axis

from bpexp.render.axes import MAX_DRAWN, log_norm, log_scale
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def displayed(objective: Objective, scores: Array) -> Array:
    """The values of the objective for smaller-is-better scores; NaN for infinite scores.

    Larger losses than ``MAX_DRAWN`` have this value.
    """
    finite = np.where(np.isfinite(scores), np.minimum(scores, MAX_DRAWN), np.nan)
    return finite if objective.has_log_scale else -finite


def scale(axis: Axis, objective: Objective) -> None:
    """Make the axis of an objective logarithmic, if its values are positive."""
    if objective.has_log_scale:
        log_scale(axis)


def color_norm(values: Array, objective: Objective) -> Any:
    """A logarithmic color scale for values of an objective, None for a linear one."""
    return log_norm(values) if objective.has_log_scale else None
