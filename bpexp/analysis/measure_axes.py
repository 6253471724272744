"""How a measure is drawn: losses and epochs on logarithmic scales, the others on linear ones."""

from typing import Any

import numpy as np
from matplotlib.axis import Axis

from bpexp.render.axes import MAX_DRAWN, log_norm, log_scale
from bpexp.runs.objective import Objective
from bpexp.typing import Array


def displayed(measure: Objective, scores: Array) -> Array:
    """The values of the measure for smaller-is-better scores; NaN for infinite scores.

    Larger losses than ``MAX_DRAWN`` have this value.
    """
    finite = np.where(np.isfinite(scores), np.minimum(scores, MAX_DRAWN), np.nan)
    return finite if measure.is_positive else -finite


def scale(axis: Axis, measure: Objective) -> None:
    """Make the axis of a measure logarithmic, if its values are positive."""
    if measure.is_positive:
        log_scale(axis)


def color_norm(values: Array, measure: Objective) -> Any:
    """A logarithmic color scale for values of a measure, None for a linear one."""
    return log_norm(values) if measure.is_positive else None
