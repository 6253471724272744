"""A page as one HTML file that needs nothing else."""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from bpexp.explain.blocks import Block, Diagram, Equations, Heading, Paragraph, Table
from bpexp.explain.text import is_number

STYLE = """
:root { color-scheme: light dark; --ink: #1c1b19; --paper: #fdfcf9; --soft: #6f6a60;
  --rule: #d9d4c8; --tint: #f4f1e8; --up: #1f6f8b; --down: #b4492f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e5db; --paper: #191817; --soft: #a29b8c;
  --rule: #3c3933; --tint: #23211e; --up: #6fc0dc; --down: #ef8f74; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.05rem/1.55 Charter, "Bitstream Charter", "Source Serif 4", Georgia, serif; }
main { max-width: 50rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; color: var(--soft); }
p { margin: .6rem 0; max-width: 42rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums lining-nums; }
.data { font-size: .93rem; }
.data th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap;
  border-bottom: 1px solid var(--ink); }
.data th, .data td { padding: .22rem 1.1rem .22rem 0; }
.data td { border-bottom: 1px solid var(--rule); white-space: nowrap; }
.data .n { text-align: right; }
.eq { background: var(--tint); border-radius: 6px; padding: .7rem 1.1rem; }
.eq td { padding: .1rem .35rem; vertical-align: baseline; }
.eq td:first-child { text-align: right; white-space: nowrap; }
.eq tr:last-child td:last-child, .eq .result { font-weight: 600; }
sub, sup { font-size: .68em; line-height: 0; }
.ix { display: inline-flex; flex-direction: column; vertical-align: middle; font-size: .62em;
  line-height: 1.1; font-style: normal; }
svg { display: block; width: 100%; height: auto; margin: 1.2rem 0; }
svg text { font: 15px Charter, Georgia, serif; fill: var(--ink); text-anchor: middle; }
svg .name { fill: var(--soft); font-size: 12px; }
svg .weight { font-size: 13px; paint-order: stroke; stroke: var(--paper); stroke-width: 5px; }
svg circle { fill: var(--tint); stroke: var(--ink); }
svg .up { stroke: var(--up); } svg .down { stroke: var(--down); }
@media print { main { padding: 0; } h2 { break-after: avoid; } .wide { break-inside: avoid; } }
"""


def render(blocks: Iterable[Block]) -> str:
    """The whole file; every text is escaped."""
    listed = list(blocks)
    title = next((b.text for b in listed if isinstance(b, Heading)), "")
    body = "\n".join(_block(block) for block in listed)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_set(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_set(text)}</p>"
        case Equations(lines):
            rows = "".join(
                f"<tr><td>{_set(left)}</td><td>=</td><td>{_set(right)}</td></tr>"
                for left, right in lines
            )
            return f'<div class="wide eq"><table>{rows}</table></div>'
        case Table(columns, rows):
            return f'<div class="wide"><table class="data">{_table(columns, rows)}</table></div>'
        case Diagram(units, weights):
            return _svg(units, weights)


_INDEXED = re.compile(r"([a-zαδ∂])?(?:⁽([⁰¹²³⁴⁵⁶⁷⁸⁹\d]+)⁾)?([₀-₉ᵢⱼ]+(?:,[₀-₉]+)?)?")
_FLAT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉ᵢⱼ", "01234567890123456789ij")


def _set(text: str) -> str:
    """Escaped text with real indices and real minus signs."""
    text = re.sub(r"(?<![\w⁾])-(?=[\d.]|inf)|(?<=\de)-(?=\d)", "−", escape(text))
    return _INDEXED.sub(_indices, text)


def _indices(found: re.Match[str]) -> str:
    letter, layer, unit = found.groups()
    if not layer and not unit:
        return found[0]
    stem = f"<i>{letter}</i>" if letter else ""
    high = f"({layer.translate(_FLAT)})" if layer else ""
    low = unit.translate(_FLAT) if unit else ""
    if high and low:
        return f'{stem}<span class="ix"><span>{high}</span><span>{low}</span></span>'
    return stem + (f"<sup>{high}</sup>" if high else f"<sub>{low}</sub>")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    numeric = [
        place > 0 and all(is_number(row[place]) for row in rows) for place in range(len(columns))
    ]

    def line(cells: Sequence[str], tag: str) -> Iterator[str]:
        for cell, right in zip(cells, numeric, strict=True):
            start = f'{tag} class="n"' if right else tag
            yield f"<{start}>{_set(cell)}</{tag}>"

    head = f"<thead><tr>{''.join(line(columns, 'th'))}</tr></thead>"
    return head + "".join(f"<tr>{''.join(line(row, 'td'))}</tr>" for row in rows)


_COLUMN, _ROW, _RADIUS = 260, 105, 27
_LABELS = 6  # Weights between two layers that can be read in the picture.


def _svg(
    units: Sequence[Sequence[tuple[str, str]]],
    weights: Sequence[Sequence[Sequence[tuple[float, str]]]],
) -> str:
    """Units as circles; weights as lines, as thick as they are large, coloured by sign."""
    tall = max(map(len, units))
    width, height = _COLUMN * (len(units) - 1) + 160, _ROW * tall + 20
    largest = max((abs(w) for W in weights for line in W for w, _ in line), default=0.0) or 1.0

    def place(layer: int, unit: int) -> tuple[float, float]:
        return 80 + _COLUMN * layer, height / 2 + _ROW * (unit - (len(units[layer]) - 1) / 2) - 8

    lines, labels, circles = [], [], []
    for layer, W in enumerate(weights):
        for i, line in enumerate(W):
            for j, (w, text) in enumerate(line):
                (x1, y1), (x2, y2) = place(layer, i), place(layer + 1, j)
                # Labels sit nearer to where their line starts, so that they part.
                at = 0.28 if len(W) > 1 or len(line) > 1 else 0.5
                sign = "down" if w < 0.0 else "up"
                lines.append(
                    f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{sign}" '
                    f'stroke-width="{0.8 + 4.2 * abs(w) / largest:.2f}"/>'
                )
                if len(W) * len(line) > _LABELS:
                    continue
                number = escape(text).replace("-", "−")
                labels.append(
                    f'<text class="weight" x="{x1 + at * (x2 - x1):.1f}" '
                    f'y="{y1 + at * (y2 - y1) + 4:.1f}">{number}</text>'
                )
    for layer, column in enumerate(units):
        for i, (symbol, name) in enumerate(column):
            x, y = place(layer, i)
            circles.append(
                f'<circle cx="{x}" cy="{y}" r="{_RADIUS}"/>'
                f'<text x="{x}" y="{y + 5}">{escape(symbol)}</text>'
                f'<text class="name" x="{x}" y="{y + _RADIUS + 15}">{escape(name)}</text>'
            )
    drawn = "".join([*lines, *circles, *labels])
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="the network">{drawn}</svg>'
