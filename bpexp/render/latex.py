"""Renders a document as a LaTeX file for pdfLaTeX, with tables in the style of booktabs.

>>> from bpexp.render.document import Document, Paragraph
>>> print(block(Paragraph("50% of lr=0.1_a")))
50\\% of lr=0.1\\_a
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterable

from bpexp.fields.checks import escaped
from bpexp.render import notation
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
    Span,
    Table,
    Text,
    spans,
)

PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=2.5cm]{geometry}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{graphicx}
\setlength{\emergencystretch}{6em}
\begin{document}
"""
WIDE_TABLE = 4
"""Tables with more columns are set in a smaller font, with less space between the columns."""
WIDTH_OF_TEXT, NARROW_WIDTH_OF_TEXT, FEW_COLUMNS = 0.6, 0.25, 3
"""Width of a column of long text in relation to the line: in a table with at most so many columns,
and in one with more."""
TITLE_LENGTH = 14
"""Titles of columns with more characters are set in several lines."""
_SECTIONS = {1: "section", 2: "subsection", 3: "subsubsection"}
_ROLES = {
    "": "{}",
    "lead": r"\emph{{{}}}",
    "result": r"\textbf{{{}}}",
    "note": r"{{\small {}\par}}",
}
_STYLES = {
    "": "{}",
    "strong": r"\textbf{{{}}}",
    "emphasis": r"\emph{{{}}}",
    "code": r"\texttt{{{}}}",
    "small": r"{{\footnotesize {}}}",
}
_CHARACTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    # After the end of a row these would be arguments of it.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "−": "$-$", "·": r"$\cdot$", "±": r"$\pm$", "½": r"$\frac{1}{2}$", "′": "$'$",
    "²": "$^{2}$", "Σ": r"$\sum$", "√": r"$\surd$", "∂": r"$\partial$", "∞": r"$\infty$",
    "→": r"$\rightarrow$", "←": r"$\leftarrow$", "…": r"\ldots{}", "–": r"\textendash{}",
    "™": r"$^\mathrm{TM}$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$",
    "ε": r"$\varepsilon$", "ζ": r"$\zeta$", "η": r"$\eta$", "θ": r"$\theta$",
    "ι": r"$\iota$", "κ": r"$\kappa$", "λ": r"$\lambda$", "μ": r"$\mu$", "ν": r"$\nu$",
    "ξ": r"$\xi$", "π": r"$\pi$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$",
    "φ": r"$\varphi$", "χ": r"$\chi$", "ψ": r"$\psi$", "ω": r"$\omega$", "Γ": r"$\Gamma$",
    "Δ": r"$\Delta$", "Θ": r"$\Theta$", "Λ": r"$\Lambda$", "Ξ": r"$\Xi$", "Π": r"$\Pi$",
    "Φ": r"$\Phi$", "Ψ": r"$\Psi$", "Ω": r"$\Omega$",
}  # fmt: skip
TYPESET = ("cp1250", "cp1252", "cp1254", "cp1257", "iso8859_16")
"""Character sets that pdfLaTeX typesets with the packages of ``PREAMBLE``: Latin alphabets with
their accents and punctuation. Other characters stop it with an error."""
_SPECIAL = re.compile(
    rf"(?P<hat>[a-z])\u0302|(?P<index>[{notation.SUPERSCRIPTS}{notation.SUBSCRIPTS}]+"
    rf"(?:,[{notation.SUBSCRIPTS}]+)?)|(?P<character>[{re.escape(''.join(_CHARACTERS))}])"
    r"|(?P<ligature>(?P<first>[-,'`])(?=(?P=first))|[?!](?=`))"
    r"|(?P<other>[^\x00-\x7f][\u0300-\u036f]*|[A-Za-z][\u0300-\u036f]+)"
)


def render(document: Document) -> str:
    """Render a document.

    Args:
        document: The document. Images are included from their paths; network diagrams are omitted.
            Characters that pdfLaTeX cannot typeset are written as their numbers, such as U+4E2D.

    Returns:
        The content of the LaTeX file.
    """
    blocks = "\n\n".join(filter(None, (block(b, document.math) for b in document.blocks)))
    return f"{PREAMBLE}\n{blocks}\n\n\\end{{document}}\n"


