"""The plots that are stored with a sweep, drawn from plain values, and plots as PNG files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bpexp.render.axes import log_norm
from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LEGEND = 12
"""More curves than this have no legend and are drawn as one artist."""

Curve = tuple[Sequence[int], Array]
"""Epochs and the losses in them."""


@dataclass(frozen=True)
class HeatMap:
    """Mean losses by the values of two settings.

    ``means``: (n_ys, n_xs), NaN where there is no run; the first of ``keys`` is y.
    """

    keys: Sequence[str]
    levels: tuple[list[str], list[str]]
    means: Array


def heat_map(
    keys: Sequence[str],
    levels: tuple[list[str], list[str]],
    cells: Sequence[tuple[str, str]],
    losses: Sequence[float],
) -> HeatMap:
    """Average the losses of runs that differ in two settings.

    Args:
        keys: The two settings, the one of the y axis first.
        levels: The values of each setting as text, in the order of the axis.
        cells: For each run, its values of the two settings.
        losses: For each run, its loss.

    >>> cells = [("0.1", "1"), ("0.1", "2"), ("1", "1")]
    >>> heat_map(["lr", "seed"], (["0.1", "1"], ["1", "2"]), cells, [3.0, 4.0, 5.0]).means
    array([[ 3.,  4.],
           [ 5., nan]])
    """
    ys, xs = levels
    y_of, x_of = ({level: place for place, level in enumerate(axis)} for axis in levels)
    sums, counts = np.zeros((len(ys), len(xs))), np.zeros((len(ys), len(xs)))
    for (y, x), loss in zip(cells, losses, strict=True):
        sums[y_of[y], x_of[x]] += loss
        counts[y_of[y], x_of[x]] += 1
    means: Array = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return HeatMap(keys, levels, means)


def summary(curves: Sequence[tuple[str, Curve]], mapped: HeatMap | None) -> "Figure":
    """Loss curves of a sweep's runs and, if there is one, a heat map beside them.

    Args:
        curves: The name and the curve of each run, the best first.
        mapped: Final losses by two settings.
    """
    from matplotlib.figure import Figure

    if mapped is None:
        # Fixed margins: the automatic layout would take as long as drawing.
        figure = Figure(figsize=(6.5, 4.2))
        figure.subplots_adjust(left=0.12, right=0.98, bottom=0.12, top=0.92)
        _draw_curves(figure.subplots(), curves)
        return figure
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_curves(left, curves)
    _draw_heat_map(figure, right, mapped)
    return figure


@dataclass(frozen=True)
class GridAxis:
    """An axis of a study's grid: its label and its values in order."""

    label: str
    values: Sequence[float]


def study_maps(
    axes: tuple[GridAxis, GridAxis],
    maps: Sequence[tuple[str, Array]],
    label: str,
    limits: tuple[float, float] | None,
) -> "Figure":
    """Draw a map for each row of a study.

    Args:
        axes: The y and the x axis.
        maps: The title of each map and its values, (n_y, n_x); NaN where there is none.
        label: What the colors mean.
        limits: The lowest and the highest value of the color scale; None for those of the data.
    """
    from matplotlib.figure import Figure

    y, x = axes
    values = np.array([cells for _, cells in maps])
    low, high = limits or (np.nanmin(values), np.nanmax(values))
    figure = Figure(figsize=(1.2 + 4.0 * len(maps), 4.2), layout="constrained")
    panels = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    for panel, (title, cells) in zip(panels, maps, strict=True):
        image = panel.pcolormesh(
            x.values, y.values, cells, cmap="cividis", vmin=low, vmax=high, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        panel.set(xlabel=x.label, title=title)
    panels[0].set(ylabel=y.label)
    figure.colorbar(image, ax=list(panels), label=label)
    return figure


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file of 200 dots per inch, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _draw_curves(axes: "Axes", curves: Sequence[tuple[str, Curve]]) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    worst_first = [(name, *curve) for name, curve in reversed(curves)]
    colors = colormaps["viridis"](np.linspace(0.0, 0.95, len(curves))[::-1])
    axes.set(xlabel="epoch", ylabel="loss per sample", yscale="log")
    axes.set_title("Loss, from best (dark) to worst (light)")
    axes.grid(alpha=0.25)
    if len(curves) > MAX_LEGEND:
        lines = [np.column_stack([epochs, losses]) for _, epochs, losses in worst_first]
        # One artist for all lines: hundreds of artists are slow to lay out and draw.
        axes.add_collection(LineCollection(lines, colors=colors, linewidths=0.5))
        axes.autoscale_view()
        return
    for color, (name, epochs, losses) in zip(colors, worst_first, strict=True):
        axes.plot(epochs, losses, color=color, lw=1.4, label=name)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], fontsize=8, frameon=False)


def _draw_heat_map(figure: "Figure", axes: "Axes", mapped: HeatMap) -> None:
    image = axes.imshow(
        mapped.means, aspect="auto", cmap="viridis", norm=log_norm(mapped.means), origin="lower"
    )
    for axis, levels in zip((axes.yaxis, axes.xaxis), mapped.levels, strict=True):
        step = max(1, len(levels) // 10)
        axis.set_ticks(range(0, len(levels), step), levels[::step])
    axes.set(ylabel=mapped.keys[0], xlabel=mapped.keys[1], title="Final loss")
    figure.colorbar(image, ax=axes)
