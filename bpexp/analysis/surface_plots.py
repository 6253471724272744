"""Plots of decision surfaces: of the best, the median and the worst run, and over two settings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpexp.analysis.surface import Surface, SurfaceGrid
from bpexp.render.axes import COLORS, VALUE_LENGTH, WIDTH, literal, shortened
from bpexp.typing import Array


def decision_surfaces(surfaces: Sequence[Surface]) -> Figure | None:
    """The network's output over the two inputs, with the training rows; a panel for each run."""
    if not surfaces:
        return None
    figure = Figure(figsize=(max(WIDTH, 3.5 * len(surfaces) + 0.8), 3.7), layout="constrained")
    panels = figure.subplots(1, len(surfaces), squeeze=False)[0]
    for axes, surface in zip(panels, surfaces, strict=True):
        image = _draw(axes, surface, _limits(_targets(surface)), size=36.0)
        x, y = map(literal, surface.dataset.inputs)
        axes.set(title=surface.title, xlabel=x, ylabel=y)
        axes.title.set_fontsize(10)
    figure.colorbar(image, ax=list(panels), label=_output(surfaces[-1]))
    return figure


def grid_of_surfaces(grid: SurfaceGrid) -> Figure:
    """The surfaces of the best runs by two settings: one along the rows, one along the columns."""
    ys, xs = grid.levels
    size = max(1.6, (WIDTH - 1.6) / len(xs))
    height = min(size, 2.6) * len(ys) + 1.2
    figure = Figure(figsize=(size * len(xs) + 1.6, height), layout="constrained")
    panels = figure.subplots(len(ys), len(xs), squeeze=False, sharex=True, sharey=True)
    limits = _limits(np.concatenate([_targets(surface) for surface in grid.cells.values()]))
    names = [shortened(levels, VALUE_LENGTH) for levels in grid.levels]
    image: Any = None
    for (row, column), axes in np.ndenumerate(panels[::-1]):
        surface = grid.cells.get((row, column))
        axes.tick_params(labelsize=7)
        if row == 0:
            axes.set_xlabel(names[1][xs[column]])
        if column == 0:
            axes.set_ylabel(names[0][ys[row]])
        if surface is None:
            axes.set_facecolor("0.9")
            axes.annotate("no run", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8)
            continue
        image = _draw(axes, surface, limits, size=9.0)
        axes.set_title(surface.title, fontsize=8)
        if (row, column) == grid.best:
            for spine in axes.spines.values():
                spine.set(color=COLORS[1], lw=3.0)
    figure.suptitle(f"Best run with each combination, and its {grid.label}", fontsize=11)
    figure.supxlabel(literal(grid.keys[1]))
    figure.supylabel(literal(grid.keys[0]))
    figure.colorbar(image, ax=list(panels.ravel()), label=_output(next(iter(grid.cells.values()))))
    return figure


def grid_note(grid: SurfaceGrid) -> str | None:
    """A remark on the values that are not drawn, and on the other settings."""
    said = [
        f"{len(drawn)} of {n} values of {key}"
        for key, drawn, n in zip(grid.keys, grid.levels, grid.n_levels, strict=True)
        if len(drawn) < n
    ]
    remarks = [f"of {' and '.join(said)}"] if said else []
    if grid.others:
        fixed = " ".join(f"{key}={value}" for key, value in grid.others.items())
        remarks.append(f"at {fixed}")
    if not remarks:
        return None
    return f"Decision surfaces over two settings are drawn {', '.join(remarks)}."


def _targets(surface: Surface) -> Array:
    """What colors the training rows, (n_samples,): the target, or the number of the class."""
    Y = surface.dataset.Y
    return Y[:, 0] if Y.shape[1] == 1 else Y.argmax(axis=1).astype(float)


def _limits(targets: Array) -> tuple[float, float]:
    return float(targets.min()), float(targets.max())


def _output(surface: Surface) -> str:
    return "output" if surface.dataset.Y.shape[1] == 1 else "largest output"


def _draw(axes: Axes, surface: Surface, limits: tuple[float, float], size: float) -> Any:
    """Draw a surface with its training rows, and return what a color bar explains.

    Args:
        axes: Where to draw.
        surface: The surface.
        limits: The ends of the color scale.
        size: The area of a training row in square points.
    """
    target, (low, high) = _targets(surface), limits
    image = axes.pcolormesh(
        surface.x, surface.y, surface.Z, cmap="cividis", vmin=low, vmax=high, rasterized=True
    )
    middle = (low + high) / 2.0
    if surface.Z.min() < middle < surface.Z.max():
        axes.contour(surface.x, surface.y, surface.Z, [middle], colors="white", linewidths=1.5)
    # Color and marker both show the class.
    edge = 1.2 if size > 20.0 else 0.5
    for high_side, marker in ((False, "o"), (True, "s")):
        side = (target > middle) == high_side
        x, y = surface.dataset.X[side].T
        axes.scatter(x, y, marker=marker, s=2.0 * size, c="black", lw=0)
        axes.scatter(x, y, marker=marker, s=size, c=target[side], cmap="cividis",
                     vmin=low, vmax=high, edgecolors="white", linewidths=edge)  # fmt: skip
    return image
