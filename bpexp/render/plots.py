"""Figures as matplotlib objects, drawn of plain values."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.studies.definition import Study
from bpexp.studies.measures import MEASURES
from bpexp.sweeps.plan import shown
from bpexp.sweeps.results import Curve, Row
from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def heat_map(keys: Sequence[str], rows: Sequence[Row]) -> HeatMap:
    """The map of rows that differ in two settings."""
    ys, xs = (_levels(key, rows) for key in keys)
    y_of, x_of = ({level: at for at, level in enumerate(levels)} for levels in (ys, xs))
    sums, counts = np.zeros((len(ys), len(xs))), np.zeros((len(ys), len(xs)))
    for row in rows:
        cell = y_of[shown(row.values[keys[0]])], x_of[shown(row.values[keys[1]])]
        sums[cell] += row.final_loss or 0.0
        counts[cell] += 1
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return HeatMap(keys, (ys, xs), means)


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


def study_maps(study: Study, measured: Array) -> "Figure":
    """The mean measure at each point of a study's grid, a map for each row.

    ``measured``: (n_rows, n_runs), NaN where a run has none.
    """
    from matplotlib.figure import Figure

    y, x = study.grid
    cells = measured.reshape(len(study.rows), y.count, x.count, study.trials)
    known = np.isfinite(cells)
    sums, counts = np.where(known, cells, 0.0).sum(axis=-1), known.sum(axis=-1)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    measure = MEASURES[study.measures[0]]
    low, high = (0.0, 1.0) if measure.is_share else (np.nanmin(means), np.nanmax(means))
    n = len(study.rows)
    figure = Figure(figsize=(1.2 + 4.0 * n, 4.2), layout="constrained")
    panels = figure.subplots(1, n, squeeze=False, sharey=True)[0]
    for axes, row, values in zip(panels, study.rows, means, strict=True):
        image = axes.pcolormesh(
            x.values, y.values, values, cmap="cividis", vmin=low, vmax=high, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        axes.set(xlabel=x.name, title=row.name)
    panels[0].set(ylabel=y.name)
    figure.colorbar(image, ax=list(panels), label=measure.title)
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


def _levels(key: str, rows: Sequence[Row]) -> list[str]:
    def order(value: Any) -> tuple[bool, Any]:
        number = isinstance(value, int | float)
        return (not number, value if number else shown(value))

    return list(dict.fromkeys(shown(v) for v in sorted((r.values[key] for r in rows), key=order)))


def png(figure: "Figure") -> bytes:
    """The figure as a PNG at print size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
