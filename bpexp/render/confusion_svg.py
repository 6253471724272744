"""Draws a confusion matrix as an SVG file, without matplotlib, whose import takes long.

>>> svg = draw(["no", "yes"], [[3, 1], [0, 4]], "test rows")
>>> svg.startswith("<svg"), ">3</text>" in svg
(True, True)
"""

from collections.abc import Sequence

from bpexp.render.xml import escape

CELL, CHARACTER = 46, 7.5
"""The size of a cell, and the width of a character, in pixels."""
MAX_CHARACTERS = 24
"""Longer labels are cut."""


def draw(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> str:
    """Draw the matrix with a row for each class and a column for each predicted class.

    Args:
        labels: The classes.
        counts: Numbers of rows by class and predicted class. The shade of a cell is its share of
            the rows of its class.
        title: What the rows are.

    Returns:
        The content of the file.
    """
    names = [escape(_cut(label)) for label in labels]
    margin = max(CHARACTER * max(map(len, map(_cut, labels))) + 14, 60)
    width, height = margin + CELL * len(labels) + 30, margin + CELL * len(labels) + 60
    parts = [
        f'<text x="{margin}" y="18" font-weight="bold">Confusion matrix: {escape(title)}</text>',
        f'<text x="{margin}" y="38">rows: class, columns: predicted class</text>',
    ]
    top = 48
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        y = top + CELL * i
        parts.append(
            f'<text x="{margin - 8}" y="{y + CELL / 2 + 5}" text-anchor="end">{name}</text>'
        )
        for j, count in enumerate(row):
            share = count / (sum(row) or 1)
            x = margin + CELL * j
            ink = "white" if share > 0.5 else "black"
            parts.append(
                f'<rect x="{x:g}" y="{y}" width="{CELL}" height="{CELL}" stroke="#ccc" '
                f'fill="rgb({255 - round(222 * share)},{255 - round(152 * share)},'
                f'{255 - round(83 * share)})"/>'
                f'<text x="{x + CELL / 2:g}" y="{y + CELL / 2 + 5}" text-anchor="middle" '
                f'fill="{ink}">{count}</text>'
            )
    bottom = top + CELL * len(labels) + 12
    for j, name in enumerate(names):
        x = margin + CELL * (j + 0.5) + 4
        parts.append(
            f'<text x="{x:g}" y="{bottom}" text-anchor="end" '
            f'transform="rotate(-90 {x:g} {bottom})">{name}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 380):g}" '
        f'height="{height + 10:g}" font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _cut(label: str) -> str:
    return label if len(label) <= MAX_CHARACTERS else label[: MAX_CHARACTERS - 1] + "…"
