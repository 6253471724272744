"""One document rendered as text, Markdown, HTML and LaTeX."""

import io
import re
import unicodedata
from xml.etree import ElementTree

import pytest
from html_page import Page
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from bpexp.fields.checks import escaped, is_printable
from bpexp.render import confusion_svg, figure_files, html, latex, markdown, text
from bpexp.render.axes import literal, panel, shortened
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
        ("*a* _b_ c_d `e` <f>", r"\*a\* \_b\_ c_d \`e\` &lt;f\>"),
        ("__init__ ~~a~~", r"\_\_init\_\_ \~\~a\~\~"),
        ("<script>alert(1)</script>", r"&lt;script\>alert(1)&lt;/script\>"),
        ("<img src=x onerror=alert(1)>", r"&lt;img src=x onerror=alert(1)\>"),
        ("[x](javascript:alert(1))", r"[x\](javascript:alert(1))"),
        ("\x1b[2J\x00 \u202etxt", r"\\x1b[2J\\x00 \\u202etxt"),
        ("[a](b) [2,3]", r"[a\](b) [2,3]"),
        ("&lt; a & b", r"&amp;lt; a & b"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("-1 is a number", "-1 is a number"),
        ("line\nbreaks   and spaces", "line breaks and spaces"),
    ],
)
def test_markdown_escapes_what_would_be_markup(plain, escaped):
    assert markdown.render(Document([Paragraph(plain)])) == f"{escaped}\n"


MARKUP = [
    *"`*_<>|$~\\[](){}#+-=.!&;:/\"'ab1é \t\n\r\x00\x1b\x85\u2028\u202e^%@", "<script>", "```",
    "<img src=x onerror=a>", "&lt;", "](javascript:a)", "--", "1. ", "- ", "\n\n", "    ",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(MARKUP), min_size=1).map("".join).filter(str.strip)
"""Texts of characters and of sequences that one of the formats interprets."""


def shown_as(text):
    """What a page must show of a text, without white space: control characters are escaped."""
    return "".join(escaped(text).split())


@given(HOSTILE, HOSTILE)
def test_a_parser_of_markdown_finds_the_text_and_nothing_else(first, second):
    shown = (code(first),)
    document = Document(
        [
            Heading(1, first),
            Paragraph((first, small(second), strong("s"), code(first))),
            BulletList([first, second]),
            Table(["a", first], [[first, (small(first), second)], [shown, "1"]], "ll", first),
            Preformatted(first),
        ]
    )
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(markdown.render(document))
    kinds = [token.type for token in tokens if not token.type.endswith("_close")]
    assert kinds == [
        "heading_open", "inline", "paragraph_open", "inline", "bullet_list_open",
        *["list_item_open", "paragraph_open", "inline"] * 2, "paragraph_open", "inline",
        "table_open", "thead_open", "tr_open", *["th_open", "inline"] * 2, "tbody_open",
        *["tr_open", *["td_open", "inline"] * 2] * 2, "fence",
    ]  # fmt: skip
    inlines = [token for token in tokens if token.type == "inline"]
    allowed = {"text", "text_special", "strong_open", "strong_close", "code_inline"}
    texts = []
    for token in inlines:
        assert {child.type for child in token.children} <= allowed
        texts.append("".join("".join(c.content for c in token.children).split()))
    assert texts == [
        shown_as(text)
        for text in (first, f"{first}{second}s{first}", first, second, first, "a", first, first,
                     f"{first}{second}", first, "1")
    ]  # fmt: skip


@given(HOSTILE)
def test_html_and_svg_have_no_element_of_the_text(content):
    def page(text):
        network = NetworkDiagram([[("x", text)], [("y", text)]], [[[(0.5, text)]]])
        table = Table([text, "b"], [[text, (code(text),)]], "ll", text)
        image = Image("a.png", text)
        blocks = [Heading(1, text), Paragraph(text), table, image, Preformatted(text), network]
        return html.render(Document(blocks))

    found = page(content)
    names = [tag for tag, _ in Page(found).tags]
    assert names == [tag for tag, _ in Page(page("a")).tags]
    assert is_printable(found.replace("\n", "").replace("\t", ""))
    ElementTree.fromstring(confusion_svg.draw([content, "b"], [[1, 2], [3, 4]], content))


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
    page = Page(html.render(Document([Image("figures/curve.png", 'a "curve"', png)])))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["src"].startswith("data:image/png;base64,")
    assert (image["width"], image["alt"]) == ("750", 'a "curve"')
    assert ("figure", {"id": "curve"}) in page.tags


