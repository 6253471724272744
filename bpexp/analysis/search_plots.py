"""Plots of a search: the best value so far, and the values of trials by one and by two settings."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import LinearTriInterpolator, Triangulation

from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.setting_plots import MAX_TICKS, VALUE_LENGTH, displayed, is_positive
from bpexp.analysis.words import number
from bpexp.render.axes import (
    COLORS,
    light_grid,
    log_norm,
    log_scale,
    panel,
    plain_log_labels,
    shortened,
)
from bpexp.runs.objective import Objective
from bpexp.sweeps.samplers.importance import MIN_TRIALS, ped_anova
from bpexp.typing import Array

MAX_SLICES = 9
"""Maximum number of settings that have a panel."""
MAX_CONTOURS = 6
"""Maximum number of pairs of settings that have a panel."""
LOG_RATIO = 30.0
"""A setting has a logarithmic axis if its largest value is so many times the smallest one."""
MIN_CONTOUR_TRIALS = 8
"""Fewer trials say nothing about a surface."""
MAX_NAMED = 6
"""Maximum number of values of a setting that a sentence names."""
N_GRID = 120
"""Number of interpolated values along each axis of a surface."""


def history(findings: Findings, trials: Sequence[Summary]) -> Figure | None:
    """The value of each trial by its number, and the best value so far."""
    if not trials or not findings.has_scores:
        return None
    measure, scores = findings.measure, _scores(findings, trials)
    figure, axes = panel()
    numbers, values = np.arange(len(trials)), displayed(measure, scores)
    axes.scatter(numbers, values, s=16, color=COLORS[0], alpha=0.6, lw=0, label="a trial")
    best = displayed(measure, np.minimum.accumulate(scores))
    axes.step(numbers, best, where="post", color=COLORS[1], lw=1.8, label="best so far")
    n_missing = int(np.isnan(values).sum())
    title = f"{measure.title} by trial"
    axes.set(xlabel="trial", ylabel=measure.center_label, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if n_missing:
        axes.set_title(f"{title}; {n_missing} trials have no value", fontsize=10)
    _scale(axes, measure)
    axes.legend(fontsize=8, frameon=False)
    return figure


def slices(findings: Findings, trials: Sequence[Summary]) -> Figure | None:
    """A panel for each setting: the value of each trial by the setting, colored by its number."""
    keys = list(findings.grouped.varying)[:MAX_SLICES]
    if not trials or not keys or not findings.has_scores:
        return None
    measure, scores = findings.measure, _scores(findings, trials)
    values, best = displayed(measure, scores), int(np.argmin(scores))
    columns = min(3, len(keys))
    lines = -(-len(keys) // columns)
    figure = Figure(figsize=(max(6.0, 4.0 * columns), 3.4 * lines + 0.3), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, key in zip(panels, keys, strict=False):
        x = _place_values(axes, findings, trials, key)
        image = axes.scatter(x, values, s=22, c=np.arange(len(trials)), cmap="viridis", lw=0)
        axes.plot(x[best], values[best], "*", color=COLORS[1], ms=13, mec="white", zorder=3)
        axes.set(xlabel=key)
        _scale(axes, measure)
    for axes in panels[::columns]:
        axes.set_ylabel(measure.center_label)
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    figure.colorbar(
        image, ax=list(panels), label="trial", ticks=MaxNLocator(integer=True, min_n_ticks=1)
    )
    return figure


def contours(findings: Findings, trials: Sequence[Summary]) -> Figure | None:
    """A panel for each pair of numeric settings: the values of the trials, interpolated."""
    measure, scores = findings.measure, _scores(findings, trials)
    known = np.isfinite(scores)
    numeric = [key for key in findings.grouped.varying if _is_numeric(findings, key)]
    pairs = list(itertools.combinations(numeric, 2))[:MAX_CONTOURS]
    if not pairs or known.sum() < MIN_CONTOUR_TRIALS:
        return None
    values, best = displayed(measure, scores[known]), int(np.argmin(scores[known]))
    shown = [summary for summary, is_known in zip(trials, known, strict=True) if is_known]
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.8, 3.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    norm = log_norm(values) if is_positive(measure) else None
    for axes, (y_key, x_key) in zip(panels, pairs, strict=False):
        x, y = _values(shown, x_key), _values(shown, y_key)
        _draw_surface(axes, x, y, values, norm)
        image = axes.scatter(
            x, y, s=26, c=values, cmap="viridis", norm=norm, edgecolors="black", linewidths=0.6
        )
        axes.plot(x[best], y[best], "*", color=COLORS[1], ms=14, mec="white", zorder=3)
        axes.set(xlabel=x_key, ylabel=y_key)
        if _is_log(x):
            log_scale(axes.xaxis)
        if _is_log(y):
            log_scale(axes.yaxis)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=list(panels), label=measure.center_label)
    if norm is not None:
        plain_log_labels(bar.ax.yaxis)
    return figure


def importance(findings: Findings, trials: Sequence[Summary]) -> str:
    """The importance of the settings of a search, as a sentence; "" if it is not known."""
    settings = [summary.group.settings for summary in trials]
    found = ped_anova(settings, _scores(findings, trials).tolist()) if trials else {}
    if not found:
        return ""
    listed = ", ".join(f"{key} {100.0 * share:.0f}%" for key, share in found.items())
    return (
        f"Importance of the settings for reaching the best tenth (PED-ANOVA of Optuna): {listed}."
    )


def sentences(findings: Findings, trials: Sequence[Summary]) -> list[str]:
    """For each setting of a search, its values in the best tenth of the trials and in all of them.

    This describes where the search found good values, and is no test: the other settings differ
    between trials, and the search chose their values.
    """
    scores = _scores(findings, trials)
    known = np.flatnonzero(np.isfinite(scores))
    if len(known) < MIN_TRIALS:
        return [
            f"How each setting matters cannot be said of fewer than {MIN_TRIALS} trials with a "
            f"value, got {len(known)}."
        ]
    order = known[np.argsort(scores[known], kind="stable")]
    best = [trials[place] for place in order[: len(known) // 10]]
    return [_sentence(findings, trials, best, key) for key in findings.grouped.varying]


def _sentence(
    findings: Findings, trials: Sequence[Summary], best: Sequence[Summary], key: str
) -> str:
    """The values of a setting in the best trials, and in all of them."""
    tenth = f"the best tenth ({len(best)} of {len(trials)} trials)"
    if _is_numeric(findings, key):
        (low, high), (lowest, highest) = (
            (float(values.min()), float(values.max()))
            for values in (_values(best, key), _values(trials, key))
        )
        return (
            f"{key}: {number(low)} to {number(high)} in {tenth}, {number(lowest)} to "
            f"{number(highest)} in all; not tested, since the other settings differ, too."
        )
    counts, of_all = (
        Counter(summary.group.settings[key] for summary in some) for some in (best, trials)
    )
    named = [f"{n} of {of_all[value]} with {value}" for value, n in counts.most_common(MAX_NAMED)]
    return (
        f"{key}: in {tenth} {', '.join(named)}; not tested, since the other settings differ, too."
    )


def replaces_heat_maps(findings: Findings, trials: Sequence[Summary]) -> bool:
    """Whether a setting of a search has so many values that a heat map would be mostly empty."""
    varying = findings.grouped.varying
    return bool(trials) and any(len(levels) > MAX_TICKS for levels in varying.values())


def _scores(findings: Findings, trials: Sequence[Summary]) -> Array:
    """What trials are judged by, (n_trials,): smaller is better, inf without a value."""
    measure, horizon = findings.measure, findings.horizon
    return np.array([measure.center(s.group.scores(measure), horizon) for s in trials])


def _scale(axes: Axes, measure: Objective) -> None:
    if is_positive(measure):
        log_scale(axes.yaxis)
    light_grid(axes)


def _place_values(axes: Axes, findings: Findings, trials: Sequence[Summary], key: str) -> Array:
    """The place of each trial on the x axis, which is labeled with values that are no numbers."""
    if _is_numeric(findings, key):
        x = _values(trials, key)
        if _is_log(x):
            log_scale(axes.xaxis)
        return x
    levels = list(findings.grouped.varying[key])
    step = -(-len(levels) // MAX_TICKS)
    ticks = [*shortened(levels, VALUE_LENGTH).values()]
    axes.set_xticks(range(0, len(levels), step), ticks[::step], fontsize=8)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    return np.array([levels.index(summary.group.settings[key]) for summary in trials], float)


def _is_numeric(findings: Findings, key: str) -> bool:
    """Whether a setting has more than two values, all of them finite numbers."""
    levels = findings.grouped.varying[key]
    try:
        return len(levels) > 2 and bool(np.isfinite([float(level) for level in levels]).all())
    except ValueError:
        return False


def _values(trials: Sequence[Summary], key: str) -> Array:
    return np.array([float(summary.group.settings[key]) for summary in trials])


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
