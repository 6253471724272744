"""Figures as matplotlib objects, drawn of plain values."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[Sequence[int], Array]
"""Epochs and the losses in them."""
MANY = 12
"""More curves than this get a colour scale in place of a legend."""


@dataclass(frozen=True)
class HeatMap:
    """Mean final losses, (ys, xs), by the two settings ``keys`` and their ``levels``, y first;
    NaN where no run has finished.
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
    """
    ys, xs = levels
    y_of, x_of = ({level: place for place, level in enumerate(axis)} for axis in levels)
    sums, counts = np.zeros((len(ys), len(xs))), np.zeros((len(ys), len(xs)))
    for (y, x), loss in zip(cells, losses, strict=True):
        sums[y_of[y], x_of[x]] += loss
        counts[y_of[y], x_of[x]] += 1
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return HeatMap(keys, levels, means)


def summary(curves: Sequence[tuple[str, Curve]], mapped: HeatMap | None) -> "Figure":
    """Loss curves by their runs' names, the best first, and beside them a map, if there is one."""
    from matplotlib.figure import Figure

    if mapped is None:
        # To lay out what always fits takes as long as to draw it.
        figure = Figure(figsize=(6.5, 4.2))
        figure.subplots_adjust(left=0.12, right=0.98, bottom=0.12, top=0.92)
        _curves(figure.subplots(), curves)
        return figure
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, curves)
    _heat_map(figure, right, mapped)
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


def _curves(axes: "Axes", curves: Sequence[tuple[str, Curve]]) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    worst_first = [(name, *curve) for name, curve in reversed(curves)]
    colours = colormaps["viridis"](np.linspace(0.0, 0.95, len(curves))[::-1])
    axes.set(xlabel="epoch", ylabel="loss per sample", yscale="log")
    axes.set_title("Loss, from best (dark) to worst (light)")
    axes.grid(alpha=0.25)
    if len(curves) > MANY:
        lines = [np.column_stack([epochs, losses]) for _, epochs, losses in worst_first]
        # One artist: hundreds of them are laid out and drawn one by one.
        axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.5))
        axes.autoscale_view()
        return
    for colour, (name, epochs, losses) in zip(colours, worst_first, strict=True):
        axes.plot(epochs, losses, color=colour, lw=1.4, label=name)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], fontsize=8, frameon=False)


def _heat_map(figure: "Figure", axes: "Axes", mapped: HeatMap) -> None:
    from matplotlib.colors import LogNorm

    known = mapped.means[np.isfinite(mapped.means) & (mapped.means > 0)]
    norm = LogNorm(known.min(), known.max()) if known.size and known.min() < known.max() else None
    image = axes.imshow(mapped.means, aspect="auto", cmap="viridis", norm=norm, origin="lower")
    for axis, levels in zip((axes.yaxis, axes.xaxis), mapped.levels, strict=True):
        step = max(1, len(levels) // 10)
        axis.set_ticks(range(0, len(levels), step), levels[::step])
    axes.set(ylabel=mapped.keys[0], xlabel=mapped.keys[1], title="Final loss")
    figure.colorbar(image, ax=axes)


def png(figure: "Figure") -> bytes:
    """The figure as a PNG at print size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