def block(shown: Block, math: bool = False) -> str:
    """Render one block, for a LaTeX document that loads the packages of ``PREAMBLE``.

    Args:
        shown: The block.
        math: Whether hyphens before numbers become minus signs.

    Returns:
        LaTeX; empty for a network diagram.
    """

    def inline(text: Text) -> str:
        return " ".join("".join(_span(span, math) for span in spans(text)).split())

    match shown:
        case Heading(level, text):
            return f"\\{_SECTIONS[level]}*{{{inline(text)}}}"
        case Paragraph(text, role):
            return _ROLES[role].format(inline(text))
        case BulletList(items):
            return _environment("itemize", (f"\\item {inline(item)}" for item in items))
        case Table(columns, rows):
            return _table(
                shown.sides, inline(shown.caption), list(map(inline, columns)),
                [list(map(inline, row)) for row in rows],
            )  # fmt: skip
        case Image(path, caption):
            return _environment("figure", [
                r"\centering", rf"\includegraphics[width=\linewidth]{{{path}}}",
                rf"\caption{{{inline(caption)}}}",
            ])  # fmt: skip
        case Equations(lines):
            cells = [f"{inline(left)} & {inline(right)} \\\\" for left, right in lines]
            grid = _environment("tabular", cells, r"{@{}r@{ $=$ }p{0.75\linewidth}@{}}")
            return _environment("flushleft", [grid])
        case Preformatted(text):
            # The text must not end the environment.
            body = escaped(text).replace(r"\end{verbatim}", r"\end {verbatim}")
            return _environment("verbatim", [body])
        case NetworkDiagram():
            return ""


def _table(sides: str, caption: str, header: list[str], rows: list[list[str]]) -> str:
    width = WIDTH_OF_TEXT if len(sides) <= FEW_COLUMNS else NARROW_WIDTH_OF_TEXT
    columns = "".join(rf"p{{{width}\linewidth}}" if side == "p" else side for side in sides)
    lines = [f"\\caption{{{caption}}} \\\\"] if caption else []
    lines.append(r"\toprule")
    if any(header):
        lines += [_row(map(_stacked, header, sides)), r"\midrule"]
    lines += [r"\endhead", *map(_row, rows), r"\bottomrule"]
    table = _environment("longtable", lines, f"{{{columns}}}")
    if len(sides) <= WIDE_TABLE:
        return table
    return f"{{\\small\\setlength{{\\tabcolsep}}{{3pt}}\n{table}}}"


def _stacked(title: str, side: str) -> str:
    """A long title of a column in several short lines, so that a table fits on a page."""
    lines = textwrap.wrap(title, TITLE_LENGTH, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2 or "{" in title:
        return title
    stack = r" \\ ".join(lines)
    return rf"\shortstack[{'r' if side == 'r' else 'l'}]{{{stack}}}"


def _row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _environment(name: str, lines: Iterable[str], arguments: str = "") -> str:
    return "\n".join([f"\\begin{{{name}}}{arguments}", *lines, f"\\end{{{name}}}"])


def _span(span: Span, math: bool) -> str:
    text = escaped(span.text)
    text = notation.with_minus_signs(text) if math else text
    return _STYLES[span.style].format(_SPECIAL.sub(_special, text))


def _special(match: re.Match[str]) -> str:
    if match["hat"]:
        return f"$\\hat{{{match['hat']}}}$"
    if match["index"]:
        high = "".join(c for c in match["index"] if c in notation.SUPERSCRIPTS)
        low = "".join(c for c in match["index"] if c not in notation.SUPERSCRIPTS)
        marks = (("^", high), ("_", low))
        return f"${''.join(f'{m}{{{notation.plain_indices(t)}}}' for m, t in marks if t)}$"
    if match["ligature"]:
        return f"{match['ligature']}{{}}"
    if match["other"]:
        return "".join(map(_typeset, unicodedata.normalize("NFC", match["other"])))
    return _CHARACTERS[match["character"]]


def _typeset(character: str) -> str:
    """The character; its number, such as U+4E2D, if it is invisible or not of ``TYPESET``."""
    if character.isspace():
        return " "
    if character in _CHARACTERS:
        # What is another character in normal form, such as the Greek U+0387.
        return _CHARACTERS[character]
    is_invisible = unicodedata.category(character) == "Cf"
    for name in TYPESET if not is_invisible else ():
        try:
            character.encode(name)
        except UnicodeEncodeError:
            continue
        return character
    return f"U+{ord(character):04X}"
