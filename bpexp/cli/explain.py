"""``bpexp explain``: print one training step of the configured network, number by number."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bpexp.cli import exits
from bpexp.cli.commands import Parser
from bpexp.cli.screen import Screen
from bpexp.config.compose import compose
from bpexp.explain.command import explain
from bpexp.fields.checks import ConfigError
from bpexp.render import html, markdown, text

FORMATS = {"text": text.render, "md": markdown.render, "html": html.render}


def main(arguments: Sequence[str]) -> None:
    """Print the document or write it to a file; end the program on bad input."""
    # Status 1, as for a run with the same settings.
    with exits.exit_on_error([word for word in arguments if not word.startswith("-")], 1):
        _explain(arguments)


def _explain(arguments: Sequence[str]) -> None:
    options = _parser().parse_intermixed_args(arguments)
    for word in options.settings:
        if re.fullmatch(r"latest|[0-9a-f]{8,32}", word):
            raise ConfigError(f"explain takes settings such as lr=0.1, not a run, got {word!r}.")
    document = explain(compose(options.settings), options.epoch, options.sample, options.digits)
    console = Screen()
    if options.format == "text" and options.output is None and console.is_terminal:
        text.write(document, console)
        return
    content = FORMATS[options.format](document)
    if options.output is None:
        sys.stdout.write(content)
        return
    try:
        options.output.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"-o must be a file that can be written, got {str(options.output)!r}: {error.strerror}."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bpexp explain",
        description="Print one training step of the configured network, number by number.",
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings, as for a run")
    parser.add_argument(
        "--epoch", type=int, default=1, metavar="N", help="explain the first step of epoch N (1)"
    )
    parser.add_argument(
        "--sample", type=int, metavar="K", help="sample to follow (the one with the largest loss)"
    )
    parser.add_argument(
        "--digits", type=int, default=6, metavar="D", help="significant digits of numbers (6)"
    )
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write to a file")
    return parser
