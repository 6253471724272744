"""Plots of a search: the best value so far, and the values of trials by one and by two settings."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import LinearTriInterpolator, Triangulation

from bpexp.analysis.objective_axes import color_norm, displayed, scale
from bpexp.analysis.trials import Trials
from bpexp.render.axes import (
    COLORS,
    MAX_COLUMNS,
    label_levels,
    light_grid,
    log_scale,
    panel,
    panel_grid,
    plain_log_labels,
)
from bpexp.render.wording import counted
from bpexp.typing import Array

MAX_SLICES = 9
"""Maximum number of settings that have a panel."""
MAX_CONTOURS = 6
"""Maximum number of pairs of settings that have a panel."""
LOG_RATIO = 30.0
"""A setting has a logarithmic axis if its largest value is so many times the smallest one."""
MIN_CONTOUR_TRIALS = 8
"""Fewer trials say nothing about a surface."""
N_GRID = 120
"""Number of interpolated values along each axis of a surface."""


def history(trials: Trials) -> Figure | None:
    """The value of each trial by its number, and the best value so far."""
    if not trials.findings.has_scores:
        return None
    objective, scores = trials.findings.objective, trials.scores
    figure, axes = panel()
    numbers, values = np.arange(len(scores)), displayed(objective, scores)
    axes.scatter(numbers, values, s=16, color=COLORS[0], alpha=0.6, lw=0, label="a trial")
    best = displayed(objective, np.minimum.accumulate(scores))
    axes.step(numbers, best, where="post", color=COLORS[1], lw=1.8, label="best so far")
    n_missing = int(np.isnan(values).sum())
    title = f"{objective.title} by trial"
    axes.set(xlabel="trial", ylabel=objective.center_label, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if n_missing:
        axes.set_title(f"{title}; {counted(n_missing, 'trial')} without a value", fontsize=10)
    scale(axes.yaxis, objective)
    light_grid(axes)
    axes.legend(fontsize=8, frameon=False)
    return figure


def slices(trials: Trials) -> Figure | None:
    """A panel for each setting: the value of each trial by the setting, colored by its number."""
    findings, objective = trials.findings, trials.findings.objective
    keys = list(findings.grouped.varying)[:MAX_SLICES]
    if not keys or not findings.has_scores:
        return None
    values, best = displayed(objective, trials.scores), int(np.argmin(trials.scores))
    figure, panels = panel_grid(
        len(keys), (4.0, 3.4), extra=(0.0, 0.3), min_width=6.0, share_y=True
    )
    for axes, key in zip(panels, keys, strict=True):
        x = _place_values(axes, trials, key)
        image = axes.scatter(x, values, s=22, c=np.arange(len(values)), cmap="viridis", lw=0)
        axes.plot(x[best], values[best], "*", color=COLORS[1], ms=13, mec="white", zorder=3)
        axes.set(xlabel=key)
        scale(axes.yaxis, objective)
        light_grid(axes)
    for axes in panels[::MAX_COLUMNS]:
        axes.set_ylabel(objective.center_label)
    figure.colorbar(
        image, ax=figure.axes, label="trial", ticks=MaxNLocator(integer=True, min_n_ticks=1)
    )
    return figure


def contours(trials: Trials) -> Figure | None:
    """A panel for each pair of numeric settings: the values of the trials, interpolated."""
    objective, known = trials.findings.objective, np.isfinite(trials.scores)
    numeric = [key for key in trials.findings.grouped.varying if trials.is_numeric(key)]
    pairs = list(itertools.combinations(numeric, 2))[:MAX_CONTOURS]
    if not pairs or known.sum() < MIN_CONTOUR_TRIALS:
        return None
    scores = trials.scores[known]
    values, best = displayed(objective, scores), int(np.argmin(scores))
    figure, panels = panel_grid(len(pairs), (4.6, 3.8), extra=(0.8, 0.0), min_width=0.0)
    norm = color_norm(values, objective)
    for axes, (y_key, x_key) in zip(panels, pairs, strict=True):
        x, y = trials.numeric_values(x_key)[known], trials.numeric_values(y_key)[known]
        _draw_surface(axes, x, y, values, norm)
        image = axes.scatter(
            x, y, s=26, c=values, cmap="viridis", norm=norm, edgecolors="black", linewidths=0.6
        )
        axes.plot(x[best], y[best], "*", color=COLORS[1], ms=14, mec="white", zorder=3)
        axes.set(xlabel=x_key, ylabel=y_key)
        for axis, places in ((axes.xaxis, x), (axes.yaxis, y)):
            if _is_log(places):
                log_scale(axis)
    bar = figure.colorbar(image, ax=figure.axes, label=objective.center_label)
    if norm is not None:
        plain_log_labels(bar.ax.yaxis)
    return figure


def _place_values(axes: Axes, trials: Trials, key: str) -> Array:
    """The place of each trial on the x axis, which is labeled with values that are no numbers."""
    if trials.is_numeric(key):
        x = trials.numeric_values(key)
        if _is_log(x):
            log_scale(axes.xaxis)
        return x
    levels = list(trials.findings.grouped.varying[key])
    label_levels(axes.xaxis, levels)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    return np.array([levels.index(value) for value in trials.values(key)], float)


def _is_log(values: Array) -> bool:
    return bool(values.min() > 0 and values.max() >= LOG_RATIO * values.min())


def _draw_surface(axes: Axes, x: Array, y: Array, values: Array, norm: LogNorm | None) -> None:
    """Draw the values between points, interpolated linearly on the scales of the axes.

    Nothing is drawn if all points are on a line.
    """
    places = [_unit(np.log(part) if _is_log(part) else part) for part in (x, y)]
    points = np.column_stack(places)
    if np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-6) < 2:
        return
    heights = values if norm is None else np.log(values.clip(values[values > 0].min()))
    grid = np.linspace(0.0, 1.0, N_GRID)
    surface = LinearTriInterpolator(Triangulation(*places), heights)(*np.meshgrid(grid, grid))
    shown = np.exp(surface) if norm is not None else surface
    axes.pcolormesh(
        _from_unit(grid, x), _from_unit(grid, y), shown, cmap="viridis", norm=norm,
        shading="nearest", alpha=0.75, rasterized=True,
    )  # fmt: skip
    # Points at the edge are drawn in full.
    axes.use_sticky_edges = False
    axes.margins(0.04)


def _unit(values: Array) -> Array:
    """The values, shifted and scaled to [0, 1]."""
    return np.asarray((values - values.min()) / (np.ptp(values) or 1.0))


def _from_unit(places: Array, values: Array) -> Array:
    """The values at places in [0, 1], on a logarithmic scale if the values have one."""
    low, high = values.min(), values.max()
    if _is_log(values):
        return np.asarray(np.geomspace(low, high, len(places)))
    return np.asarray(low + places * (high - low))
