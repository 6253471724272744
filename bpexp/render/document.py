"""A document as plain values, independent of the format that it is rendered in.

The modules ``text``, ``markdown``, ``html`` and ``latex`` each have a function ``render`` that
takes a ``Document``.

>>> from bpexp.render import markdown
>>> table = Table(["lr", "loss"], [["0.1", "0.25"], ["1", "0.5"]])
>>> document = Document([Heading(1, "Results"), Paragraph(("Loss by ", code("lr"))), table])
>>> print(markdown.render(document), end="")
# Results
<BLANKLINE>
Loss by `lr`
<BLANKLINE>
| lr | loss |
| --- | ---: |
| 0.1 | 0.25 |
| 1 | 0.5 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Style = Literal["", "strong", "emphasis", "code", "small"]


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = ""


Text = str | tuple[str | Span, ...]
"""Plain text, or pieces of text of which some have a style."""


def strong(text: str) -> Span:
    """Bold text."""
    return Span(text, "strong")


def emphasis(text: str) -> Span:
    """Italic text."""
    return Span(text, "emphasis")


def code(text: str) -> Span:
    """Text in a fixed-width font."""
    return Span(text, "code")


def small(text: str) -> Span:
    """Text of secondary importance, such as an interval after its estimate."""
    return Span(text, "small")


def spans(text: Text) -> list[Span]:
    """The text as a list of spans.

    >>> spans("plain")
    [Span(text='plain', style='')]
    """
    parts = (text,) if isinstance(text, str) else text
    return [Span(part) if isinstance(part, str) else part for part in parts]


def unstyled(text: Text) -> str:
    """The text without its styles.

    >>> unstyled(("0.5 ", small("(0.4 to 0.6)")))
    '0.5 (0.4 to 0.6)'
    """
    return "".join(span.text for span in spans(text))


@dataclass(frozen=True)
class Heading:
    """A heading; ``level`` 1 is the title of the document, 2 and 3 are sections."""

    level: int
    text: Text


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    ``role`` changes its appearance: "lead" introduces the document, "result" is its main
    statement, "note" is a remark in smaller type.
    """

    text: Text
    role: Literal["", "lead", "result", "note"] = ""


@dataclass(frozen=True)
class BulletList:
    """A list of short texts, in the given order."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Table:
    """Rows of cells below the names of the columns.

    ``alignment`` has one letter per column: "l" left, "r" right, "p" left with line breaks
    for long text. None aligns columns of numbers to the right and all others to the left.
    """

    columns: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    alignment: str | None = None
    caption: Text = ""

    def __post_init__(self) -> None:
        """Check that the alignment fits the columns."""
        if self.alignment is not None and len(self.alignment) != len(self.columns):
            raise ValueError("alignment must have one letter per column.")

    @property
    def sides(self) -> str:
        """The alignment of each column, inferred where none was given.

        >>> Table(["name", "loss"], [["1", "0.5"], ["2", "1e-3"]]).sides
        'lr'
        """
        if self.alignment is not None:
            return self.alignment
        columns = range(1, len(self.columns))
        return "l" + "".join(
            "r" if all(_is_number(unstyled(row[column])) for row in self.rows) else "l"
            for column in columns
        )


@dataclass(frozen=True)
class Image:
    """A PNG file with a caption.

    ``path`` is relative to the document's file. HTML embeds ``content`` if there is any; the
    other formats refer to ``path``.
    """

    path: str
    caption: str
    content: bytes = b""

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Equations:
    """Lines (left, right) of ``left = right``; an empty left continues the line above."""

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Preformatted:
    """Text in a fixed-width font whose line breaks and spaces are kept."""

    text: str


@dataclass(frozen=True)
class NetworkDiagram:
    """A drawing of a layered network.

    ``units``: for each layer, the (symbol, name) of each unit. ``weights[layer][i][j]``: the
    value and the text of the weight from unit i of that layer to unit j of the next one.
    Rendered in Markdown (Mermaid) and HTML (SVG) only.
    """

    units: Sequence[Sequence[tuple[str, str]]]
    weights: Sequence[Sequence[Sequence[tuple[float, str]]]]


Block = Heading | Paragraph | BulletList | Table | Image | Equations | Preformatted | NetworkDiagram


@dataclass(frozen=True)
class Document:
    """Blocks in reading order.

    ``theme`` names the style sheet of the HTML page. ``math``: numbers and indexed symbols are
    typeset as formulas where the format can do so (a minus sign for the hyphen of "-1", real
    subscripts for "x₁").
    """

    blocks: Sequence[Block]
    theme: Literal["article", "report"] = "article"
    math: bool = False

    @property
    def title(self) -> str:
        """The text of the first heading; empty if there is none."""
        return next((unstyled(b.text) for b in self.blocks if isinstance(b, Heading)), "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
