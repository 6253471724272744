"""Renders a document as one HTML file that needs no other file and no network.

>>> from bpexp.render.document import Document, Paragraph
>>> "<p>1 &lt; 2</p>" in render(Document([Paragraph("1 < 2")]))
True
"""

import base64
import re
from collections.abc import Iterable
from importlib.resources import files

from bpexp.render import network_svg, notation
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
    Table,
    Text,
    spans,
)
from bpexp.render.xml import escape

_TAGS = {"strong": "strong", "emphasis": "em", "code": "code", "small": "small"}
_PRINT_DENSITY = 2
"""Pixels of an image per CSS pixel, so that images are sharp on high-resolution screens."""


def render(document: Document) -> str:
    """Render a document.

    Args:
        document: The document. Its text may contain anything, because it is escaped.

    Returns:
        The content of the HTML file.
    """
    style = files("bpexp.render").joinpath(f"{document.theme}.css").read_text("utf-8")
    body = "\n".join(map(_Writer(document.math).block, document.blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


class _Writer:
    """Writes blocks; with ``math``, numbers and symbols are typeset as formulas."""

    def __init__(self, math: bool) -> None:
        self.math = math

    def block(self, block: Block) -> str:
        match block:
            case Heading(level, text):
                return f"<h{level}>{self.text(text)}</h{level}>"
            case Paragraph(text, role):
                start = f'<p class="{role}">' if role else "<p>"
                return f"{start}{self.text(text)}</p>"
            case BulletList(items):
                lines = "".join(f"<li>{self.text(item)}</li>\n" for item in items)
                return f"<ul>\n{lines}</ul>"
            case Table():
                return f'<div class="wide"><table class="data">{self.table(block)}</table></div>'
            case Image():
                return _image(block)
            case Equations(lines):
                rows = "".join(
                    f"<tr><td>{self.text(left)}</td><td>=</td><td>{self.text(right)}</td></tr>"
                    for left, right in lines
                )
                return f'<div class="wide eq"><table>{rows}</table></div>'
            case Preformatted(text):
                return f"<pre>{escape(text)}</pre>"
            case NetworkDiagram():
                return network_svg.draw(block)

    def table(self, table: Table) -> str:
        caption = f"<caption>{self.text(table.caption)}</caption>\n" if table.caption else ""
        head = ""
        if any(table.columns):
            head = f"<thead><tr>{self.cells('th', table.columns, table.sides)}</tr></thead>\n"
        rows = "\n".join(
            f"<tr>{self.cells('td', row, table.sides)}</tr>" for row in table.rows
        )  # fmt: skip
        return f"\n{caption}{head}<tbody>\n{rows}\n</tbody>"

    def cells(self, tag: str, row: Iterable[Text], sides: str) -> str:
        return "".join(
            f"<{tag}>{self.text(cell)}</{tag}>" if side == "l"
            else f'<{tag} class="{side}">{self.text(cell)}</{tag}>'
            for cell, side in zip(row, sides, strict=True)
        )  # fmt: skip

    def text(self, text: Text) -> str:
        out = []
        for span in spans(text):
            content = escape(span.text)
            if self.math:
                content = _INDEXED.sub(_indices, notation.with_minus_signs(content))
            tag = _TAGS.get(span.style)
            out.append(f"<{tag}>{content}</{tag}>" if tag else content)
        return "".join(out)


def _image(image: Image) -> str:
    caption, size, source = escape(image.caption), "", escape(image.path)
    if image.content:
        source = f"data:image/png;base64,{base64.b64encode(image.content).decode()}"
        # Bytes 16 to 19 of a PNG file hold its width.
        width = int.from_bytes(image.content[16:20], "big") // _PRINT_DENSITY
        size = f' width="{width}"'
    return (
        f'<figure id="{escape(image.name)}"><img src="{source}"{size} alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


_INDEXED = re.compile(r"([a-zαδ∂])?(?:⁽([⁰¹²³⁴⁵⁶⁷⁸⁹\d]+)⁾)?([₀-₉ᵢⱼ]+(?:,[₀-₉]+)?)?")


def _indices(match: re.Match[str]) -> str:
    """A symbol such as w⁽²⁾₁₃ with its layer above its units."""
    letter, layer, unit = match.groups()
    if not layer and not unit:
        return match[0]
    symbol = f"<i>{letter}</i>" if letter else ""
    high = f"({notation.plain_indices(layer)})" if layer else ""
    low = notation.plain_indices(unit) if unit else ""
    if high and low:
        return f'{symbol}<span class="ix"><span>{high}</span><span>{low}</span></span>'
    return symbol + (f"<sup>{high}</sup>" if high else f"<sub>{low}</sub>")
