"""Renders a document as text for a terminal, with colors if the terminal supports them.

>>> from bpexp.render.document import Document, Heading, Paragraph
>>> print(render(Document([Heading(1, "Title"), Paragraph("Text.")])), end="")
Title
<BLANKLINE>
Text.
<BLANKLINE>
"""

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text as RichText

from bpexp.fields.checks import escaped
from bpexp.render.document import (
    Block,
    BulletList,
    Document,
    Equations,
    Heading,
    Image,
    NetworkDiagram,
    Paragraph,
    Preformatted,
    Span,
    Table,
    Text,
    spans,
)

LINE_WIDTH = 92
"""Maximum number of columns of running text."""
_STYLES = {"": "", "strong": "bold", "emphasis": "italic", "code": "", "small": ""}


def render(document: Document) -> str:
    """Render a document as plain text without colors.

    Args:
        document: The document. Rows of tables are not wrapped; network diagrams are omitted.

    Returns:
        Lines without trailing spaces.
    """
    out = io.StringIO()
    write(document, Console(file=out, width=10_000, no_color=True))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def write(document: Document, console: Console) -> None:
    """Print a document.

    Args:
        document: The document.
        console: A rich console, whose width and colors are used.
    """
    for block in document.blocks:
        _write(block, console)


def table(shown: Table, box_style: box.Box | None = None) -> RichTable:
    """Convert a table to one that a rich console prints.

    Args:
        shown: The table.
        box_style: One of rich's boxes, for lines between header and rows; None for no lines.
    """
    grid = RichTable(
        box=box_style, pad_edge=box_style is not None, show_edge=False,
        title=_rich(shown.caption) if shown.caption else None, title_justify="left",
    )  # fmt: skip
    for number, (column, side) in enumerate(zip(shown.columns, shown.sides, strict=True)):
        justify: JustifyMethod = "right" if side == "r" else "left"
        style = "cyan" if number == 0 and box_style is not None else None
        grid.add_column(_one_line(column), justify=justify, style=style)
    for row in shown.rows:
        grid.add_row(*map(_one_line, row))
    return grid


def _write(block: Block, console: Console) -> None:
    match block:
        case Heading(level, text):
            if level == 2:
                console.print()
            style = "bold" if level > 1 else "bold reverse"
            console.print(_rich(text, style))
            if level == 1:
                console.print()
        case Paragraph(text, role):
            style = "bold" if role == "result" else ""
            console.print(_rich(text, style), width=min(console.width, LINE_WIDTH))
            console.print()
        case BulletList(items):
            for item in items:
                console.print(RichText("- ") + _rich(item), soft_wrap=True)
            console.print()
        case Table():
            console.print(table(block, box.SIMPLE_HEAD))
            console.print()
        case Image(path, caption):
            console.print(_rich(f"{path}: {caption}"), soft_wrap=True)
            console.print()
        case Equations(lines):
            console.print(_equations(lines))
            console.print()
        case Preformatted(text):
            console.print(_rich(text), soft_wrap=True)
            console.print()
        case NetworkDiagram():
            pass


def _equations(lines: Iterable[tuple[str, str]]) -> RichTable:
    grid = RichTable.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True, style="cyan")
    grid.add_column()
    grid.add_column(overflow="fold")
    for left, right in lines:
        grid.add_row(_rich(f"  {left}"), "=", _rich(right))
    return grid


def _one_line(text: Text) -> RichText:
    """A cell, in which a line break would look like another row."""
    return _rich(tuple(Span(s.text.replace("\n", " "), s.style) for s in spans(text)))


def _rich(text: Text, style: str = "") -> RichText:
    """Styled text in which control characters are shown instead of sent to the terminal."""
    out = RichText(style=style)
    for span in spans(text):
        out.append(escaped(span.text), _STYLES[span.style] or None)
    return out
