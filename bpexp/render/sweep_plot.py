"""The plot that is stored with a sweep: loss curves, and a heat map over two settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from bpexp.render.axes import MAX_DRAWN, ascending, literal, log_norm, mark_cell
from bpexp.typing import Array

MAX_NAME, MAX_LEVEL = 40, 14
"""Maximum number of characters of a name in the legend, and of a value on an axis."""
MAX_LEGEND = 12
"""More curves than this have no legend and are drawn as one artist."""


class NamedCurve(NamedTuple):
    """The loss curve of a run: the run's name, and epochs and losses, (n_points,) each."""

    name: str
    epochs: Sequence[int]
    losses: Array


@dataclass(frozen=True)
class HeatMap:
    """A value for each combination of the values of two settings.

    Attributes:
        title: What the values are.
        keys: The keys of the settings: y axis, x axis.
        levels: The values of the settings as text: y axis, x axis.
        values: The values, (n_ys, n_xs); NaN for a combination without a finite value.
        best: Row and column of the best value; None to mark none.
    """

    title: str
    keys: Sequence[str]
    levels: tuple[list[str], list[str]]
    values: Array
    best: tuple[int, int] | None = None

    @classmethod
    def of(
        cls,
        title: str,
        keys: Sequence[str],
        settings: Sequence[Sequence[str]],
        values: Sequence[float],
    ) -> Self:
        """Arrange the values of pairs of settings.

        Args:
            title: What the values are.
            keys: The keys of the two settings: y axis, x axis.
            settings: For each value the two settings as text, those of the best value first.
            values: The values, one for each pair.

        Returns:
            The heat map. Numbers on an axis ascend and precede other text.

        >>> pairs = [["0.1", "2"], ["0.1", "4"], ["1", "2"]]
        >>> HeatMap.of("loss", ["lr", "hidden"], pairs, [3.0, 4.0, 5.0]).values
        array([[ 3.,  4.],
               [ 5., nan]])
        """
        ys, xs = (ascending([setting[axis] for setting in settings]) for axis in (0, 1))
        row_of, column_of = ({level: i for i, level in enumerate(levels)} for levels in (ys, xs))
        cells = [(row_of[y], column_of[x]) for y, x in settings]
        grid = np.full((len(ys), len(xs)), np.nan)
        for cell, value in zip(cells, values, strict=True):
            grid[cell] = value if np.isfinite(value) else np.nan
        return cls(title, keys, (ys, xs), grid, cells[0] if np.isfinite(values[0]) else None)


def summary(
    curves: Sequence[NamedCurve],
    heat_map: HeatMap | None,
    label: str = "loss",
    ordered_by: str = "",
) -> Figure:
    """Draw the loss curves of the runs of a sweep, and a heat map over its settings.

    Args:
        curves: The loss curves, that of the best run first.
        heat_map: Values by two settings; None for a figure without a heat map.
        label: What the curves are, such as "validation loss".
        ordered_by: What orders the runs, if it is not the value that the curves show.

    Returns:
        The figure.
    """
    if heat_map is None:
        # Fixed margins: the automatic layout would take as long as drawing.
        figure = Figure(figsize=(6.5, 4.2))
        figure.subplots_adjust(left=0.12, right=0.98, bottom=0.12, top=0.92)
        _draw_curves(figure.subplots(), curves, label, ordered_by)
        return figure
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_curves(left, curves, label, ordered_by)
    _draw_heat_map(figure, right, heat_map)
    return figure


def _draw_curves(axes: Axes, curves: Sequence[NamedCurve], label: str, ordered_by: str) -> None:
    worst_first = [
        (name, epochs, np.minimum(losses, MAX_DRAWN)) for name, epochs, losses in reversed(curves)
    ]
    colors = colormaps["viridis"](np.linspace(0.0, 0.95, len(curves))[::-1])
    axes.set(xlabel="epoch", ylabel=f"{label} per sample", yscale="log")
    order = f" by {ordered_by}" if ordered_by else ""
    axes.set_title(f"{label.capitalize()}, from best (dark) to worst (light){order}", fontsize=11)
    axes.grid(alpha=0.25)
    if len(curves) > MAX_LEGEND:
        lines = [np.column_stack([epochs, losses]) for _, epochs, losses in worst_first]
        # One artist for all lines: hundreds of artists are slow to lay out and draw.
        collection = LineCollection(lines, colors=colors, linewidths=0.5)
        # Old versions of matplotlib compute wrong limits of collections on logarithmic axes.
        axes.add_collection(collection, autolim=False)
        axes.update_datalim(np.concatenate(lines))
        axes.autoscale_view()
        return
    for color, (name, epochs, losses) in zip(colors, worst_first, strict=True):
        axes.plot(epochs, losses, color=color, lw=1.4, label=_end_of(name, MAX_NAME))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], fontsize=8, frameon=False)


def _draw_heat_map(figure: Figure, axes: Axes, heat_map: HeatMap) -> None:
    image = axes.imshow(
        heat_map.values, aspect="auto", cmap="viridis", norm=log_norm(heat_map.values),
        origin="lower",
    )  # fmt: skip
    for axis, levels in zip((axes.yaxis, axes.xaxis), heat_map.levels, strict=True):
        step = max(1, len(levels) // 10)
        shown = [_end_of(level, MAX_LEVEL) for level in levels[::step]]
        axis.set_ticks(range(0, len(levels), step), shown)
    if heat_map.best is not None:
        mark_cell(axes, *heat_map.best)
    axes.set(ylabel=heat_map.keys[0], xlabel=heat_map.keys[1], title=heat_map.title)
    figure.colorbar(image, ax=axes)


def _end_of(text: str, limit: int) -> str:
    """The text, or its end after "…" if it is longer than ``limit`` characters.

    Paths, which are long, differ at their end.
    """
    return literal(text if len(text) <= limit else f"…{text[1 - limit :]}")