def test_a_cell_of_a_table_of_text_has_one_line():
    rows = [["a\nb", "1"], ["c", "2"]]
    assert len(text.render(Document([Table(["name", "n"], rows)])).splitlines()) == 5


@pytest.mark.usefixtures("pictures")
def test_labels_of_plots_are_no_formulas():
    figure, axes = panel(2.0, 2.0)
    label = shortened(["$\\frac{"], 20)["$\\frac{"]
    axes.set(title=literal("a$b$c"), xlabel=label, ylabel=literal("\x1b"))
    assert figure_files.png(figure).startswith(b"\x89PNG")
    assert figure.axes[0].get_title() == r"a\$b\$c"


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


@example("\u00ad\u0387")
@given(st.text(st.characters(exclude_categories=["Cs"])) | HOSTILE)
def test_latex_escapes_every_special_character(content):
    page = latex.block(Paragraph(content))
    # Remove what the writer inserts: commands, escaped characters, formulas, and braces around what
    # would be an argument or between what would be a ligature.
    inserted = r"\\[&%$#_{}]|\{[\[\]*]\}|\$[^$]*\$|\\[a-z]+\{\}|(?<=[-,'`?!])\{\}(?=[-,'`])"
    rest = re.sub(inserted, "", page)
    assert not re.search(r"[&%$#_{}~^\\<>|*]|--|,,|''|[`?!]`", re.sub(inserted, " ", page)), page
    assert not re.search(r"[{}]", rest), page
    assert is_printable(page)
    # Other characters stop pdfLaTeX.
    assert all(is_typeset(c) for c in page), page


UNDECLARED = "ĦħĸĿŀŉŦŧſ"
"""Latin letters below U+0180 that the input encoding of LaTeX does not declare (utf8ienc.dtx)."""
DECLARED = "¡¢£¤¥¦§¨©«¬®¯°´¶¸¹»¼¾¿×÷µˆˇ˘˙˛˜˝–—‘’‚“”„†‡•…‰‹›€"
"""Other characters that it declares for the fonts that the preamble loads."""


def is_typeset(character):
    if character.isascii() or character in DECLARED:
        return True
    is_letter = unicodedata.name(character).startswith(("LATIN", "FEMININE", "MASCULINE"))
    return is_letter and character not in UNDECLARED and character < "\u0220"


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("naïve Größe, Łódź, țară", "naïve Größe, Łódź, țară"),
        ("e\u0301t\u00e9", "été"),
        ("η = 5%, θ ≤ 1", r"$\eta$ = 5\%, $\theta$ $\leq$ 1"),
        ("损失", "U+635FU+5931"),
        ("x\u0302", r"$\hat{x}$"),
        ("report --per 'a'", "report -{}-per 'a'"),
        ("* 2", "{*} 2"),
        ("a\u2009b", "a b"),
    ],
)
def test_latex_has_letters_with_accents_greek_ones_and_numbers_of_others(content, written):
    assert latex.block(Paragraph(content)) == written


def test_a_column_of_text_is_narrow_in_latex_beside_many_others():
    few, many = (Table(["a"] * n, [["x"] * n], "l" * (n - 1) + "p") for n in (3, 5))
    assert r"{llp{0.6\linewidth}}" in latex.block(few)
    assert r"{llllp{0.25\linewidth}}" in latex.block(many)


def test_the_title_is_the_first_heading_without_styles():
    assert Document([Heading(1, ("a ", code("b")))]).title == "a b"
    assert Document([Paragraph("text")]).title == ""
    assert unstyled(("a", strong("b"))) == "ab"
