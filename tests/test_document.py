"""One document rendered as text, Markdown, HTML and LaTeX."""

import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bpexp.render import html, latex, markdown, text
from bpexp.render.document import (
    BulletList,
    Document,
    Equations,
    Heading,
    Image,
    NetworkDiagram,
    Paragraph,
    Preformatted,
    Table,
    code,
    emphasis,
    small,
    strong,
    unstyled,
)

TABLE = Table(
    ["name", "loss", "remark"],
    [["a_1", ("0.5 ", small("(0.4 to 0.6)")), "x & y"], ["b|c", "-1", "100%"]],
    "lrp",
    "Losses",
)
DIAGRAM = NetworkDiagram([[("x₁", "input")], [("a⁽¹⁾₁", "tanh")]], [[[(0.25, "0.25")]]])
DOCUMENT = Document(
    [
        Heading(1, "Results of w⁽²⁾₁₃"),
        Paragraph(("See ", code("lr"), ", ", emphasis("briefly"), " or ", strong("not"), ".")),
        Paragraph("It is -1.5.", "result"),
        Paragraph("With a remark.", "note"),
        BulletList(["first", ("second ", code("x"))]),
        TABLE,
        Image("figures/curve.png", "A curve"),
        Equations([("δ⁽²⁾₁", "(a − y) · f′(z)"), ("", "-0.5")]),
        Preformatted("if x < 1:\n    y = {2}"),
        DIAGRAM,
    ],
    math=True,
)
RENDERERS = [text.render, markdown.render, html.render, latex.render]


@pytest.mark.parametrize("render", RENDERERS)
def test_every_format_has_the_content_of_every_block(render):
    page = render(DOCUMENT)
    for word in ("Results of", "See", "briefly", "With a remark", "second", "0.4 to 0.6", "100",
                 "A curve", "figures/curve.png", "y = {2}"):  # fmt: skip
        assert word in page, word


def test_markdown_is_githubs():
    assert markdown.render(DOCUMENT) == (
        "# Results of w⁽²⁾₁₃\n\n"
        "See `lr`, *briefly* or **not**.\n\n"
        "It is -1.5.\n\n"
        "With a remark.\n\n"
        "- first\n- second `x`\n\n"
        "Losses\n\n"
        "| name | loss | remark |\n| --- | ---: | --- |\n"
        "| a_1 | 0.5 (0.4 to 0.6) | x & y |\n| b\\|c | -1 | 100% |\n\n"
        "![A curve](figures/curve.png)\n\n"
        "```text\nδ⁽²⁾₁ = (a − y) · f′(z)\n      = -0.5\n```\n\n"
        "```text\nif x < 1:\n    y = {2}\n```\n\n"
        '```mermaid\nflowchart LR\n    u0_0(("x₁<br/>input"))\n    u1_0(("a⁽¹⁾₁<br/>tanh"))\n'
        '    u0_0 -- "0.25" --> u1_0\n```\n'
    )


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("*a* _b_ c_d `e` <f>", r"\*a\* \_b\_ c_d \`e\` \<f\>"),
        ("[a](b) [2,3]", r"[a\](b) [2,3]"),
        ("&lt; a & b", r"\&lt; a & b"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("-1 is a number", "-1 is a number"),
        ("line\nbreaks   and spaces", "line breaks and spaces"),
    ],
)
def test_markdown_escapes_what_would_be_markup(plain, escaped):
    assert markdown.render(Document([Paragraph(plain)])) == f"{escaped}\n"


class Elements(HTMLParser):
    """The start tags of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_html_typesets_indices_and_minus_signs_of_a_mathematical_document():
    page = html.render(DOCUMENT)
    assert '<i>w</i><span class="ix"><span>(2)</span><span>13</span></span>' in page
    assert '<p class="result">It is −1.5.</p>' in page
    assert '<td class="r">−1</td>' in page
    plain = html.render(Document(DOCUMENT.blocks))
    assert "Results of w⁽²⁾₁₃" in plain
    assert '<p class="result">It is -1.5.</p>' in plain


def test_html_embeds_images_and_refers_to_nothing_outside():
    png = b"\x89PNG\r\n\x1a\n" + bytes(8) + (1500).to_bytes(4, "big") + bytes(4)
    page = Elements(html.render(Document([Image("figures/curve.png", 'a "curve"', png)])))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["src"].startswith("data:image/png;base64,")
    assert (image["width"], image["alt"]) == ("750", 'a "curve"')
    assert ("figure", {"id": "curve"}) in page.tags


def test_text_shows_control_characters_and_takes_no_text_for_markup():
    page = text.render(Document([Paragraph("[red]\x1b[31m")]))
    assert page == "[red]\\x1b[31m\n\n"


def test_a_table_on_a_console_is_aligned():
    console = Console(width=60, no_color=True, file=io.StringIO())
    console.print(text.table(Table(["a", "bb"], [["x", "1"], ["y", "10"]])))
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        "a  bb",
        "x   1",
        "y  10",
    ]


def test_columns_of_numbers_are_aligned_to_the_right():
    assert Table(["a", "b", "c"], [["1", "2", "x"], ["2", "1e-3", "3"]]).sides == "lrl"
    with pytest.raises(ValueError, match="one letter per column"):
        Table(["a", "b"], [], "l")


def environments(page):
    """The names of the LaTeX environments, which must be properly nested."""
    opened, names = [], []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", page):
        if kind == "begin":
            opened.append(name)
            names.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    return names


def test_latex_has_a_booktabs_table():
    assert latex.block(TABLE) == (
        "\\begin{longtable}{lrp{0.6\\linewidth}}\n"
        "\\caption{Losses} \\\\\n"
        "\\toprule\n"
        "name & loss & remark \\\\\n"
        "\\midrule\n"
        "\\endhead\n"
        "a\\_1 & 0.5 {\\footnotesize (0.4 to 0.6)} & x \\& y \\\\\n"
        "b\\textbar{}c & -1 & 100\\% \\\\\n"
        "\\bottomrule\n"
        "\\end{longtable}"
    )


def test_latex_has_an_environment_for_each_block():
    page = latex.render(DOCUMENT)
    assert environments(page) == [
        "document", "itemize", "longtable", "figure", "flushleft", "tabular", "verbatim",
    ]  # fmt: skip
    for line in (
        r"\section*{Results of w$^{(2)}_{13}$}",
        r"See \texttt{lr}, \emph{briefly} or \textbf{not}.",
        r"\textbf{It is $-$1.5.}",
        r"{\small With a remark.\par}",
        r"\item second \texttt{x}",
        r"\includegraphics[width=\linewidth]{figures/curve.png}",
        r"\caption{A curve}",
        r"$\delta$$^{(2)}_{1}$ & (a $-$ y) $\cdot$ f$'$(z) \\",
        " & $-$0.5 \\\\",
        "if x < 1:",
    ):
        assert line in page.splitlines(), line


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_latex_escapes_every_special_character(content):
    page = latex.block(Paragraph(content))
    # Remove what the writer inserts: commands, escaped characters, formulas, protected brackets.
    rest = re.sub(r"\\[&%$#_{}]|\{\[\}|\{\]\}|\$[^$]*\$|\\[a-z]+\{\}", "", page)
    assert not re.search(r"[&%$#_{}~^\\<>|]", rest), page


def test_the_title_is_the_first_heading_without_styles():
    assert Document([Heading(1, ("a ", code("b")))]).title == "a b"
    assert Document([Paragraph("text")]).title == ""
    assert unstyled(("a", strong("b"))) == "ab"
