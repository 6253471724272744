"""MkDocs hooks: pages that are generated when the site is built, and never stored."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from bpexp.config.help import settings_reference
from bpexp.errors.command_names import COMMANDS

TABLE_LINE = re.compile(r'<span class="go">(?=[^<\n]*\S {2,}\S)')
"""The begin of a printed line with several columns, which two spaces or more separate."""
SENTENCES = re.compile(
    r'<div class="language-text(?= highlight">(?:(?!</div>| {2}).)*</div>)', re.S
)
"""The begin of a block of text without columns."""
ROOT = Path(__file__).resolve().parents[1]
EXTENSION_POINTS = (
    "bpexp.runs.metrics",
    "bpexp.nn.activations",
    "bpexp.nn.losses",
    "bpexp.nn.optimizers",
    "bpexp.nn.schedules",
    "bpexp.data.registry",
    "bpexp.sweeps.executors.base",
    "bpexp.sweeps.samplers.base",
    "bpexp.training.engine",
    "bpexp.tracking.contract",
    "bpexp.analysis.plots",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder ``docs``."""
    pages = {
        "reference/settings.md": settings_reference(),
        "reference/commands.md": commands(),
        "reference/extending.md": extension_points(),
        "luck_of_the_seed.md": notebook(ROOT / "docs" / "luck_of_the_seed.ipynb"),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Mark the lines of printed tables, and the blocks without any, for ``extra.css``."""
    marked = TABLE_LINE.sub('<span class="go columns">', html)
    return SENTENCES.sub('<div class="language-text sentences', marked)


def commands() -> str:
    """Print the help text of every command."""
    parts = [
        "# Commands",
        "`bpexp key=value ...` trains; these commands work with stored runs."
        " Bad input, such as a run that does not exist, ends them with exit status 2.",
    ]
    for command in COMMANDS:
        text = subprocess.run(
            [sys.executable, "-m", "bpexp", command, "--help"],
            cwd=ROOT, env=os.environ | {"COLUMNS": "80"},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        parts.append(f"## `bpexp {command}`\n\n```text\n{text}```")
    return "\n\n".join(parts)


def extension_points() -> str:
    """Render the docstrings of the modules that contributors extend."""
    parts = [
        "# Extension points",
        "Interfaces for adding metrics, optimizers, data sets and more."
        " [Contributing](../contributing.md) has a recipe for each.",
    ]
    parts += [f"::: {name}" for name in EXTENSION_POINTS]
    return "\n\n".join(parts)


def notebook(path: Path) -> str:
    """Convert a Jupyter notebook with its outputs to Markdown."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![](data:image/png;base64,{''.join(data['image/png']).strip()})")
            else:
                text = "".join(data.get("text/plain", output.get("text", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)
