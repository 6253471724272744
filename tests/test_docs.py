"""The commands in README.md and docs/ run, and print what the pages show; doctests pass.

A page is read from top to bottom in an empty folder. A ``console`` block holds commands after ``$``
and what they print. A ``bash`` block holds commands alone, a ``python`` block a program; a ``text``
block after them is their output. HTML comments before a block change this:

    <!-- not run: REASON -->    the block is not run
    <!-- exit status: N -->     the last command of the block ends with status N
    <!-- file: NAME -->         the block is the content of a file, which is written

Ids of runs, times and the number of workers may differ, and the line about a new store may be
missing, because tests start with a store. ``...`` stands for any text. To write the
present output into the pages: ``BPEXP_REWRITE_DOCS=1 python -m pytest -m slow tests/test_docs.py``.
"""

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_TESTED = {
    "accuracy.md",
    "benchmarks.md",
    "pages.md",
    "scaling.md",
    "simulations.md",
    "compiler.md",
}
"""Pages written by benchmarks, and the page about the compiler, which is tested as a doctest."""
BLOCK = re.compile(
    r"^(?P<notes>(?:<!-- [^\n]* -->\n+)*)```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^```$",
    re.M | re.S,
)
COMMAND = re.compile(r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*\n)(?P<output>(?:(?!\$ ).*\n)*)", re.M)
"""A command of a console block, which may be continued on more lines, and its output."""
MAIN_JOB = re.compile(r"^    .*/(python -m bpexp .*)  # runs the main job$", re.M)
"""The command of the README that continuous integration runs."""
NOTE = re.compile(r"<!-- (not run|exit status|file): (.*?) -->")
RUN_ID = re.compile(r"(?<![\w.])(?=[0-9a-f]*[0-9])[0-9a-f]{8}(?:[0-9a-f]{24})?(?![\w.])")
VARYING = (
    (re.compile(r"on \d+ workers?"), "on 2 workers"),
    (re.compile(r"^Preparing a new store .*\n", re.M), ""),
    (re.compile(r"\d{4}-\d\d-\d\d[_ T]\d\d[-:]\d\d[-:]\d\d(?:\.\d{6})?"), "2026-01-01_12-00-00"),
)
HOME = "/home/me"
"""What the pages show in place of the temporary folder."""
REWRITE = bool(os.environ.get("BPEXP_REWRITE_DOCS"))
MODULES = sorted(p for p in (ROOT / "bpexp").rglob("*.py") if ">>> " in p.read_text())


@dataclass
class Block:
    """A fenced block of a page: its language, text, place, and the notes before it."""

    language: str
    body: str
    start: int
    end: int
    notes: dict[str, str]


def blocks(text):
    """The fenced blocks of a page, in order."""
    found = []
    for m in BLOCK.finditer(text):
        notes = dict(NOTE.findall(m["notes"]))
        if m["language"] != "console" or "not run" in notes:
            found.append(Block(m["language"], m["body"], m.start("body"), m.end("body"), notes))
            continue
        for part in COMMAND.finditer(m["body"]):
            for language, name in (("bash", "command"), ("text", "output")):
                start, end = (m.start("body") + at for at in part.span(name))
                found.append(Block(language, part[name], start, end, notes))
    found += [Block("bash", m[1], m.start(), m.end(), {}) for m in MAIN_JOB.finditer(text)]
    return sorted(found, key=lambda block: (block.start, block.end))


def name_of(page):
    """The page's path below the checkout."""
    return str(page.relative_to(ROOT))


