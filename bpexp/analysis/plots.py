"""The plots of the report, one ``Plot`` record each in ``PLOTS``.

To add a plot, write a function from ``PlotData`` to a matplotlib figure and register a record;
pages, files and the Python API show what is in the table:

>>> list(PLOTS)[:3]
['history', 'slices', 'contours']
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpexp.analysis import estimates, search_plots, statistics
from bpexp.analysis.curves import MAX_RUNS as MAX_BAND_RUNS
from bpexp.analysis.curves import Band
from bpexp.analysis.effects import Effect
from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.groups import Group
from bpexp.analysis.halving import Halving
from bpexp.analysis.lr_range import LrRange
from bpexp.analysis.setting_plots import (
    displayed,
    effect_note,
    effect_plots,
    heat_map_note,
    heat_maps,
    is_positive,
    parallel_coordinates,
)
from bpexp.analysis.surface import Surface, SurfaceGrid
from bpexp.analysis.surface_plots import decision_surfaces, grid_note, grid_of_surfaces
from bpexp.fields import Registry
from bpexp.render.axes import (
    COLORS,
    MAX_LINES,
    light_grid,
    line_style,
    log_scale,
    panel,
    plain_log_labels,
    shortened,
)
from bpexp.runs.objective import Objective
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.summary_plot import race_figure
from bpexp.typing import Array

MAX_STRIPS = 24
"""Maximum number of groups in the plot of the distribution."""
MAX_POINTS = 500
"""Maximum number of runs of a group that are drawn as points; of more, a random sample."""
NAME_LENGTH = 36
"""Maximum number of characters on a line of a group's name in a plot."""


@dataclass(frozen=True, eq=False)
class PlotData:
    """What plots are drawn from.

    Attributes:
        findings: The groups, ranked and compared.
        effects: How each setting that varies matters.
        bands: Loss bands of the groups of ``line_groups(findings)``, in that order.
        validation_bands: Those of the validation loss; None without validation rows.
        surfaces: Decision surfaces of selected runs; empty for data without two inputs.
        trials: Of a search, the groups in the order of its trials; otherwise empty.
        halving: The combinations that were judged at rungs; None if none were.
        surface_grid: Decision surfaces over two settings; None for other data and settings.
        lr_range: The learning rates of ``search=lr_range``; None for another sweep.
        race: How the combinations of a race came out; None for another sweep.
    """

    findings: Findings
    effects: Sequence[Effect]
    bands: Sequence[Band]
    validation_bands: Sequence[Band | None]
    surfaces: Sequence[Surface]
    trials: Sequence[Summary] = ()
    halving: Halving | None = None
    surface_grid: SurfaceGrid | None = None
    lr_range: LrRange | None = None
    race: RaceResult | None = None


def _no_note(data: PlotData) -> str | None:
    return None


@dataclass(frozen=True)
class Plot:
    """One plot of the report.

    Attributes:
        name: Name of its files.
        caption: What it shows, for the report.
        draw: Draws it; None where the data have nothing to show in this plot.
        note: A remark on what the plot leaves out, or None.
    """

    name: str
    caption: str
    draw: Callable[[PlotData], Figure | None]
    note: Callable[[PlotData], str | None] = _no_note


def draw(data: PlotData) -> Iterator[tuple[str, Figure]]:
    """Draw the plots that have something to show; yields the name and the figure of each."""
    for plot in PLOTS.values():
        figure = plot.draw(data)
        if figure is not None:
            yield plot.name, figure


def notes(data: PlotData) -> list[str]:
    """The remarks of all plots."""
    return [note for plot in PLOTS.values() if (note := plot.note(data)) is not None]


def line_groups(findings: Findings) -> list[Summary]:
    """The groups drawn as lines: all if they are few, otherwise the best ones and the worst."""
    return _best_and_worst(findings, MAX_LINES)


def _best_and_worst(findings: Findings, limit: int) -> list[Summary]:
    """All groups if they are at most ``limit``, otherwise the best ones and the worst."""
    ranked = list(findings.summaries)
    return ranked if len(findings.summaries) <= limit else [*ranked[: limit - 1], ranked[-1]]


