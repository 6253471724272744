"""Tables for the terminal: they drop columns that do not fit, and never cut a number or an id."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table

from bpexp.runs.metrics import METRICS
from bpexp.tracking.ids import short

if TYPE_CHECKING:
    import pandas as pd

OPTIONAL = (
    "last_epoch_loss",
    "epochs_run",
    "test_loss",
    "accuracy",
    "status",
    "test_accuracy",
    "outcome",
)
"""Columns that a narrow terminal leaves out, the first one first; then all other metrics."""
LEFT_ALIGNED = ("run_id", "name", "status", "outcome", "run", "best run")


def frame_table(out: Console, frame: "pd.DataFrame") -> Table:
    """Return a table of runs with id, name, status, outcome and final metrics.

    Args:
        out: The console, whose width limits the table.
        frame: One row per run, from ``bpexp.tracking.run_tables.frame``.
    """
    keys = ["run_id", "name", "status", "outcome"]
    shown = [key for key, metric in METRICS.items() if metric.in_tables]
    keys += [key for key in shown if key in frame and frame[key].notna().any()]
    rows = frame.to_dict("records")
    columns = {
        key: [number(row[key]) if key in METRICS else str(row[key]) for row in rows] for key in keys
    }
    columns["run_id"] = [short(run_id) for run_id in columns["run_id"]]
    return fitted(out, columns, foldable=("name",))


def fitted(
    out: Console,
    columns: Mapping[str, Sequence[str]],
    foldable: Collection[str],
    kept: Collection[str] = ("final_loss",),
) -> Table:
    """Return a table of as many columns as fit.

    Args:
        out: The console, whose width limits the table.
        columns: The cells of each column by its title.
        foldable: Titles of columns whose cells may be wrapped.
        kept: Titles of columns that are never left out.
    """
    remaining = dict(columns)
    unlimited = out.options.update(width=10_000)
    for key in ("", *OPTIONAL, *METRICS):
        if key not in kept:
            remaining.pop(key, None)
        table = Table(box=None, pad_edge=False)
        for title in remaining:
            justify: JustifyMethod = "left" if title in LEFT_ALIGNED else "right"
            table.add_column(title, justify=justify, overflow="fold", no_wrap=title not in foldable)
        for row in zip(*remaining.values(), strict=True):
            # A line break in a name would look like another row.
            table.add_row(*(cell.replace("\n", " ") for cell in row))
        if table.__rich_measure__(out, unlimited).maximum <= out.width:
            break
    return table


def number(value: float | None) -> str:
    """Return a number with six digits; nothing for None and NaN."""
    return "" if value is None or value != value else f"{value:.6g}"
