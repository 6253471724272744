"""The document model: headings, paragraphs, tables and other blocks, independent of the format.

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
    """A piece of text in one style; the empty style is plain text."""

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
    """A heading.

    Attributes:
        level: 1 for the title of the document, 2 for a section, 3 for a subsection.
        text: The text.
    """

    level: int
    text: Text


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes:
        text: The text.
        role: Changes the appearance: "lead" introduces the document, "result" is its main
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

    Attributes:
        columns: The names of the columns; if all are empty, the table has no header.
        rows: The cells of each row.
        alignment: One letter per column: "l" left, "r" right, "p" left with line breaks for long
            text. None aligns columns of numbers but the first to the right, others to the left.
        caption: The caption; empty for none.
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
        """The alignment of each column; ``alignment``, or what the cells suggest if it is None.

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

    Attributes:
        path: Path relative to the file of the document.
        caption: The caption.
        content: Content of the PNG file, which HTML embeds if it is not empty. The other formats
            refer to ``path``.
    """

    path: str
    caption: str
    content: bytes = b""

    @property
    def name(self) -> str:
        """The name of the file without the extension."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Equations:
    """Equations ``left = right`` below each other.

    Attributes:
        lines: The pairs (left, right); an empty ``left`` continues the line above.
    """

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Preformatted:
    """Text in a fixed-width font, with its line breaks and spaces."""

    text: str


@dataclass(frozen=True)
class NetworkDiagram:
    """A diagram of a layered network; rendered in Markdown (Mermaid) and HTML (SVG) only.

    Attributes:
        units: For each layer the (symbol, name) of each unit.
        weights: ``weights[layer][i][j]`` is the value and the text of the weight from unit i of
            that layer to unit j of the next layer.
    """

    units: Sequence[Sequence[tuple[str, str]]]
    weights: Sequence[Sequence[Sequence[tuple[float, str]]]]


Block = Heading | Paragraph | BulletList | Table | Image | Equations | Preformatted | NetworkDiagram


@dataclass(frozen=True)
class Document:
    """A document.

    Attributes:
        blocks: The blocks in reading order.
        theme: Name of the style sheet of the HTML page.
        math: Whether numbers and indexed symbols are typeset as formulas in formats that support
            it: a minus sign for the hyphen of "-1", HTML subscripts for "x₁".
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