def without_varying(text):
    """Replace what differs between two executions, but for ids; drop trailing spaces."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def printed(output, shown):
    """The text of a block that shows this output, with a line ``...`` where ``shown`` has one."""
    lines = without_varying(output).splitlines()
    before, *after = re.split(r"^\.\.\.\n", shown, flags=re.M)
    if after:
        first, last = before.count("\n"), after[0].count("\n")
        lines = [*lines[:first], "...", *lines[len(lines) - last :]]
    return "".join(f"{line}\n" for line in lines)


def match_output(expected, actual):
    """Map the ids in ``expected`` to those in ``actual``; None where the texts differ."""
    parts, ids, at = [], [], 0
    expected = without_varying(expected)
    for found in re.finditer(rf"{RUN_ID.pattern}|\.\.\.", expected):
        parts.append(re.escape(expected[at : found.start()]))
        at = found.end()
        if found[0] == "...":
            parts.append(".*?")
        else:
            ids.append(found[0])
            parts.append(f"([0-9a-f]{{{len(found[0])}}})")
    pattern = "".join(parts) + re.escape(expected[at:])
    matched = re.fullmatch(pattern, without_varying(actual), re.S)
    return dict(zip(ids, matched.groups(), strict=True)) if matched else None


def with_ids(text, ids):
    """Replace the ids that the page shows by those of this execution."""
    return RUN_ID.sub(lambda found: ids.get(found[0], ids.get(found[0][:8], found[0])), text)


@pytest.fixture
def shell(inside, tmp_path):
    """Run a line of a bash block in the page's folder; return its exit status and output."""

    def run(line):
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "bpexp"]:
            words = words[2:]
        if words[:1] == ["bpexp"] and not {"|", ">", "&&"} & set(words):
            done = inside(*words[1:])
        else:
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            script = f'bpexp() {{ python -m bpexp "$@"; }}\n{line}'
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", script],
                cwd=tmp_path, env=os.environ | {"PATH": path},
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def run_block(shell, tmp_path, monkeypatch):
    """Run a bash or python block; return its output with the page's folder as HOME."""
    monkeypatch.chdir(tmp_path)
    namespace = {}

    def run(block, ids):
        body = with_ids(block.body, ids)
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as written:
                exec(compile(body, "page", "exec"), namespace)
            return written.getvalue().replace(str(tmp_path), HOME)
        output = ""
        lines = re.sub(r"\\\n *", "", body).splitlines()
        commands = [line for line in lines if line.strip() and not line.startswith("#")]
        for line in commands:
            status, shown = shell(line)
            expected = int(block.notes.get("exit status", 0)) if line is commands[-1] else 0
            assert status == expected, f"{line}\n{shown}"
            output += shown
        return output.replace(str(tmp_path), HOME)

    return run


TESTED = [page for page in PAGES if page.name not in NOT_TESTED]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*AnyType:UserWarning")  # by MLflow while it logs a model
@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("page", TESTED, ids=name_of)
def test_the_commands_of_a_page_print_what_it_shows(page, run_block, tmp_path):
    text = page.read_text()
    ids, replacements, output, before = {}, [], None, None
    for block in blocks(text):
        if "file" in block.notes:
            (tmp_path / block.notes["file"]).write_text(block.body)
        elif "not run" in block.notes:
            output = None
        elif block.language in ("bash", "python"):
            output, before = run_block(block, ids), block
        elif block.language == "text" and output is not None:
            found = match_output(block.body, output)
            same = found is not None and all(ids.get(k, v) == v for k, v in found.items())
            if not same and REWRITE and block.body.count("...") < 2:
                found = dict(zip(RUN_ID.findall(block.body), RUN_ID.findall(output), strict=False))
                replacements.append((block, printed(output, block.body)))
                same = True
            assert same, f"{before.body}prints\n{output}instead of\n{block.body}"
            ids = {shown[:8]: real[:8] for shown, real in found.items()} | found | ids
            output = None
    if replacements:
        for block, shown in reversed(replacements):
            text = text[: block.start] + shown + text[block.end :]
        page.write_text(with_ids(text, ids))


def test_blocks_that_are_not_run_give_a_reason(capsys):
    skipped = [
        (name_of(page), block.notes["not run"], block.body.strip().splitlines()[0])
        for page in TESTED
        for block in blocks(page.read_text())
        if "not run" in block.notes
    ]
    assert all(len(reason) > 10 for _, reason, _ in skipped)
    with capsys.disabled():
        for name, reason, line in skipped:
            print(f"\nnot run: {name}: {line} ({reason})", end="")


def test_code_blocks_name_their_language():
    for page in TESTED:
        fences = re.findall(r"^```(.*)$", page.read_text(), re.M)
        assert all(fences[::2]), name_of(page)
        assert not any(fences[1::2]), name_of(page)


def test_readme_stays_short_and_links_to_files_that_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 200
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    # MkDocs warns about unknown links and about docstrings that differ from signatures. With the
    # option --quiet it would not count its warnings.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "true"},
        capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("index.html")}
    assert {"index.html", "reference/settings/index.html", "reference/python/index.html"} <= pages
    start = (tmp_path / "index.html").read_text()
    assert "fonts.googleapis.com" not in start


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_the_examples_in_docstrings_are_right(file, tmp_path, monkeypatch, put_store):
    monkeypatch.chdir(tmp_path)
    if "sweep(" in file.read_text() or "load_runs(" in file.read_text():
        put_store(tmp_path)
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert tried
    assert not failed
