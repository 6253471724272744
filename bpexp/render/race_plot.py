"""The plot of a race: the interval of each combination by the number of seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from bpexp.render.axes import (
    MAX_LINES,
    light_grid,
    line_style,
    literal,
    log_scale,
    panel,
    shortened,
)
from bpexp.render.wording import counted
from bpexp.typing import Array

GRAY = "0.6"
MAX_NAME = 40
"""Maximum number of characters of a combination in the legend."""
MAX_TICKS = 12
"""Maximum number of numbers of seeds along the axis."""
APART = 0.09
"""Distance of two combinations at one number of seeds, as a share of a block of seeds."""


class RacedLine(NamedTuple):
    """One combination of a race, after each block of seeds that it got.

    Attributes:
        name: The combination.
        state: How it came out, in a few words.
        is_racing: Whether it was not stopped.
        n_seeds: The numbers of seeds, (n_blocks,).
        centers: What ranks combinations, such as the median, (n_blocks,); may be infinite.
        lows: The lower ends of its interval, (n_blocks,); nan if it has none.
        highs: The upper ends, (n_blocks,).
    """

    name: str
    state: str
    is_racing: bool
    n_seeds: Array
    centers: Array
    lows: Array
    highs: Array


def race(lines: Sequence[RacedLine], label: str, *, is_log: bool) -> Figure | None:
    """Draw the center of each combination with its interval, and a cross where it was stopped.

    The first combinations have a color, a name and an interval; the others are gray lines.

    Args:
        lines: The combinations, in the order of the ranking.
        label: What is drawn: ``"median final loss"``.
        is_log: Whether the axis of the centers is logarithmic if all of them are positive.

    Returns:
        The figure; None if no center is finite.
    """
    ends = np.concatenate([np.concatenate([c.centers, c.lows, c.highs]) for c in lines])
    known = ends[np.isfinite(ends)]
    if not known.size:
        return None
    bottom, top = known.min(), known.max()
    figure, axes = panel()
    names = shortened([one.name for one in lines[:MAX_LINES]], MAX_NAME)
    step = min(np.diff(lines[0].n_seeds, prepend=0))
    for place, one in enumerate(lines):
        is_named = place < MAX_LINES
        style = dict(line_style(place)) if is_named else {"color": GRAY, "lw": 0.8}
        x = np.asarray(one.n_seeds, float)
        if is_named:
            name, state = names[one.name], literal(one.state)
            style["label"] = f"{name}: {state}" if name else state
            # Beside each other, so that no interval hides another one.
            x = x + step * APART * (place - (min(len(lines), MAX_LINES) - 1) / 2)
            # An end that is infinite is beyond the axes.
            low, high = (np.clip(part, bottom, top) for part in (one.lows, one.highs))
            axes.vlines(x, low, high, color=style["color"], alpha=0.5, lw=2.5)
        drawn = np.where(np.isfinite(one.centers), one.centers, np.nan)
        axes.plot(x, drawn, marker="o", ms=3.5, zorder=3 if is_named else 1, **style)
        if not one.is_racing:
            last = np.clip(one.centers[-1], bottom, top)
            axes.plot(x[-1], last, "x", color=style["color"], ms=10, mew=2.2, zorder=4)
    if len(lines) > MAX_LINES:
        others = counted(len(lines) - MAX_LINES, "other combination")
        axes.plot([], [], color=GRAY, lw=0.8, label=others)
    if is_log and bottom > 0.0:
        log_scale(axes.yaxis)
    looks = np.unique(np.concatenate([one.n_seeds for one in lines]))
    axes.xaxis.set_major_locator(FixedLocator(looks.tolist(), nbins=MAX_TICKS))
    axes.set(xlabel="seeds", ylabel=label, title=f"Race: {label} by the number of seeds")
    light_grid(axes)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure
