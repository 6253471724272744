"""Renders a document in GitHub's Markdown.

>>> from bpexp.render.document import Document, Paragraph, strong
>>> render(Document([Paragraph(("1 < 2 ", strong("always")))]))
'1 \\\\< 2 **always**\\n'
"""

import re
from collections.abc import Iterable, Iterator

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

_SEPARATORS = {"l": "---", "r": "---:", "p": "---"}
_MARKS = {"": "", "strong": "**", "emphasis": "*", "small": ""}
_SYNTAX = re.compile(r"[\\`*<>|$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)")
"""Characters that Markdown interprets: underscores only at the edge of a word, brackets only
where they could be a link, ampersands only where they could be an entity."""
_LINE_SYNTAX = re.compile(r"^(?:[#+=-](?=\s|[#=-]|$)|\d+(?=[.)]\s))")


def render(document: Document) -> str:
    """Render a document.

    Args:
        document: The document. Equations become code blocks, a network a Mermaid diagram.

    Returns:
        Markdown, with a line break at the end.
    """
    return "\n\n".join(_block(block) for block in document.blocks) + "\n"


def table(shown: Table) -> str:
    """Render one table.

    Args:
        shown: The table.

    Returns:
        Markdown, without a line break at the end.
    """
    rows: list[Iterable[str]] = [
        map(_inline, shown.columns), [_SEPARATORS[side] for side in shown.sides],
        *(map(_inline, row) for row in shown.rows),
    ]  # fmt: skip
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"{_inline(shown.caption)}\n\n{lines}" if shown.caption else lines


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_inline(text)}"
        case Paragraph(text):
            return _line(text)
        case BulletList(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Table():
            return table(block)
        case Image(path, caption):
            return f"![{_inline(caption)}]({path})"
        case Equations(lines):
            return _fenced("text", _aligned(lines))
        case Preformatted(text):
            return _fenced("text", text.splitlines())
        case NetworkDiagram():
            return _fenced("mermaid", ["flowchart LR", *_mermaid(block)])


def _line(text: Text) -> str:
    """Inline text at the start of a line, where markers of lists and headings are escaped, too."""
    found = _inline(text)
    return _LINE_SYNTAX.sub(
        lambda match: f"{match[0]}\\" if match[0][0].isdigit() else f"\\{match[0]}", found
    )


def _inline(text: Text) -> str:
    return " ".join("".join(map(_span, spans(text))).split())


def _span(span: Span) -> str:
    if span.style == "code":
        fence = "``" if "`" in span.text else "`"
        return fence + span.text.replace("|", "\\|") + fence
    mark = _MARKS[span.style]
    return mark + _SYNTAX.sub(r"\\\g<0>", span.text) + mark


def _fenced(language: str, lines: Iterable[str]) -> str:
    body = list(lines)
    fence = "```"
    while any(fence in line for line in body):
        fence += "`"
    return "\n".join([f"{fence}{language}", *body, fence])


def _aligned(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    pairs = list(lines)
    width = max(len(left) for left, _ in pairs)
    return (f"{left:>{width}} = {right}" for left, right in pairs)


def _mermaid(diagram: NetworkDiagram) -> Iterator[str]:
    for layer, column in enumerate(diagram.units):
        for i, (symbol, name) in enumerate(column):
            yield f'    u{layer}_{i}(("{symbol}<br/>{name}"))'
    for layer, W in enumerate(diagram.weights):
        for i, row in enumerate(W):
            for j, (_, text) in enumerate(row):
                yield f'    u{layer}_{i} -- "{text}" --> u{layer + 1}_{j}'
