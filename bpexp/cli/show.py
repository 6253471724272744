"""``bpexp show``: print everything that is stored about one run or sweep."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from bpexp.analysis import run_details
from bpexp.analysis.run_details import Environment
from bpexp.cli.commands import named_run, store_parser
from bpexp.cli.screen import console
from bpexp.render.wording import counted, listed
from bpexp.tracking.reading import StoredRun

DIFF_LINES = 100
"""Maximum number of printed lines of git.diff without ``--all``."""


def main(arguments: Sequence[str]) -> None:
    """Print the configuration, metrics, environment, artifacts and note of a run.

    A file of the environment that was altered is named on standard error, and not shown.
    """
    parser = store_parser("show", "Print everything that is stored about one run or sweep.")
    parser.add_argument(
        "run",
        metavar="RUN",
        help="id, start of an id, or name of a run or sweep, or latest",
    )
    parser.add_argument(
        "--all", action="store_true", help="also digests, packages and all of git.diff"
    )
    options = parser.parse_args(arguments)
    named = named_run(options, options.run)
    run, archive, shows_all = named.run, named.archive, options.all
    details = run_details.read_environment(archive, run)
    out = console()
    out.print("  ".join(filter(None, [run.name, run.run_id, run.status])))
    _print_values(out, run, details, shows_all=shows_all)
    out.print("\nartifacts", style="bold")
    for name, size in archive.files(run).items():
        out.print(f"  {name}/" if size is None else f"  {name}  {size} bytes")
    if details.diff:
        lines = details.diff.splitlines()
        shown = lines if shows_all else lines[:DIFF_LINES]
        part = "" if len(shown) == len(lines) else f", {len(shown)} of {len(lines)} lines; --all"
        out.print(f"\nuncommitted changes (git.diff{part})", style="bold")
        out.print("\n".join(shown), soft_wrap=True)
    note = run.tags.get("mlflow.note.content")
    if note:
        out.print(f"\n{note}")
    for problem in details.problems:
        print(f"bpexp: Not shown: {problem}", file=sys.stderr)


def _print_values(out: Console, run: StoredRun, details: Environment, *, shows_all: bool) -> None:
    """Print the configuration, the metrics and the environment of a run."""
    tags = {key: text for key, text in run.tags.items() if key.startswith("bpexp.")}
    folded = [] if shows_all else [key for key in tags if key in run_details.FOLDED_TAGS]
    tags = {key: text for key, text in tags.items() if key not in folded}
    title = "configuration of the first run" if details.first_config else "configuration"
    sections: dict[str, Mapping[str, Any]] = {
        title: {**details.first_config, **run.params},
        "metrics": run.metrics,
        "environment": {**tags, **details.libraries},
    }
    for title, values in sections.items():
        out.print(f"\n{title}", style="bold")
        width = max(map(len, values), default=0)
        for key, value in sorted(values.items()):
            out.print(f"  {key:<{width}}  {value}", soft_wrap=True)
    if details.packages and shows_all:
        out.print("\npackages", style="bold")
        out.print(", ".join(f"{name} {number}" for name, number in details.packages.items()))
    elif details.packages or folded:
        counts = {"package": len(details.packages), "digest": len(folded)}
        hidden = [counted(n, noun) for noun, n in counts.items() if n]
        out.print(f"  {listed(hidden)}: --all")
