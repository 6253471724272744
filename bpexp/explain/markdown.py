"""A page as GitHub's Markdown."""

from collections.abc import Iterable, Iterator

from bpexp.explain.blocks import Block, Diagram, Equations, Heading, Paragraph, Table
from bpexp.explain.text import is_number


def render(blocks: Iterable[Block]) -> str:
    """The page's text; equations are code blocks, the network is a Mermaid diagram."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Equations(lines):
            return "\n".join(["```text", *_aligned(lines), "```"])
        case Table(columns, rows):
            return "\n".join(_table(columns, [list(row) for row in rows]))
        case Diagram(units, weights):
            return "\n".join(["```mermaid", "flowchart LR", *_mermaid(units, weights), "```"])


def _plain(text: str) -> str:
    """Text in which nothing is taken for markup."""
    for mark in "\\`*_[]<>|#$":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _aligned(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    listed = list(lines)
    width = max(len(left) for left, _ in listed)
    return (f"{left:>{width}} = {right}" for left, right in listed)


def _table(columns: Iterable[str], rows: list[list[str]]) -> Iterator[str]:
    names = list(columns)
    marks = [
        "---:" if place and all(is_number(row[place]) for row in rows) else "---"
        for place in range(len(names))
    ]
    for cells in (names, marks, *rows):
        yield f"| {' | '.join(cells if cells is marks else map(_plain, cells))} |"


def _mermaid(
    units: Iterable[Iterable[tuple[str, str]]],
    weights: Iterable[Iterable[Iterable[tuple[float, str]]]],
) -> Iterator[str]:
    for layer, column in enumerate(units):
        for i, (symbol, name) in enumerate(column):
            yield f'    u{layer}_{i}(("{symbol}<br/>{name}"))'
    for layer, W in enumerate(weights):
        for i, line in enumerate(W):
            for j, (_, text) in enumerate(line):
                yield f'    u{layer}_{i} -- "{text}" --> u{layer + 1}_{j}'
