"""The tables as Markdown, and the plot that the README shows."""

import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import targets
from benchmarks.rounds import Row, Table
from bpexp.render.document import Table as MarkdownTable
from bpexp.render.markdown import table as markdown_table

PACKAGES = (
    "numpy", "llvmlite", "mlflow", "hydra-core", "joblib", "hydra-joblib-launcher", "hydraflow",
    "optuna", "scikit-learn", "torch", "jax",
)  # fmt: skip
PARTS = {
    "sweep": "(a) The whole sweep",
    "training": "(b) Training alone",
    "limit": "(c) The limit",
    "growth": "(d) Growth",
    "terminal": "(e) At the terminal",
}
WITHOUT_RATIOS = ("growth", "terminal")
OURS, OTHERS = "#2a78b5", "#b8bec6"
BARS = ("sweep", "training", "limit", "terminal")


def machine() -> str:
    """Processor and versions; peers that are not installed are named as missing."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    processor = found[1] if found else platform.processor()
    parts = [f"{name} {_version(name)}" for name in PACKAGES]
    return f"{processor}, Python {platform.python_version()}, {', '.join(parts)}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def markdown(parts: Mapping[str, Sequence[Table]], told: Mapping[str, str]) -> str:
    """The page; ``told`` says of each part when and where it was measured."""
    lines = ["# Benchmarks", "", "`python -m benchmarks` measures and writes this page.",
             "All contestants of a table take turns in one run; the figures are medians over the "
             "rounds, *times* is the median of the ratios within a round, in brackets the least "
             "and the most.", "", "![Cost a run, and growth](benchmarks.png)", "",
             "## Against the targets", "", *targets.lines(parts)]  # fmt: skip
    for part, title in PARTS.items():
        if part in parts:
            lines += ["", f"## {title}", "", told[part]]
            for table in parts[part]:
                lines += ["", *_table(table, ratios=part not in WITHOUT_RATIOS)]
    return "\n".join([*lines, ""])


def _table(table: Table, ratios: bool) -> list[str]:
    first = table.rows[0]
    columns = ["", table.unit, "least to most", *([f"times {first.name}"] if ratios else [])]
    rows = []
    for row in table.rows:
        if row.missing:
            cells = [row.name, f"missing: {row.missing}", ""]
        else:
            spread = f"{_number(min(row.costs))} to {_number(max(row.costs))}"
            cells = [row.name, _number(row.median), spread]
        if ratios:
            cells.append(_times(row, first))
        rows.append(cells)
    shown = markdown_table(MarkdownTable(columns, rows, "l" + "r" * (len(columns) - 1)))
    return [f"### {table.title}", "", table.note, "", shown]


def _times(row: Row, first: Row) -> str:
    if row.missing or first.missing or row is first:
        return ""
    times = row.times(first)
    return f"{_number(statistics.median(times))} ({_number(min(times))}..{_number(max(times))})"


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(parts: Mapping[str, Sequence[Table]]) -> Figure:
    """Bars of every comparison's costs, and the growth; on logarithmic axes."""
    tables = [table for part in BARS for table in parts.get(part, ())]
    grown = list(parts.get("growth", ()))
    rows = -(-(len(tables) + len(grown)) // 2)
    figure = Figure(figsize=(12, 2.4 * rows), layout="constrained")
    places = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axes, table in zip(places, tables, strict=False):
        shown = [row for row in reversed(table.rows) if not row.missing]
        is_ours = [row.name.startswith("bpexp") for row in shown]
        # Where there is no other to compare with, all are ours.
        colours = [OURS if mine or not any(is_ours) else OTHERS for mine in is_ours]
        bars = axes.barh([r.name for r in shown], [r.median for r in shown], color=colours)
        axes.bar_label(bars, [_number(r.median) for r in shown], padding=3, fontsize=8)
        medians = [row.median for row in shown]
        least, most = min(medians), max(medians)
        if most > 10 * least:
            axes.set(xscale="log", xlim=(least / 3, most * 5), xlabel=f"{table.unit}, logarithmic")
        else:
            axes.set(xlim=(0, most * 1.2), xlabel=table.unit)
        # The numbers stand beside the bars.
        axes.set(xticks=[])
        axes.set_xticks([], minor=True)
        axes.set_title(table.title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, table in zip(places[len(tables) :], grown, strict=False):
        runs = [int(row.name.split()[0].replace(",", "")) for row in table.rows]
        axes.plot(runs, [row.median for row in table.rows], "o-", color=OURS)
        axes.set(xscale="log", yscale="log", xlabel="runs", ylabel=table.unit)
        axes.set_title(table.title, fontsize=9)
        marks = [0.5, 1, 2, 5, 10, 20, 50]
        axes.set(yticks=marks, yticklabels=[f"{mark:g}" for mark in marks])
        axes.set_yticks([], minor=True)
        axes.grid(alpha=0.25)
    for axes in places[len(tables) + len(grown) :]:
        axes.set_axis_off()
    return figure
