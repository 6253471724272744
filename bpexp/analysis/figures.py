"""The report's figures as matplotlib objects.

Groups have the colours of Okabe and Ito (2008) and, beside them, their own dashes; maps use
viridis: both are told apart by colour-blind people and in grey.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.analysis import statistics
from bpexp.analysis.curves import Band
from bpexp.analysis.findings import Findings, Summary
from bpexp.analysis.groups import MEASURES, Measure
from bpexp.analysis.surface import Surface
from bpexp.analysis.words import number
from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)),
                           (0, (3, 1)), (0, (8, 2)), (0, (1, 2)))  # fmt: skip
LINES = len(COLOURS)
"""So many groups can be told apart as lines."""
STRIPS = 24
"""So many groups have a line of points each in one figure."""
POINTS = 500
"""So many runs of a group are drawn as points; of more, that many at random."""
NAME, LEVEL = 36, 16
"""So many characters of a group's name, and of a setting's value, have room beside the axes."""
PAIRS = 6
"""So many pairs of settings have a map."""


def shown(findings: Findings) -> list[Summary]:
    """The groups drawn as lines: all of few; of many the best ones and the worst."""
    ranked = list(findings.summaries)
    return ranked if len(ranked) <= LINES else [*ranked[: LINES - 1], ranked[-1]]


def draw(
    findings: Findings, bands: Sequence[Band], surfaces: Sequence[Surface]
) -> "dict[str, Figure]":
    """All figures that these findings have something to show in, by name.

    ``bands`` belong to the groups of ``shown``, in that order.
    """
    made: dict[str, Figure] = {"loss_curves": loss_curves(findings, bands)}
    if any(summary.outcomes.get("converged") for summary in findings.summaries):
        made["convergence"] = convergence(findings)
    if not findings.has_scores:
        # Nothing but diverged runs: there is no figure of what they reached.
        return made
    made["distribution"] = distribution(findings)
    if findings.runs > len(findings.summaries):
        made["profiles"] = profiles(findings)
        made["best_of_n"] = best_of_n(findings)
    if len(findings.grouped.varying) >= 2:
        made["heat_maps"] = heat_maps(findings)
    if len(findings.grouped.varying) >= 3:
        made["parallel"] = parallel(findings)
    if surfaces:
        made["surfaces"] = decision_surfaces(surfaces)
    return made


def shortened(texts: Sequence[str], most: int) -> dict[str, str]:
    """Different texts as different ones of at most ``most`` characters, without their middle.

    Those that are shortened begin with their number, for a group that of its rank.
    """

    def short(number: int, text: str) -> str:
        if len(text) <= most:
            return text
        room = most - len(f"#{number} …")
        return f"#{number} {text[: room - room // 2]}…{text[-(room // 2) :]}"

    return {text: short(number, text) for number, text in enumerate(texts, start=1)}


def _names(findings: Findings) -> dict[str, str]:
    return shortened([summary.group.name for summary in findings.summaries], NAME)


def loss_curves(findings: Findings, bands: Sequence[Band]) -> "Figure":
    """Median and 5-95% band of the loss by epoch, both axes logarithmic."""
    figure, axes = _panel()
    names = _names(findings)
    alpha = 0.15 if len(bands) <= 3 else 0.09
    # A loss on its way to infinity would leave the others no room: it leaves the frame.
    first = [float(band.high[0]) for band in bands if np.isfinite(band.high[0])]
    ceiling = 30.0 * max(first, default=1.0)
    reached = [0.0]
    for place, (summary, band) in enumerate(zip(shown(findings), bands, strict=True)):
        low, median, high = (
            np.where(v > 0, np.minimum(v, 10.0 * ceiling), np.nan)
            for v in (band.low, band.median, band.high)
        )
        axes.fill_between(band.epochs, low, high, color=COLOURS[place], alpha=alpha, lw=0)
        axes.plot(band.epochs, median, **_line(place), label=names[summary.group.name])
        reached.append(float(np.nanmax(high, initial=0.0)))
    axes.set(xscale="log", yscale="log", xlabel="epoch", ylabel="loss per sample")
    if max(reached) > ceiling:
        axes.set_ylim(top=ceiling)
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    axes.set_title("Loss by epoch: median run and 5-95% band")
    _finish(axes, findings)
    return figure


def convergence(findings: Findings) -> "Figure":
    """Share of runs converged by each epoch, with Greenwood's 95% interval."""
    figure, axes = _panel()
    names = _names(findings)
    for place, summary in enumerate(shown(findings)):
        curve = summary.convergence
        # The curve starts at (0, 0), which a log axis has not got.
        x = np.append(np.maximum(curve.epochs, 0.8), summary.group.max_epochs)
        y, low, high = (np.append(part, part[-1]) for part in (curve.share, curve.low, curve.high))
        axes.fill_between(x, low, high, step="post", color=COLOURS[place], alpha=0.12, lw=0)
        axes.step(x, y, where="post", **_line(place), label=names[summary.group.name])
    first = min(e for s in findings.summaries for e in s.convergence.epochs[1:])
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="epoch", ylabel="share of runs converged")
    axes.set_xlim(left=max(0.8, 0.7 * float(first)))
    _plain(axes.xaxis)
    axes.set_title("Converged by epoch (Kaplan-Meier, 95% interval)")
    _finish(axes, findings)
    return figure


