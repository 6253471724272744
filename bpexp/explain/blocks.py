"""What a page is made of, whatever it is printed as."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """``level`` 1 is the page's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Equations:
    """Lines (left, right) of left = right; an empty left goes on with the one above."""

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is to the left, numbers are to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Diagram:
    """The network: per layer its units (symbol, value), and per layer of weights
    ``weights[from][to]`` with their text.
    """

    units: Sequence[Sequence[tuple[str, str]]]
    weights: Sequence[Sequence[Sequence[tuple[float, str]]]]


Block = Heading | Paragraph | Equations | Table | Diagram
