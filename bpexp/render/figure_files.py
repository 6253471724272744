"""Converts figures to the contents of files, the same for equal figures.

>>> from matplotlib.figure import Figure
>>> png(Figure())[1:4]
b'PNG'
"""

import io
from typing import Literal

from matplotlib import rc_context
from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """Convert a figure to PNG with 200 dots per inch; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def vector(figure: Figure, kind: Literal["pdf", "svg"]) -> bytes:
    """Convert a figure to PDF or SVG; equal figures give equal bytes.

    PDF files embed their fonts as TrueType, as publishers ask for, and not as Type 3.
    """
    date = {"pdf": "CreationDate", "svg": "Date"}[kind]
    buffer = io.BytesIO()
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": "bpexp"}):
        figure.savefig(buffer, format=kind, dpi=200, metadata={date: None})
    return buffer.getvalue()