def _tick_labels(findings: Findings) -> dict[str, str]:
    """Names of the groups on one line, by what varies between those with a row of their own."""
    drawn, names = _named(findings, MAX_STRIPS)
    texts = [
        " ".join(f"{name}={group.settings[key]}" for key, name in names.items()) or group.name
        for group in drawn
    ]
    places = [place for place, _ in enumerate(drawn, start=1)]
    # Behind the best groups stands the worst of all.
    places[-1] = len(findings.summaries)
    short = shortened(texts, NAME_LENGTH, places)
    return {group.name: short[text] for group, text in zip(drawn, texts, strict=True)}


def _legend_labels(findings: Findings) -> dict[str, str]:
    """Names of the groups by what varies between those drawn as lines, on one or more lines."""
    drawn, names = _named(findings, MAX_LINES)
    if not names:
        return {group.name: shortened([group.name], NAME_LENGTH)[group.name] for group in drawn}
    parts = {
        key: shortened(
            [*dict.fromkeys(f"{name}={group.settings[key]}" for group in drawn)], NAME_LENGTH
        )
        for key, name in names.items()
    }
    return {
        group.name: textwrap.fill(
            " ".join(parts[key][f"{name}={group.settings[key]}"] for key, name in names.items()),
            NAME_LENGTH,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for group in drawn
    }


def _named(findings: Findings, limit: int) -> tuple[list[Group], dict[str, str]]:
    """The groups that are drawn, and short names of the settings that vary between them."""
    drawn = [summary.group for summary in _best_and_worst(findings, limit)]
    varying = findings.grouped.varying
    keys = [key for key in varying if len({group.settings[key] for group in drawn}) > 1]
    return drawn, _short_keys(keys)


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key where it is unique; ``optimizer`` for ``optimizer.name``."""
    ends = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def _loss_curves(data: PlotData) -> Figure:
    """Median and 5-95% band of the training and the validation loss by epoch, axes logarithmic."""
    findings = data.findings
    if not any(data.validation_bands):
        figure, axes = panel()
        _draw_bands(axes, findings, data.bands)
        axes.set_title("Loss by epoch: median run and 5-95% band")
        _finish(axes, findings)
        return figure
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    training, validation = figure.subplots(1, 2, sharex=True, sharey=True)
    _draw_bands(training, findings, data.bands)
    _draw_bands(validation, findings, data.validation_bands)
    training.set_title("Training loss: median run and 5-95% band")
    validation.set_title("Validation loss")
    validation.set_ylabel("")
    for axes in (training, validation):
        axes.tick_params(labelleft=True)
    light_grid(training)
    _finish(validation, findings)
    return figure


def _draw_bands(axes: Axes, findings: Findings, bands: Sequence[Band | None]) -> None:
    """Draw the median and the band of the loss of each group in ``line_groups``, log-log."""
    labels = _legend_labels(findings)
    known = [band for band in bands if band is not None]
    alpha = 0.15 if len(known) <= 3 else 0.09
    # Limit the y axis, so that a diverging loss does not compress the other curves.
    first = [float(band.high[0]) for band in known if np.isfinite(band.high[0])]
    ceiling = 30.0 * max(first, default=1.0)
    reached = [0.0]
    for place, (summary, band) in enumerate(zip(line_groups(findings), bands, strict=True)):
        if band is None:
            continue
        low, median, high = (
            np.where(v > 0, np.minimum(v, 10.0 * ceiling), np.nan)
            for v in (band.low, band.median, band.high)
        )
        axes.fill_between(band.epochs, low, high, color=COLORS[place], alpha=alpha, lw=0)
        axes.plot(band.epochs, median, **line_style(place), label=labels[summary.group.name])
        reached.append(float(np.nanmax(high, initial=0.0)))
    axes.set(xscale="log", yscale="log", xlabel="epoch", ylabel="loss per sample")
    if max(reached) > ceiling:
        axes.set_ylim(top=ceiling)
    plain_log_labels(axes.xaxis)
    plain_log_labels(axes.yaxis)


def _convergence(data: PlotData) -> Figure | None:
    """Share of runs converged by each epoch, with its exact 95% interval."""
    findings = data.findings
    if not any(summary.outcomes.get("converged") for summary in findings.summaries):
        return None
    figure, axes = panel()
    labels = _legend_labels(findings)
    for place, summary in enumerate(line_groups(findings)):
        curve = summary.convergence
        # The curve starts at epoch 0, which a log axis cannot show.
        x = np.append(np.maximum(curve.epochs, 0.8), summary.group.max_epochs)
        y, low, high = (np.append(part, part[-1]) for part in (curve.share, curve.low, curve.high))
        axes.fill_between(x, low, high, step="post", color=COLORS[place], alpha=0.12, lw=0)
        axes.step(x, y, where="post", **line_style(place), label=labels[summary.group.name])
    first = min(e for s in findings.summaries for e in s.convergence.epochs[1:])
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="epoch", ylabel="share of runs converged")
    axes.set_xlim(left=max(0.8, 0.7 * float(first)))
    plain_log_labels(axes.xaxis)
    axes.set_title("Converged by epoch, 95% interval")
    _finish(axes, findings)
    return figure


def _distribution(data: PlotData) -> Figure | None:
    """The measure of each run, a row of points per group, with median and quartiles."""
    findings = data.findings
    if not findings.has_scores:
        return None
    measure = findings.measure
    is_logarithmic = is_positive(measure)
    rows = _best_and_worst(findings, MAX_STRIPS)
    figure, axes = panel(height=1.6 + 0.34 * max(2, len(rows)))
    rng = np.random.default_rng(findings.seed)
    for place, summary in enumerate(rows):
        values = displayed(measure, summary.group.scores(measure))
        finite = values[np.isfinite(values) & ((values > 0) | (not is_logarithmic))]
        if len(finite):
            points = finite
            if len(finite) > MAX_POINTS:
                points = rng.choice(finite, MAX_POINTS, replace=False)
            jitter = rng.uniform(-0.22, 0.22, len(points)) if len(points) > 1 else 0.0
            axes.scatter(points, place + jitter, s=9, color=COLORS[0], alpha=0.45, lw=0)
            low, middle, high = _quartiles(measure, summary.group.scores(measure))
            # Where more than a quarter of the runs have no value, the bar ends at the last one.
            ends = np.clip([low, high], finite.min(), finite.max())
            axes.plot(ends, [place, place], color="black", lw=2.2)
            if np.isfinite(middle):
                axes.plot(middle, place, "D", color="black", ms=5, mfc="white")
        n_missing = int(np.isnan(values).sum())
        if n_missing:
            what = "did not converge" if measure.is_time else "diverged"
            axes.annotate(
                f"{n_missing} {what}", (1.0, place), xycoords=("axes fraction", "data"),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
    labels = _tick_labels(findings)
    axes.set_yticks(range(len(rows)), [labels[s.group.name] for s in rows], fontsize=8)
    axes.set(xlabel=measure.label, ylim=(len(rows) - 0.5, -0.5))
    _scale_x(axes, measure)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{measure.title}: each run, median and middle half")
    axes.grid(axis="x", alpha=0.25)
    n_groups = len(findings.summaries)
    if len(rows) < n_groups:
        axes.set_ylabel(f"the {MAX_STRIPS - 1} best of {n_groups} groups, and the worst")
    return figure


def _quartiles(measure: Objective, scores: Array) -> Array:
    """The quartiles of all runs, (3,), in which a run without a value counts as the worst.

    Then the ends are values of runs. The median is that of the tables, which is infinite if exactly
    half of the losses are.
    """
    has_all = bool(np.isfinite(scores).all()) and not measure.is_time
    method: Literal["linear", "inverted_cdf"] = "linear" if has_all else "inverted_cdf"
    low, high = np.quantile(scores, [0.25, 0.75], method=method).tolist()
    middle = estimates.median(measure, scores).estimate
    return np.array([measure.as_measured(low), middle, measure.as_measured(high)])


def _profiles(data: PlotData) -> Figure | None:
    """Share of runs at least as good as each value of the measure (Agarwal et al. 2021)."""
    findings = data.findings
    if not _has_replicates(findings):
        return None
    measure = findings.measure
    figure, axes = panel()
    labels = _legend_labels(findings)
    scores = [summary.group.scores(measure) for summary in line_groups(findings)]
    thresholds = _thresholds(np.concatenate(scores), measure)
    for place, (summary, part) in enumerate(zip(line_groups(findings), scores, strict=True)):
        share = statistics.performance_profile(part, thresholds)
        values = displayed(measure, thresholds)
        axes.plot(values, share, **line_style(place), label=labels[summary.group.name])
    axes.set(ylim=(-0.02, 1.02), xlabel=measure.label)
    _scale_x(axes, measure)
    axes.set_ylabel(f"share of runs at or {'above' if measure.is_maximized else 'below'} it")
    axes.set_title("Performance profiles")
    _finish(axes, findings)
    return figure


def _thresholds(scores: Array, measure: Objective) -> Array:
    """300 scores from the best to the worst, evenly spaced on the scale of the measure."""
    known = scores[np.isfinite(scores)]
    if not is_positive(measure):
        margin = 0.02 * float(np.ptp(known)) or 0.02
        return np.linspace(known.min() - margin, known.max() + margin, 300)
    known = known[known > 0]
    return np.geomspace(known.min() / 1.05, known.max() * 1.05, 300) if len(known) else np.ones(1)


def _scale_x(axes: Axes, measure: Objective) -> None:
    """A logarithmic scale for losses and epochs, a linear one for accuracies."""
    if is_positive(measure):
        log_scale(axes.xaxis)


def _best_of_n(data: PlotData) -> Figure | None:
    """Expected best of n runs (Tang et al. 2020), of each group and of all runs."""
    findings = data.findings
    if not _has_replicates(findings):
        return None
    figure, axes = panel()
    measure = findings.measure
    labels = _legend_labels(findings)
    parts = [(labels[s.group.name], s.group.costs(measure)) for s in line_groups(findings)]
    for place, (name, costs) in enumerate(parts):
        budgets = _budgets(len(costs))
        best = displayed(measure, statistics.expected_best(costs, budgets))
        axes.plot(budgets, best, **line_style(place), label=name)
    if len(findings.summaries) > 1:
        costs = np.concatenate([s.group.costs(measure) for s in findings.summaries])
        budgets = _budgets(len(costs))
        best = displayed(measure, statistics.expected_best(costs, budgets))
        axes.plot(budgets, best, color="0.45", lw=3.5, alpha=0.6, label="any run of the sweep")
    logarithmic = "log" if is_positive(measure) else "linear"
    axes.set(xscale="log", yscale=logarithmic, xlabel="number of runs n")
    plain_log_labels(axes.xaxis)
    if logarithmic == "log":
        plain_log_labels(axes.yaxis)
    axes.set_ylabel(f"expected best {measure.label} of n")
    axes.set_title("Expected best of n runs")
    _finish(axes, findings)
    return figure


def _has_replicates(findings: Findings) -> bool:
    """Whether any group has more than one run, and any run has a value of the measure."""
    return findings.has_scores and findings.runs > len(findings.summaries)


def _budgets(runs: int) -> list[int]:
    """Up to 60 numbers of runs from 1 to ``runs``, evenly spaced on a log scale."""
    return sorted({int(n) for n in np.geomspace(1, runs, 60).round()})


def _finish(axes: Axes, findings: Findings) -> None:
    light_grid(axes)
    if findings.grouped.varying:
        few = len(findings.summaries) <= MAX_LINES
        part = f"{MAX_LINES - 1} best of {len(findings.summaries)} groups,\nand the worst"
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
                    handlelength=3.2, title=None if few else part, title_fontsize=8)  # fmt: skip


def _has_contours(data: PlotData) -> bool:
    return search_plots.replaces_heat_maps(data.findings, data.trials)


PLOTS: Registry[Plot] = Registry("plot", [
    Plot(
        "history",
        "The search: the value of each trial, over its replicates, and the best value so far. "
        "Trials that repeat an earlier one are left out.",
        lambda data: search_plots.history(data.findings, data.trials),
    ),
    Plot(
        "slices",
        "The search: the value of each trial by each setting, colored by the number of the trial. "
        "Star: the best trial.",
        lambda data: search_plots.slices(data.findings, data.trials),
    ),
    Plot(
        "contours",
        "The search: the values of the trials (points) by pairs of settings, interpolated between "
        "them. The other settings differ, too. Star: the best trial.",
        lambda data: search_plots.contours(data.findings, data.trials),
    ),
    Plot(
        "race",
        "The race: the median of each combination by the number of seeds (of epochs to converge "
        "the mean), with an interval that holds for all combinations and numbers of seeds together "
        "(95%). Cross: stopped, because it is worse than another combination "
        "beyond doubt.",
        lambda data: None if data.race is None else race_figure(data.race),
    ),
    Plot(
        "lr_range",
        "The objective by the learning rate. Green: the best rate; orange: from where on training "
        "diverges; bands: 95% intervals. Gray: share of the runs that diverge, because they do not "
        "stay finite or end with a larger loss than before training.",
        lambda data: None if data.lr_range is None else data.lr_range.figure(),
    ),
    Plot(
        "rungs",
        "The combinations of search.halving: the value of each one where it was judged, and at its "
        "end. Gray: combinations that were stopped early.",
        lambda data: None if data.halving is None else data.halving.figure(),
    ),
    Plot(
        "loss_curves",
        "Loss by epoch. Lines: the median run of each group; bands: from the 5th to the 95th "
        f"percentile (of at most {MAX_BAND_RUNS} runs a group). A run that has ended stays at its "
        "last loss; one that diverges leaves the frame. On the right the loss of the validation "
        "rows, if there are any.",
        _loss_curves,
    ),
    Plot(
        "convergence",
        "Share of runs converged by each epoch, with its 95% interval at that epoch.",
        _convergence,
    ),
    Plot(
        "distribution",
        "What the groups are compared by: a point for each run (of at most "
        f"{MAX_POINTS} a group), diamond: median, bar: middle half. Runs without a value count as "
        "the worst: the median may not exist, and the bar ends at the last value.",
        _distribution,
    ),
    Plot(
        "profiles",
        "Performance profiles: the share of runs that reach a value. The higher line is better.",
        _profiles,
    ),
    Plot("best_of_n", "Expected best of n runs drawn from those there are.", _best_of_n),
    Plot(
        "effects",
        "How each setting matters. Black: the median over the seeds, each of which counts with its "
        "median over all combinations of the other settings, with an interval that holds for all "
        "values of the setting together; of epochs to converge the mean. Gray: each "
        "combination of the other settings. Without a line: values that were not run with the same "
        "other settings; black is the best group with each value, gray all groups.",
        lambda data: None if _has_contours(data) else effect_plots(data.effects),
        note=lambda data: None if _has_contours(data) else effect_note(data.effects),
    ),
    Plot(
        "heat_maps",
        "Median (mean of epochs to converge) of all runs with a pair of settings; the best cell "
        "has a frame.",
        lambda data: None if _has_contours(data) else heat_maps(data.findings),
        note=lambda data: None if _has_contours(data) else heat_map_note(data.findings),
    ),
    Plot(
        "parallel",
        "Parallel coordinates: every group as a line through its settings.",
        lambda data: parallel_coordinates(data.findings),
    ),
    Plot(
        "surfaces",
        "Decision surface over the two inputs. Circles and squares: the rows trained on, of low "
        "and of high target; white line: half-way between.",
        lambda data: decision_surfaces(data.surfaces) if data.findings.has_scores else None,
    ),
    Plot(
        "surface_grid",
        "Decision surfaces over two settings: in each panel that of the best run with these "
        "values, and what it is ranked by. Other settings are as in the best group, whose panel "
        "has a thick frame.",
        lambda data: None if data.surface_grid is None else grid_of_surfaces(data.surface_grid),
        note=lambda data: None if data.surface_grid is None else grid_note(data.surface_grid),
    ),
])  # fmt: skip
"""All plots, in the order of the report: first what only searches and races have."""
