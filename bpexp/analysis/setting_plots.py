"""Plots of the objective by the settings that vary: effects, heat maps, parallel coordinates."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from bpexp.analysis import objective_axes
from bpexp.analysis.effects import Effect
from bpexp.analysis.findings import Findings
from bpexp.analysis.objective_axes import color_norm, displayed
from bpexp.analysis.words import number
from bpexp.render.axes import (
    MAX_COLUMNS,
    MAX_DRAWN,
    MAX_TICKS,
    VALUE_LENGTH,
    WIDTH,
    label_levels,
    light_grid,
    limits,
    mark_cell,
    panel,
    panel_grid,
    plain_log_labels,
    shortened,
)
from bpexp.typing import Array

MAX_HEAT_MAPS = 6
"""Maximum number of pairs of settings that have a heat map."""
MAX_CELL_TEXTS = 64
"""In heat maps with more cells than this, the cells have no numbers."""
MAX_EFFECTS = 9
"""Maximum number of settings whose effects are drawn."""
MAX_COMBINATIONS = 200
"""Maximum number of combinations of the other settings that are drawn for each setting."""


def effect_plots(effects: Sequence[Effect]) -> Figure | None:
    """A panel for each setting: the objective by its values, over the other settings."""
    drawn = [effect for effect in effects if effect.levels][:MAX_EFFECTS]
    if not drawn:
        return None
    figure, panels = panel_grid(len(drawn), (4.2, 3.6), share_y=True)
    for axes, effect in zip(panels, drawn, strict=True):
        _draw_effect(axes, effect)
    for axes in panels[::MAX_COLUMNS]:
        axes.set_ylabel(drawn[0].objective.label)
    return figure


def _draw_effect(axes: Axes, effect: Effect) -> None:
    """Draw what ranks each value with its interval, over the combinations of other settings."""
    places = np.arange(len(effect.levels))
    _draw_combinations(axes, effect)
    intervals = np.array([level.interval for level in effect.levels])
    if effect.objective.is_time:
        # What ranks the values: a mean, which has no interval.
        intervals = np.array([(level.center, np.nan, np.nan) for level in effect.levels])
    middle, low, high = np.clip(intervals, -MAX_DRAWN, MAX_DRAWN).T
    # An infinite median is not drawn.
    middle = np.where(np.isfinite(intervals[:, 0]), middle, np.nan)
    is_known = np.isfinite(intervals[:, 1:]).all(axis=1)
    bars = np.where(is_known, [middle - low, high - middle], 0.0)
    if effect.is_matched:
        axes.plot(places, middle, color="black", lw=1.8)
    axes.errorbar(places, middle, bars, fmt="o", color="black", ms=6, capsize=4, lw=1.5)
    objective_axes.scale(axes.yaxis, effect.objective)
    label_levels(axes.xaxis, [level.value for level in effect.levels])
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.set(xlabel=effect.key)
    axes.set_title(effect.verdict, fontsize=10)
    light_grid(axes, "y")


def _draw_combinations(axes: Axes, effect: Effect) -> None:
    """Each combination of the other settings in gray, joined where it has all values."""
    style: dict[str, Any] = {"color": "0.7", "marker": "o", "ms": 2.5, "zorder": 1}
    if not effect.is_matched:
        for place, level in enumerate(effect.levels):
            shown = displayed(effect.objective, np.array(level.by_combination[:MAX_COMBINATIONS]))
            axes.plot(np.full(len(shown), place), shown, ls="", **style)
        return
    by_combination = np.array([level.by_combination for level in effect.levels])
    shown = displayed(effect.objective, by_combination[:, :MAX_COMBINATIONS])
    if shown.shape[1] > 1:
        axes.plot(np.arange(len(effect.levels)), shown, lw=0.8, **style)


def effect_note(effects: Sequence[Effect]) -> str | None:
    """A remark if some settings have no plot of their effect."""
    n_drawn = sum(bool(effect.levels) for effect in effects)
    if n_drawn <= MAX_EFFECTS:
        return None
    return f"The effects of {MAX_EFFECTS} of {n_drawn} settings are drawn."


def heat_maps(findings: Findings) -> Figure | None:
    """A heat map for each pair of settings: the median, or mean, of the runs with both values."""
    keys = list(findings.grouped.varying)
    if len(keys) < 2 or not findings.has_scores:
        return None
    pairs = list(itertools.combinations(keys, 2))[:MAX_HEAT_MAPS]
    figure, panels = panel_grid(len(pairs), (4.6, 3.8))
    for axes, (y, x) in zip(panels, pairs, strict=True):
        _draw_heat_map(figure, axes, findings, y, x)
    return figure


def _draw_heat_map(figure: Figure, axes: Axes, findings: Findings, y: str, x: str) -> None:
    """Draw the center of all runs by the values of two settings, and mark the best cell.

    Args:
        figure: Gets a color bar.
        axes: Where to draw.
        findings: The groups.
        y: The setting along the vertical axis.
        x: The setting along the horizontal axis.
    """
    objective, varying = findings.objective, findings.grouped.varying
    ys, xs = varying[y], varying[x]
    cells: dict[tuple[int, int], list[Array]] = {}
    for summary in findings.summaries:
        settings = summary.group.settings
        cell = ys.index(settings[y]), xs.index(settings[x])
        cells.setdefault(cell, []).append(summary.group.scores(objective))
    centers = np.full((len(ys), len(xs)), np.nan)
    for cell, scores in cells.items():
        # As groups are ranked, so that the best cell is that of the best group.
        centers[cell] = objective.center(np.concatenate(scores), findings.horizon)
    values = displayed(objective, centers)
    image = axes.imshow(
        values, aspect="auto", cmap="viridis", norm=color_norm(values, objective), origin="lower",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("0.85")
    if np.isfinite(centers).any():
        mark_cell(axes, *np.unravel_index(np.nanargmin(centers), centers.shape))
    if centers.size <= MAX_CELL_TEXTS:
        for row, column in cells:
            _write_cell(axes, image, row, column, values[row, column])
    label_levels(axes.yaxis, ys)
    label_levels(axes.xaxis, xs)
    axes.set(ylabel=y, xlabel=x, title=f"{objective.statistic.capitalize()} {objective.label}")
    bar = figure.colorbar(image, ax=axes)
    if isinstance(image.norm, LogNorm):
        plain_log_labels(bar.ax.yaxis)


def _write_cell(axes: Axes, image: Any, row: int, column: int, value: float) -> None:
    """Write the value into its cell, in black or white, whichever has more contrast."""
    known = bool(np.isfinite(value))
    red, green, blue = image.cmap(image.norm(value))[:3] if known else (1.0, 1.0, 1.0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
    text = number(value) if known else "not\nreached"
    axes.text(column, row, text, ha="center", va="center", fontsize=8,
              color="black" if light else "white")  # fmt: skip


def heat_map_note(findings: Findings) -> str | None:
    """A remark if some pairs of settings have no heat map."""
    n_pairs = math.comb(len(findings.grouped.varying), 2)
    if n_pairs <= MAX_HEAT_MAPS or not findings.has_scores:
        return None
    return (
        f"{MAX_HEAT_MAPS} of {n_pairs} pairs of settings have a heat map; the parallel "
        "coordinates show all settings."
    )


def parallel_coordinates(findings: Findings) -> Figure | None:
    """A line per group through the values of all settings that vary, colored by the objective."""
    varying, objective = findings.grouped.varying, findings.objective
    keys = list(varying)
    if len(keys) < 3 or not findings.has_scores:
        return None
    figure, axes = panel(width=max(WIDTH, 1.7 * len(keys) + 2.0))
    # As groups are ranked: the median, or the mean of epochs to converge.
    centers = [
        objective.center(s.group.scores(objective), findings.horizon) for s in findings.summaries
    ]
    values = displayed(objective, np.array(centers))
    norm = color_norm(values, objective) or Normalize(*limits(values))
    rng = np.random.default_rng(findings.seed)
    known = np.isfinite(values)
    heights = np.array(
        [[_height(varying[key], s.group.settings[key]) for key in keys] for s in findings.summaries]
    )
    # Lines through the same values are shifted slightly; the best groups are drawn on top.
    heights += rng.uniform(-0.02, 0.02, (len(heights), 1))
    lines = np.stack([np.broadcast_to(np.arange(len(keys)), heights.shape), heights], axis=-1)
    colors = np.where(known[:, None], colormaps["viridis"](norm(values)), (0.75, 0.75, 0.75, 1.0))
    style = {"lw": 1.6, "alpha": 0.85} if len(lines) <= 200 else {"lw": 0.5, "alpha": 0.5}
    axes.add_collection(LineCollection(list(lines[::-1]), colors=list(colors[::-1]), **style))
    axes.set(xlim=(-0.1, len(keys) - 0.7), ylim=(-0.06, 1.06))
    _draw_setting_axes(axes, varying)
    label = objective.center_label
    axes.set_title(f"Settings of each group, colored by its {label}")
    bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label=label)
    if isinstance(norm, LogNorm):
        plain_log_labels(bar.ax.yaxis)
    return figure


def _draw_setting_axes(axes: Axes, varying: Mapping[str, Sequence[str]]) -> None:
    """Draw a vertical line for each setting, labeled with its values."""
    for place, levels in enumerate(varying.values()):
        axes.axvline(place, color="0.3", lw=0.8)
        step = math.ceil(len(levels) / MAX_TICKS)
        labels = shortened(levels, VALUE_LENGTH)
        for level in levels[::step]:
            axes.annotate(
                labels[level], (place, _height(levels, level)), xytext=(4, 4),
                textcoords="offset points", fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
            )  # fmt: skip
    axes.set_xticks(range(len(varying)), list(varying))
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _height(levels: Sequence[str], level: str) -> float:
    return levels.index(level) / max(1, len(levels) - 1)
