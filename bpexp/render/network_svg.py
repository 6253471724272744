"""Draws a network as an SVG element of an HTML page."""

from bpexp.render.document import NetworkDiagram
from bpexp.render.xml import escape

LAYER_DISTANCE, UNIT_DISTANCE, RADIUS = 260, 105, 27
"""Distances between layers and units, and the radius of units, in units of the view box."""
MAX_LABELS = 6
"""Maximum number of weights between two layers that are labeled with their numbers."""


def draw(diagram: NetworkDiagram) -> str:
    """Draw units as circles, and weights as lines.

    The width of a line shows the absolute value of the weight, its color the sign.

    Args:
        diagram: The network.

    Returns:
        An ``svg`` element; the style sheet of the page sets its colors.
    """
    units, weights = diagram.units, diagram.weights
    width = LAYER_DISTANCE * (len(units) - 1) + 160
    height = UNIT_DISTANCE * max(map(len, units)) + 20
    largest = max((abs(w) for W in weights for row in W for w, _ in row), default=0.0) or 1.0

    def position(layer: int, unit: int) -> tuple[float, float]:
        y = height / 2 + UNIT_DISTANCE * (unit - (len(units[layer]) - 1) / 2) - 8
        return 80 + LAYER_DISTANCE * layer, y

    lines, labels, circles = [], [], []
    for layer, W in enumerate(weights):
        # Labels stand nearer to the start of their lines, where the lines are further apart.
        label_position = 0.28 if len(W) > 1 or len(W[0]) > 1 else 0.5
        for i, row in enumerate(W):
            for j, (w, text) in enumerate(row):
                (x1, y1), (x2, y2) = position(layer, i), position(layer + 1, j)
                sign = "down" if w < 0.0 else "up"
                lines.append(
                    f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{sign}" '
                    f'stroke-width="{0.8 + 4.2 * abs(w) / largest:.2f}"/>'
                )
                if len(W) * len(row) <= MAX_LABELS:
                    number = escape(text).replace("-", "−")
                    labels.append(
                        f'<text class="weight" x="{x1 + label_position * (x2 - x1):.1f}" '
                        f'y="{y1 + label_position * (y2 - y1) + 4:.1f}">{number}</text>'
                    )
    for layer, column in enumerate(units):
        for i, (symbol, name) in enumerate(column):
            x, y = position(layer, i)
            circles.append(
                f'<circle cx="{x}" cy="{y}" r="{RADIUS}"/>'
                f'<text x="{x}" y="{y + 5}">{escape(symbol)}</text>'
                f'<text class="name" x="{x}" y="{y + RADIUS + 15}">{escape(name)}</text>'
            )
    drawn = "".join([*lines, *circles, *labels])
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="the network">{drawn}</svg>'
