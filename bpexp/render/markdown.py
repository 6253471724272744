"""Renders a document in GitHub's Markdown.

>>> from bpexp.render.document import Document, Paragraph, strong
>>> render(Document([Paragraph(("1 < 2 ", strong("always")))]))
'1 < 2 **always**\\n'
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

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
    Style,
    Table,
    Text,
    spans,
)

_SEPARATORS = {"l": "---", "r": "---:", "p": "---"}
_MARKS = {"": "", "strong": "**", "emphasis": "*", "small": ""}
_SYNTAX = re.compile(
    r"[\\`*>|$~]|<(?=[\w/!?])|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|&(?=#?\w+;)"
)  # fmt: skip
"""Characters that Markdown interprets: underscores only at the edge of a word, brackets only
where they could be a link, `<` only where it could be a tag, ampersands only where they could be an
entity."""
_LINE_SYNTAX = re.compile(r"^(?:[#+=-](?=\s|[#=-]|$)|\d+(?=[.)](?:\s|$)))")
_LAST_NUMBER_SIGN = re.compile("#$")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
"""What is written for a character that is HTML, which not all dialects let a backslash escape."""
_MERMAID = str.maketrans({
    "#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;",
})  # fmt: skip


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
        map(_cell, shown.columns), [_SEPARATORS[side] for side in shown.sides],
        *(map(_cell, row) for row in shown.rows),
    ]  # fmt: skip
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"{_line(shown.caption)}\n\n{lines}" if shown.caption else lines


def inline(text: Text) -> str:
    """Render text on one line, in which nothing but the styles of its spans is markup."""
    return " ".join("".join(_span(span) for span in _merged(spans(text))).split())


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            # Number signs at the end would not belong to the text.
            return f"{'#' * level} {_LAST_NUMBER_SIGN.sub('&#35;', inline(text))}"
        case Paragraph(text):
            return _line(text)
        case BulletList(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Table():
            return table(block)
        case Image(path, caption):
            return f"![{inline(caption)}]({path})"
        case Equations(lines):
            return _fenced("text", map(escaped, _aligned(lines)))
        case Preformatted(text):
            return _fenced("text", escaped(text).splitlines())
        case NetworkDiagram():
            return _fenced("mermaid", ["flowchart LR", *_mermaid(block)])


def _line(text: Text) -> str:
    """Inline text at the start of a line, where markers of lists and headings are escaped, too."""
    found = inline(text)
    return _LINE_SYNTAX.sub(
        lambda match: f"{match[0]}\\" if match[0][0].isdigit() else f"\\{match[0]}", found
    )


def _cell(text: Text) -> str:
    """Text in a table, where a vertical bar ends the cell also inside of code."""
    plain = [Span(s.text) if s.style == "code" and "|" in s.text else s for s in spans(text)]
    return inline(tuple(plain))


def _merged(parts: Iterable[Span]) -> Iterator[Span]:
    """Spans of which two without marks do not follow each other: together they could be markup."""
    for style, group in groupby(parts, key=_marked_style):
        yield Span("".join(span.text for span in group), style)


def _marked_style(span: Span) -> Style:
    return span.style if _MARKS.get(span.style, "`") else ""


def _span(span: Span) -> str:
    text = escaped(span.text)
    if span.style == "code":
        longest = max(map(len, re.findall("`+", text)), default=0)
        # Spaces separate backticks of the text from those around it.
        pad = " " if "`" in (text[:1], text[-1:]) else ""
        return f"{'`' * (longest + 1)}{pad}{text}{pad}{'`' * (longest + 1)}"
    mark = _MARKS[span.style]
    return mark + _SYNTAX.sub(_literal, text) + mark


def _literal(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0], f"\\{found[0]}")


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
            label = f"{_mermaid_text(symbol)}<br/>{_mermaid_text(name)}"
            yield f'    u{layer}_{i}(("{label}"))'
    for layer, W in enumerate(diagram.weights):
        for i, row in enumerate(W):
            for j, (_, text) in enumerate(row):
                label = _mermaid_text(text)
                yield f'    u{layer}_{i} -- "{label}" --> u{layer + 1}_{j}'


def _mermaid_text(text: str) -> str:
    return " ".join(escaped(text).split()).translate(_MERMAID)
