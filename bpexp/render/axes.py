"""The common style of all plots: line styles, shortened labels, decimal numbers on log axes.

Lines have the colors of Okabe and Ito (2008) and a dash pattern each, and maps use viridis or
cividis, so that they can be distinguished without color vision and in grayscale.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatterSciNotation

from bpexp.fields.checks import escaped
from bpexp.typing import Array

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colors of lines, in the order of use."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)),
                           (0, (3, 1)), (0, (8, 2)), (0, (1, 2)))  # fmt: skip
"""matplotlib line styles, one for each color."""
MAX_DRAWN = 1e100
"""Larger values are drawn at this one: matplotlib has no ticks up to the largest number."""
MAX_LINES = len(COLORS)
"""Number of lines that can be distinguished in one plot."""
WIDTH = 9.5
"""Width of a plot in inches: a page is this wide, so that text stays readable when projected."""
MAX_COLUMNS = 3
"""Maximum number of panels beside each other."""
VALUE_LENGTH = 16
"""Maximum number of characters of a setting's value in a plot."""
MAX_TICKS = 12
"""Maximum number of values of a setting that are labeled on an axis."""


def panel(width: float = WIDTH, height: float = 4.4) -> tuple[Figure, Axes]:
    """Create a figure with one pair of axes.

    Args:
        width: Width in inches.
        height: Height in inches.

    Returns:
        The figure and its axes.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def panel_grid(
    n: int,
    size: tuple[float, float],
    *,
    extra: tuple[float, float] = (0.0, 0.0),
    min_width: float = WIDTH,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Create a figure with several panels in up to ``MAX_COLUMNS`` columns.

    Args:
        n: Number of panels.
        size: Width and height of a panel in inches.
        extra: Width and height that are added for a color bar.
        min_width: Minimum width of the figure in inches.
        share_y: Whether the panels have one vertical scale.

    Returns:
        The figure and its panels, row by row.
    """
    columns = min(MAX_COLUMNS, n)
    lines = math.ceil(n / columns)
    width, height = size[0] * columns + extra[0], size[1] * lines + extra[1]
    figure = Figure(figsize=(max(min_width, width), height), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=share_y).ravel()
    for axes in panels[n:]:
        axes.set_axis_off()
    return figure, list(panels[:n])


def line_style(index: int) -> Mapping[str, Any]:
    """Keyword arguments of ``Axes.plot`` for one of several lines.

    Args:
        index: The number of the line in its plot, from 0 to ``MAX_LINES - 1``.
    """
    return {"color": COLORS[index], "linestyle": DASHES[index], "lw": 1.8}


def shortened(
    texts: Sequence[str], length: int, numbers: Sequence[int] | None = None
) -> dict[str, str]:
    """Shorten texts for use as labels.

    Control characters are escaped. A label that would be too long has an ellipsis in its middle.
    It starts with the number of its text, as does one that equals another label, so that
    different texts have different labels.

    Args:
        texts: Different texts.
        length: Maximum number of characters of a label.
        numbers: The number of each text; by default its place, from 1.

    Returns:
        The label of each text.

    >>> shortened(["lr=1", "data.path=/long/folder/a.csv"], 16)["data.path=/long/folder/a.csv"]
    '#2 data.p…/a.csv'
    """

    shown = [escaped(text) for text in texts]
    counts = Counter(shown)

    def label(number: int, text: str) -> str:
        if len(text) <= length and counts[text] == 1:
            return literal(text)
        room = length - len(f"#{number} …")
        if len(text) > room:
            text = f"{text[: room - room // 2]}…{text[-(room // 2) :]}"
        return literal(f"#{number} {text}")

    places = range(1, len(texts) + 1) if numbers is None else numbers
    labels = [label(number, text) for number, text in zip(places, shown, strict=True)]
    return dict(zip(texts, labels, strict=True))


def literal(text: str) -> str:
    """The text for matplotlib, which would otherwise take what stands between $ for a formula.

    >>> literal("a$b$c")
    'a\\\\$b\\\\$c'
    """
    return escaped(text).replace("$", r"\$")


def label_levels(axis: Axis, levels: Sequence[str]) -> None:
    """Label the places 0, 1, ... of an axis with values of a setting; of many only some."""
    step = math.ceil(len(levels) / MAX_TICKS)
    labels = [*shortened(levels, VALUE_LENGTH).values()]
    axis.set_ticks(range(0, len(levels), step), labels[::step], fontsize=8)


def ascending(values: Iterable[str]) -> list[str]:
    """The different values: numbers in ascending order, followed by other text.

    >>> ascending(["10", "tanh", "9", "9"])
    ['9', '10', 'tanh']
    """

    def order(value: str) -> tuple[bool, float, str]:
        try:
            return (False, float(value), value)
        except ValueError:
            return (True, 0.0, value)

    return sorted(set(values), key=order)


def log_norm(values: Array) -> Any:
    """A matplotlib ``LogNorm``, a logarithmic color scale from the smallest to the largest value.

    Args:
        values: Values of any shape; those that are not positive and finite are ignored.

    Returns:
        The scale; None if fewer than two different values are left.
    """
    known = values[np.isfinite(values) & (values > 0)]
    return LogNorm(known.min(), known.max()) if known.size and known.min() < known.max() else None


def limits(values: Array) -> tuple[float, float]:
    """The smallest and the largest finite value, of any shape; 0 and 1 if there is none."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def mark_cell(axes: Axes, row: Any, column: Any) -> None:
    """Mark a cell of a heat map by a frame that is seen on any color of the scale."""
    corner = (column - 0.47, row - 0.47)
    for color, width in (("black", 5.0), ("white", 2.5)):
        axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=color, lw=width))


def light_grid(axes: Axes, which: Literal["both", "x", "y"] = "both") -> None:
    """Draw a light grid, and no frame at the top and on the right.

    Args:
        axes: The plot.
        which: The axes at whose ticks there are lines.
    """
    axes.grid(axis=which, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def log_scale(axis: Axis) -> None:
    """Make the x or y axis of a plot logarithmic, with labels as by ``plain_log_labels``."""
    if isinstance(axis, XAxis):
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    plain_log_labels(axis)


def plain_log_labels(axis: Axis) -> None:
    """Label a log axis with decimal numbers such as 0.02 instead of 2 x 10^-2.

    Ticks between the powers of ten are labeled if the axis covers few powers of ten.

    Args:
        axis: The x or y axis of a plot.
    """
    power = LogFormatterSciNotation()
    power.set_axis(axis)

    def major(value: float, position: float) -> str:
        return f"{value:.6g}" if 1e-4 <= value < 1e6 else str(power(value))

    def minor(value: float, position: float) -> str:
        low, high = sorted(axis.get_view_interval())
        n_decades = np.log10(high / low)
        first_digit = f"{value:e}"[0]
        labeled_digits = "" if n_decades > 2.2 else "25" if n_decades > 1.0 else "2346"
        is_labeled = n_decades < 0.35 or first_digit in labeled_digits
        return major(value, position) if is_labeled else ""

    axis.set_major_formatter(major)
    axis.set_minor_formatter(minor)