def distribution(findings: Findings) -> "Figure":
    """Each run's final loss, a line of points a group, with median and middle half."""
    measure = MEASURES["final_loss"]
    ranked = list(findings.summaries)
    rows = ranked if len(ranked) <= STRIPS else [*ranked[: STRIPS - 1], ranked[-1]]
    figure, axes = _panel(height=1.6 + 0.34 * max(2, len(rows)))
    rng = np.random.default_rng(findings.seed)
    for place, summary in enumerate(rows):
        values = measure.values(summary.group)
        finite = values[np.isfinite(values) & (values > 0)]
        if len(finite):
            points = finite if len(finite) <= POINTS else rng.choice(finite, POINTS, replace=False)
            jitter = rng.uniform(-0.22, 0.22, len(points)) if len(points) > 1 else 0.0
            axes.scatter(points, place + jitter, s=9, color=COLOURS[0], alpha=0.45, lw=0)
            quartiles = np.quantile(finite, [0.25, 0.5, 0.75])
            axes.plot(quartiles[[0, 2]], [place, place], color="black", lw=2.2)
            axes.plot(quartiles[1], place, "D", color="black", ms=5, mfc="white")
        lost = int(np.isnan(values).sum())
        if lost:
            axes.annotate(
                f"{lost} diverged", (1.0, place), xycoords=("axes fraction", "data"),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
    names = _names(findings)
    axes.set_yticks(range(len(rows)), [names[s.group.name] for s in rows], fontsize=8)
    axes.set(xscale="log", xlabel="final loss per sample", ylim=(len(rows) - 0.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)
    _plain(axes.xaxis)
    axes.set_title("Final losses: each run, median and middle half")
    axes.grid(axis="x", alpha=0.25)
    if len(rows) < len(ranked):
        axes.set_ylabel(f"the {STRIPS - 1} best of {len(ranked)} groups, and the worst")
    return figure


def profiles(findings: Findings) -> "Figure":
    """Share of runs at or below each final loss (Agarwal et al. 2021)."""
    measure = MEASURES["final_loss"]
    figure, axes = _panel()
    names = _names(findings)
    scores = [measure.scores(summary.group) for summary in shown(findings)]
    known = np.concatenate([s[np.isfinite(s) & (s > 0)] for s in scores])
    thresholds = np.geomspace(known.min() / 1.05, known.max() * 1.05, 300) if len(known) else [1.0]
    for place, (summary, part) in enumerate(zip(shown(findings), scores, strict=True)):
        share = statistics.performance_profile(part, np.asarray(thresholds))
        axes.plot(thresholds, share, **_line(place), label=names[summary.group.name])
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="final loss per sample")
    _plain(axes.xaxis)
    axes.set_ylabel("share of runs at or below it")
    axes.set_title("Performance profiles")
    _finish(axes, findings)
    return figure


def best_of_n(findings: Findings) -> "Figure":
    """Expected best of n runs (Dodge et al. 2019), of each group and of all runs."""
    figure, axes = _panel()
    measure = findings.measure
    names = _names(findings)
    parts = [(names[s.group.name], measure.costs(s.group)) for s in shown(findings)]
    for place, (name, costs) in enumerate(parts):
        budgets = _budgets(len(costs))
        best = _as_measured(measure, statistics.expected_best(costs, budgets))
        axes.plot(budgets, best, **_line(place), label=name)
    if len(findings.summaries) > 1:
        costs = np.concatenate([measure.costs(s.group) for s in findings.summaries])
        budgets = _budgets(len(costs))
        best = _as_measured(measure, statistics.expected_best(costs, budgets))
        axes.plot(budgets, best, color="0.45", lw=3.5, alpha=0.6, label="any run of the sweep")
    logarithmic = "log" if _is_positive(measure) else "linear"
    axes.set(xscale="log", yscale=logarithmic, xlabel="number of runs n")
    _plain(axes.xaxis)
    if logarithmic == "log":
        _plain(axes.yaxis)
    axes.set_ylabel(f"expected best {measure.title} of n")
    axes.set_title("Expected best of n runs")
    _finish(axes, findings)
    return figure


def _budgets(runs: int) -> list[int]:
    return sorted({int(n) for n in np.geomspace(1, runs, 60).round()})


def _as_measured(measure: Measure, scores: Array) -> Array:
    finite = np.where(np.isfinite(scores), scores, np.nan)
    return finite if _is_positive(measure) else -finite


def _is_positive(measure: Measure) -> bool:
    """Losses and epochs; accuracies are shares, whose scores are negative."""
    return "accuracy" not in measure.key


def heat_maps(findings: Findings) -> "Figure":
    """Median of the measure for each pair of settings, over all that else varies."""
    from matplotlib.figure import Figure

    keys = list(findings.grouped.varying)
    pairs = list(itertools.combinations(keys, 2))[:PAIRS]
    columns = len(pairs) if len(pairs) <= 2 else 3
    lines = -(-len(pairs) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 3.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (y, x) in zip(panels, pairs, strict=False):
        _heat_map(figure, axes, findings, y, x)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    return figure


def _heat_map(figure: "Figure", axes: "Axes", findings: Findings, y: str, x: str) -> None:
    from matplotlib.colors import LogNorm

    measure, varying = findings.measure, findings.grouped.varying
    ys, xs = varying[y], varying[x]
    cells: dict[tuple[int, int], list[Array]] = {}
    for summary in findings.summaries:
        settings = summary.group.settings
        cell = ys.index(settings[y]), xs.index(settings[x])
        cells.setdefault(cell, []).append(measure.scores(summary.group))
    medians = np.full((len(ys), len(xs)), np.nan)
    for cell, scores in cells.items():
        medians[cell] = np.median(np.concatenate(scores))
    values = _as_measured(measure, medians)
    image = axes.imshow(
        values, aspect="auto", cmap="viridis", norm=_norm(values, measure), origin="lower",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("0.85")
    if medians.size <= 64:
        for row, column in cells:
            _write(axes, image, row, column, values[row, column])
    for axis, levels in ((axes.yaxis, ys), (axes.xaxis, xs)):
        step = -(-len(levels) // 12)
        ticks = [*shortened(levels, LEVEL).values()][::step]
        axis.set_ticks(range(0, len(levels), step), ticks, fontsize=8)
    axes.set(ylabel=y, xlabel=x, title=f"Median {measure.title}")
    bar = figure.colorbar(image, ax=axes)
    if isinstance(image.norm, LogNorm):
        _plain(bar.ax.yaxis)


def _write(axes: "Axes", image: Any, row: int, column: int, value: float) -> None:
    """The value in its cell, in black or white, whichever stands out."""
    known = bool(np.isfinite(value))
    red, green, blue = image.cmap(image.norm(value))[:3] if known else (1.0, 1.0, 1.0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
    text = number(value) if known else "not\nreached"
    axes.text(column, row, text, ha="center", va="center", fontsize=8,
              color="black" if light else "white")  # fmt: skip


def _norm(values: Array, measure: Measure) -> Any:
    from matplotlib.colors import LogNorm

    known = values[np.isfinite(values) & (values > 0)]
    spread = known.size and known.min() < known.max() and _is_positive(measure)
    return LogNorm(known.min(), known.max()) if spread else None


def parallel(findings: Findings) -> "Figure":
    """One line a group through all settings that vary, coloured by the measure."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm, Normalize

    varying, measure = findings.grouped.varying, findings.measure
    keys = list(varying)
    figure, axes = _panel(width=max(7.5, 1.7 * len(keys) + 2.0))
    medians = [float(np.median(measure.scores(s.group))) for s in findings.summaries]
    values = _as_measured(measure, np.array(medians))
    norm = _norm(values, measure) or Normalize(np.nanmin(values), np.nanmax(values))
    rng = np.random.default_rng(findings.seed)
    known = np.isfinite(values)
    heights = np.array(
        [[_height(varying[key], s.group.settings[key]) for key in keys] for s in findings.summaries]
    )
    # Lines through the same levels are moved apart a little; the best lie on top.
    heights += rng.uniform(-0.02, 0.02, (len(heights), 1))
    lines = np.stack([np.broadcast_to(np.arange(len(keys)), heights.shape), heights], axis=-1)
    colours = np.where(known[:, None], colormaps["viridis"](norm(values)), (0.75, 0.75, 0.75, 1.0))
    fine = {"lw": 1.6, "alpha": 0.85} if len(lines) <= 200 else {"lw": 0.5, "alpha": 0.5}
    axes.add_collection(LineCollection(list(lines[::-1]), colors=list(colours[::-1]), **fine))
    axes.set(xlim=(-0.1, len(keys) - 0.7), ylim=(-0.06, 1.06))
    for place, key in enumerate(keys):
        axes.axvline(place, color="0.3", lw=0.8)
        step = -(-len(varying[key]) // 12)
        ticks = shortened(varying[key], LEVEL)
        for level in varying[key][::step]:
            axes.annotate(
                ticks[level], (place, _height(varying[key], level)), xytext=(4, 4),
                textcoords="offset points", fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
            )  # fmt: skip
    axes.set_xticks(range(len(keys)), keys)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(f"Settings of each group, coloured by its median {measure.title}")
    bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label=measure.title)
    if isinstance(norm, LogNorm):
        _plain(bar.ax.yaxis)
    return figure


def _height(levels: Sequence[str], level: str) -> float:
    return levels.index(level) / max(1, len(levels) - 1)


def decision_surfaces(surfaces: Sequence[Surface]) -> "Figure":
    """Output over the two inputs, with the training rows; the line is the middle value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * len(surfaces) + 0.8, 3.7), layout="constrained")
    panels = figure.subplots(1, len(surfaces), squeeze=False)[0]
    for axes, surface in zip(panels, surfaces, strict=True):
        data, single = surface.dataset, surface.dataset.Y.shape[1] == 1
        target = data.Y[:, 0] if single else data.Y.argmax(axis=1)
        low, high = float(target.min()), float(target.max())
        image = axes.pcolormesh(
            surface.x, surface.y, surface.Z, cmap="cividis", vmin=low, vmax=high, rasterized=True
        )
        middle = (low + high) / 2.0
        if surface.Z.min() < middle < surface.Z.max():
            axes.contour(surface.x, surface.y, surface.Z, [middle], colors="white", linewidths=1.5)
        # Both colour and shape tell the classes apart.
        for high_side, marker in ((False, "o"), (True, "s")):
            side = (target > middle) == high_side
            axes.scatter(*data.X[side].T, marker=marker, s=72, c="black", lw=0)
            axes.scatter(*data.X[side].T, marker=marker, s=36, c=target[side], cmap="cividis",
                         vmin=low, vmax=high, edgecolors="white", linewidths=1.2)  # fmt: skip
        axes.set(title=surface.title, xlabel=data.inputs[0], ylabel=data.inputs[1])
        axes.title.set_fontsize(10)
    figure.colorbar(image, ax=list(panels), label="output" if single else "largest output")
    return figure


def _panel(width: float = 7.5, height: float = 4.4) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _line(place: int) -> Mapping[str, Any]:
    return {"color": COLOURS[place], "linestyle": DASHES[place], "lw": 1.8}


def _finish(axes: "Axes", findings: Findings) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if findings.grouped.varying:
        few = len(findings.summaries) <= LINES
        part = f"{LINES - 1} best of {len(findings.summaries)} groups,\nand the worst"
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
                    handlelength=3.2, title=None if few else part, title_fontsize=8)  # fmt: skip


def _plain(axis: "Axis") -> None:
    """Label a log axis with numbers as a person writes them, 0.02 and not 2 x 10^-2.

    Between the powers of ten only where there is room, the fewer the more powers there are.
    """
    from matplotlib.ticker import LogFormatterSciNotation

    power = LogFormatterSciNotation()
    power.set_axis(axis)

    def major(value: float, place: float) -> str:
        return f"{value:.6g}" if 1e-4 <= value < 1e6 else str(power(value))

    def minor(value: float, place: float) -> str:
        low, high = sorted(axis.get_view_interval())
        decades = np.log10(high / low)
        leading = f"{value:e}"[0]
        between = "" if decades > 2.2 else "25" if decades > 1.0 else "2346"
        return major(value, place) if decades < 0.35 or leading in between else ""

    axis.set_major_formatter(major)
    axis.set_minor_formatter(minor)
