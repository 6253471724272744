"""The common look of plots: line styles, shortened labels, plain numbers on log axes.

Lines have the colors of Okabe and Ito (2008) and a dash pattern each, and maps use viridis or
cividis, so that they can be distinguished without color vision and in grayscale.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)),
                           (0, (3, 1)), (0, (8, 2)), (0, (1, 2)))  # fmt: skip
MAX_LINES = len(COLORS)
"""Number of lines that can be distinguished in one plot."""


def panel(width: float = 7.5, height: float = 4.4) -> "tuple[Figure, Axes]":
    """A figure of this size in inches with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def line_style(place: int) -> Mapping[str, Any]:
    """Keyword arguments of ``Axes.plot`` for line number ``place``, from 0."""
    return {"color": COLORS[place], "linestyle": DASHES[place], "lw": 1.8}


def shortened(texts: Sequence[str], length: int) -> dict[str, str]:
    """Short labels for different texts, by the text.

    A text of more than ``length`` characters loses its middle and starts with its number, so
    that different texts keep different labels.

    >>> shortened(["lr=1", "data.path=/long/folder/a.csv"], 16)["data.path=/long/folder/a.csv"]
    '#2 data.p…/a.csv'
    """

    def label(number: int, text: str) -> str:
        if len(text) <= length:
            return text
        room = length - len(f"#{number} …")
        return f"#{number} {text[: room - room // 2]}…{text[-(room // 2) :]}"

    return {text: label(number, text) for number, text in enumerate(texts, start=1)}


def log_norm(values: Array) -> Any:
    """A logarithmic color scale over the positive values; None if they are all equal."""
    from matplotlib.colors import LogNorm

    known = values[np.isfinite(values) & (values > 0)]
    return LogNorm(known.min(), known.max()) if known.size and known.min() < known.max() else None


def plain_log_labels(axis: "Axis") -> None:
    """Label a log axis with plain numbers: 0.02, not 2 x 10^-2.

    Ticks between the powers of ten are labeled where there is room for them.
    """
    from matplotlib.ticker import LogFormatterSciNotation

    power = LogFormatterSciNotation()
    power.set_axis(axis)

    def major(value: float, place: float) -> str:
        return f"{value:.6g}" if 1e-4 <= value < 1e6 else str(power(value))

    def minor(value: float, place: float) -> str:
        low, high = sorted(axis.get_view_interval())
        decades = np.log10(high / low)
        leading = f"{value:e}"[0]
        between = "" if decades > 2.2 else "25" if decades > 1.0 else "2346"
        return major(value, place) if decades < 0.35 or leading in between else ""

    axis.set_major_formatter(major)
    axis.set_minor_formatter(minor)
