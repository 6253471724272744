"""A page on the terminal."""

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bpexp.cli.screen import Screen
from bpexp.explain.blocks import Block, Diagram, Equations, Heading, Paragraph, Table

MEASURE = 92
"""Columns of running text."""


def render(blocks: Iterable[Block]) -> str:
    """The page as plain text, its tables unfolded."""
    out = io.StringIO()
    write(blocks, Screen(file=out, width=10_000, no_color=True))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def write(blocks: Iterable[Block], out: Console) -> None:
    """Print the page; colours where the console has them."""
    for block in blocks:
        match block:
            case Heading(level, text):
                if level == 2:
                    out.print()
                out.print(Text(text, style="bold" if level > 1 else "bold reverse"))
                if level == 1:
                    out.print()
            case Paragraph(text):
                out.print(Text(text), width=min(out.width, MEASURE))
                out.print()
            case Equations(lines):
                out.print(_equations(lines))
                out.print()
            case Table(columns, rows):
                out.print(_table(columns, rows))
                out.print()
            case Diagram():
                # The table of layers above it says the same in text.
                pass


def _equations(lines: Iterable[tuple[str, str]]) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True, style="cyan")
    grid.add_column()
    grid.add_column(overflow="fold")
    for left, right in lines:
        grid.add_row(Text(f"  {left}"), "=", Text(right))
    return grid


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=True, show_edge=False)
    listed = [list(row) for row in rows]
    for place, column in enumerate(columns):
        numeric = place > 0 and all(is_number(row[place]) for row in listed)
        grid.add_column(
            Text(column), justify="right" if numeric else "left", style=None if place else "cyan"
        )
    for row in listed:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def is_number(cell: str) -> bool:
    """Whether a cell belongs to a column of numbers."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
