"""Plots of the groups: their losses by epoch, their runs, and how likely a run is good.

A group is a line with a color and a dash pattern, of many groups only the best ones and the worst.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpexp.analysis import estimates, group_labels, statistics
from bpexp.analysis.curves import Band, LossBands
from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.objective_axes import displayed, scale
from bpexp.render.axes import COLORS, MAX_LINES, light_grid, line_style, panel, plain_log_labels
from bpexp.runs.objective import Objective
from bpexp.typing import Array

MAX_POINTS = 500
"""Maximum number of runs of a group that are drawn as points; of more, a random sample."""


class _Line(NamedTuple):
    """A group that is drawn as a line, and the keyword arguments of ``Axes.plot`` for it."""

    summary: Summary
    style: Mapping[str, Any]

    def fill(self, axes: Axes, x: Array, low: Array, high: Array, **options: Any) -> None:
        """Fill the band around the line in its color."""
        axes.fill_between(x, low, high, color=self.style["color"], lw=0, **options)


def _lines(findings: Findings) -> Iterator[_Line]:
    labels = group_labels.labels_of_lines(findings)
    for place, summary in enumerate(group_labels.summaries_as_lines(findings)):
        yield _Line(summary, {**line_style(place), "label": labels[summary.group.name]})


def _add_grid_and_legend(axes: Axes, findings: Findings) -> None:
    light_grid(axes)
    if findings.grouped.varying:
        n_groups = len(findings.summaries)
        part = f"{MAX_LINES - 1} best of {n_groups} groups,\nand the worst"
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
                    handlelength=3.2, title=None if n_groups <= MAX_LINES else part,
                    title_fontsize=8)  # fmt: skip


def loss_curves(findings: Findings, curves: Mapping[str, LossBands]) -> Figure:
    """Median and 5-95% band of the training and the validation loss by epoch, axes logarithmic.

    Args:
        findings: The groups.
        curves: The bands of the groups that are drawn as lines, by name.
    """
    training = {name: bands.training for name, bands in curves.items()}
    validation = {
        name: bands.validation for name, bands in curves.items() if bands.validation is not None
    }
    if not validation:
        figure, axes = panel()
        _draw_bands(axes, findings, training)
        axes.set_title("Loss by epoch: median run and 5-95% band")
        _add_grid_and_legend(axes, findings)
        return figure
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    _draw_bands(left, findings, training)
    _draw_bands(right, findings, validation)
    left.set_title("Training loss: median run and 5-95% band")
    right.set_title("Validation loss")
    right.set_ylabel("")
    for axes in (left, right):
        axes.tick_params(labelleft=True)
    light_grid(left)
    _add_grid_and_legend(right, findings)
    return figure


def _draw_bands(axes: Axes, findings: Findings, bands: Mapping[str, Band]) -> None:
    """Draw the median and the band of the loss of each group that has one, log-log."""
    alpha = 0.15 if len(bands) <= 3 else 0.09
    # Limit the y axis, so that a diverging loss does not compress the other curves.
    first = [float(band.high[0]) for band in bands.values() if np.isfinite(band.high[0])]
    ceiling = 30.0 * max(first, default=1.0)
    reached = [0.0]
    for line in _lines(findings):
        band = bands.get(line.summary.group.name)
        if band is None:
            continue
        low, median, high = (
            np.where(v > 0, np.minimum(v, 10.0 * ceiling), np.nan)
            for v in (band.low, band.median, band.high)
        )
        line.fill(axes, band.epochs, low, high, alpha=alpha)
        axes.plot(band.epochs, median, **line.style)
        reached.append(float(np.nanmax(high, initial=0.0)))
    axes.set(xscale="log", yscale="log", xlabel="epoch", ylabel="loss per sample")
    if max(reached) > ceiling:
        axes.set_ylim(top=ceiling)
    plain_log_labels(axes.xaxis)
    plain_log_labels(axes.yaxis)


def convergence(findings: Findings) -> Figure | None:
    """Share of runs converged by each epoch, with its exact 95% interval."""
    if not any(summary.outcomes.get("converged") for summary in findings.summaries):
        return None
    figure, axes = panel()
    for line in _lines(findings):
        curve = line.summary.convergence
        # The curve starts at epoch 0, which a log axis cannot show.
        x = np.append(np.maximum(curve.epochs, 0.8), line.summary.group.max_epochs)
        y, low, high = (np.append(part, part[-1]) for part in (curve.share, curve.low, curve.high))
        line.fill(axes, x, low, high, step="post", alpha=0.12)
        axes.step(x, y, where="post", **line.style)
    first = min(e for s in findings.summaries for e in s.convergence.epochs[1:])
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="epoch", ylabel="share of runs converged")
    axes.set_xlim(left=max(0.8, 0.7 * float(first)))
    plain_log_labels(axes.xaxis)
    axes.set_title("Converged by epoch, 95% interval")
    _add_grid_and_legend(axes, findings)
    return figure


def distribution(findings: Findings) -> Figure | None:
    """The objective of each run, a row of points per group, with median and quartiles."""
    if not findings.has_scores:
        return None
    objective, rows = findings.objective, group_labels.summaries_as_rows(findings)
    figure, axes = panel(height=1.6 + 0.34 * max(2, len(rows)))
    rng = np.random.default_rng(findings.seed)
    for place, summary in enumerate(rows):
        _draw_runs(axes, place, summary, objective, rng)
    labels = group_labels.labels_of_rows(findings)
    axes.set_yticks(range(len(rows)), [labels[s.group.name] for s in rows], fontsize=8)
    axes.set(xlabel=objective.label, ylim=(len(rows) - 0.5, -0.5))
    scale(axes.xaxis, objective)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{objective.title}: each run, median and middle half")
    axes.grid(axis="x", alpha=0.25)
    n_groups = len(findings.summaries)
    if len(rows) < n_groups:
        axes.set_ylabel(f"the {len(rows) - 1} best of {n_groups} groups, and the worst")
    return figure


def _draw_runs(
    axes: Axes, place: int, summary: Summary, objective: Objective, rng: np.random.Generator
) -> None:
    """Draw the runs of a group as points, their median and middle half, and how many are missing.

    Args:
        axes: Where to draw.
        place: The row of the group.
        summary: The group.
        objective: What is drawn of each run.
        rng: Draws the runs of a large group, and where they are in their row.
    """
    scores = summary.group.scores(objective)
    values = displayed(objective, scores)
    finite = values[np.isfinite(values) & ((values > 0) | (not objective.has_log_scale))]
    if len(finite):
        points = finite
        if len(finite) > MAX_POINTS:
            points = rng.choice(finite, MAX_POINTS, replace=False)
        jitter = rng.uniform(-0.22, 0.22, len(points)) if len(points) > 1 else 0.0
        axes.scatter(points, place + jitter, s=9, color=COLORS[0], alpha=0.45, lw=0)
        low, middle, high = _quartiles(objective, scores)
        # Where more than a quarter of the runs have no value, the bar ends at the last one.
        ends = np.clip([low, high], finite.min(), finite.max())
        axes.plot(ends, [place, place], color="black", lw=2.2)
        if np.isfinite(middle):
            axes.plot(middle, place, "D", color="black", ms=5, mfc="white")
    n_missing = int(np.isnan(values).sum())
    if n_missing:
        what = "did not converge" if objective.is_time else "diverged"
        axes.annotate(
            f"{n_missing} {what}", (1.0, place), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip


def _quartiles(objective: Objective, scores: Array) -> Array:
    """The quartiles of all runs, (3,), in which a run without a value counts as the worst.

    Then the ends are values of runs. The median is that of the tables, which is infinite if exactly
    half of the losses are.
    """
    has_all = bool(np.isfinite(scores).all()) and not objective.is_time
    method: Literal["linear", "inverted_cdf"] = "linear" if has_all else "inverted_cdf"
    low, high = np.quantile(scores, [0.25, 0.75], method=method).tolist()
    middle = estimates.median(objective, scores).estimate
    return np.array([objective.as_measured(low), middle, objective.as_measured(high)])


def profiles(findings: Findings) -> Figure | None:
    """Share of runs at least as good as each value of the objective (Agarwal et al. 2021)."""
    if not _has_replicates(findings):
        return None
    objective, drawn = findings.objective, list(_lines(findings))
    figure, axes = panel()
    scores = [line.summary.group.scores(objective) for line in drawn]
    thresholds = _thresholds(np.concatenate(scores), objective)
    values = displayed(objective, thresholds)
    for line, of_group in zip(drawn, scores, strict=True):
        axes.plot(values, statistics.performance_profile(of_group, thresholds), **line.style)
    axes.set(ylim=(-0.02, 1.02), xlabel=objective.label)
    scale(axes.xaxis, objective)
    axes.set_ylabel(f"share of runs at or {'above' if objective.is_maximized else 'below'} it")
    axes.set_title("Performance profiles")
    _add_grid_and_legend(axes, findings)
    return figure


def _thresholds(scores: Array, objective: Objective) -> Array:
    """300 scores from the best to the worst, evenly spaced on the scale of the objective."""
    known = scores[np.isfinite(scores)]
    if not objective.has_log_scale:
        margin = 0.02 * float(np.ptp(known)) or 0.02
        return np.linspace(known.min() - margin, known.max() + margin, 300)
    known = known[known > 0]
    return np.geomspace(known.min() / 1.05, known.max() * 1.05, 300) if len(known) else np.ones(1)


def best_of_n(findings: Findings) -> Figure | None:
    """Expected best of n runs (Tang et al. 2020), of each group and of all runs."""
    if not _has_replicates(findings):
        return None
    figure, axes = panel()
    objective = findings.objective
    for line in _lines(findings):
        _draw_expected_best(axes, objective, line.summary.group.costs(objective), line.style)
    if len(findings.summaries) > 1:
        costs = np.concatenate([s.group.costs(objective) for s in findings.summaries])
        style = {"color": "0.45", "lw": 3.5, "alpha": 0.6, "label": "any run of the sweep"}
        _draw_expected_best(axes, objective, costs, style)
    axes.set(xscale="log", xlabel="number of runs n")
    plain_log_labels(axes.xaxis)
    scale(axes.yaxis, objective)
    axes.set_ylabel(f"expected best {objective.label} of n")
    axes.set_title("Expected best of n runs")
    _add_grid_and_legend(axes, findings)
    return figure


def _draw_expected_best(
    axes: Axes, objective: Objective, costs: Array, style: Mapping[str, Any]
) -> None:
    """Draw the expected best of up to 60 numbers of runs, evenly spaced on a log scale."""
    n_drawn = sorted({int(n) for n in np.geomspace(1, len(costs), 60).round()})
    best = displayed(objective, statistics.expected_best(costs, n_drawn))
    axes.plot(n_drawn, best, **style)


def _has_replicates(findings: Findings) -> bool:
    """Whether any group has more than one run, and any run has a value of the objective."""
    return findings.has_scores and findings.n_runs > len(findings.summaries)
