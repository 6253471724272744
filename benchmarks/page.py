"""The results as a Markdown page, and the plot that the README shows."""

import math
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
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
    "sweep": "Tracked sweeps",
    "search": "Searches",
    "training": "Training without tracking",
    "minibatch": "Training with mini-batches",
    "loading": "Loading large tables",
    "medium": "Tracked runs of medium size",
    "c_program": "Training compared with a C program",
    "growth": "Time and memory by number of runs",
    "reading": "Commands that read sweeps, by number of runs",
    "latency": "Latency of commands",
}
"""Titles of the parts of the page."""

WITHOUT_RATIOS = ("growth", "reading", "latency")
"""Parts whose rows are not compared with each other."""

BAR_PARTS = ("sweep", "training", "minibatch", "c_program", "latency")
OURS, OTHERS = "#2a78b5", "#b8bec6"

INTRODUCTION = (
    "`python -m benchmarks` measures and writes this page. The candidates of a table are measured "
    "in turn; each number is the median over the rounds, with the smallest and the largest value. "
    "The column *relative to* has the median ratio within a round, with the smallest and the "
    "largest ratio."
)


class Part(NamedTuple):
    """The results of one part, and when and where they were measured."""

    environment: str
    tables: Sequence[Table]


def load(results: Mapping[str, Any]) -> dict[str, Part]:
    """Convert the content of benchmarks.json."""
    return {
        part: Part(found["environment"], [Table.from_plain(table) for table in found["tables"]])
        for part, found in results.items()
    }


def machine() -> str:
    """The processor, and the versions of Python and the compared packages."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    processor = found[1] if found else platform.processor()
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    return f"{processor}, Python {platform.python_version()}, {', '.join(versions)}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def markdown(parts: Mapping[str, Part]) -> str:
    """The page.

    Args:
        parts: The measured parts.

    Returns:
        Markdown.
    """
    rows = list(targets.rows({name: part.tables for name, part in parts.items()}))
    goals = MarkdownTable(["target", "goal", "measured", "result"], rows, "lrrl")
    lines = ["# Benchmarks", "", INTRODUCTION, "", "![Time per run](benchmarks.png)", "",
             "## Targets", "", markdown_table(goals)]  # fmt: skip
    for name, title in PARTS.items():
        if name in parts:
            lines += ["", f"## {title}", "", parts[name].environment]
            for table in parts[name].tables:
                lines += ["", *_table(table, with_ratios=name not in WITHOUT_RATIOS)]
    return "\n".join([*lines, ""])


def _table(table: Table, with_ratios: bool) -> list[str]:
    first = table.rows[0]
    columns = ["", table.unit, "range", *([f"relative to {first.name}"] if with_ratios else [])]
    rows = []
    for row in table.rows:
        if row.missing:
            cells = [row.name, f"missing: {row.missing}", ""]
        else:
            spread = f"{_number(min(row.costs))} to {_number(max(row.costs))}"
            cells = [row.name, _number(row.median), spread]
        if with_ratios:
            cells.append(_ratios(row, first))
        rows.append(cells)
    alignment = "l" + "r" * (len(columns) - 1)
    text = markdown_table(MarkdownTable(columns, rows, alignment))
    return [f"### {table.title}", "", table.note, "", text]


def _ratios(row: Row, first: Row) -> str:
    if row.missing or first.missing or row is first:
        return ""
    ratios = row.ratios(first)
    return f"{_number(statistics.median(ratios))} ({_number(min(ratios))}..{_number(max(ratios))})"


def _number(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(parts: Mapping[str, Part]) -> Figure:
    """Bar charts of the comparisons and a curve of the time per run by the number of runs."""
    compared = [table for name in BAR_PARTS if name in parts for table in parts[name].tables]
    growth = list(parts["growth"].tables) if "growth" in parts else []
    rows = max(1, math.ceil((len(compared) + len(growth)) / 2))
    figure = Figure(figsize=(12, 2.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axes, table in zip(panels, compared, strict=False):
        _draw_bars(axes, table)
    for axes, table in zip(panels[len(compared) :], growth, strict=False):
        _draw_growth(axes, table)
    for axes in panels[len(compared) + len(growth) :]:
        axes.set_axis_off()
    return figure


def _draw_bars(axes: Axes, table: Table) -> None:
    rows = [row for row in reversed(table.rows) if not row.missing]
    is_ours = [row.name.startswith("bpexp") for row in rows]
    # In a table without other tools, all bars are bpexp's.
    colors = [OURS if ours or not any(is_ours) else OTHERS for ours in is_ours]
    medians = [row.median for row in rows]
    bars = axes.barh([row.name for row in rows], medians, color=colors)
    axes.bar_label(bars, [_number(median) for median in medians], padding=3, fontsize=8)
    smallest, largest = min(medians), max(medians)
    if largest > 10 * smallest:
        axes.set(xscale="log", xlim=(smallest / 3, largest * 5))
        axes.set(xlabel=f"{table.unit} (logarithmic scale)")
    else:
        axes.set(xlim=(0, largest * 1.2), xlabel=table.unit)
    # The bars are labeled with their values, so ticks are not needed.
    axes.set(xticks=[])
    axes.set_xticks([], minor=True)
    axes.set_title(table.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_growth(axes: Axes, table: Table) -> None:
    runs = [int(row.name.split()[0].replace(",", "")) for row in table.rows]
    axes.plot(runs, [row.median for row in table.rows], "o-", color=OURS)
    axes.set(xscale="log", yscale="log", xlabel="number of runs", ylabel=table.unit)
    axes.set_title(table.title, fontsize=9)
    ticks = [0.5, 1, 2, 5, 10, 20, 50]
    axes.set(yticks=ticks, yticklabels=[f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(alpha=0.25)
