"""``bpexp explain``: print one training step of the configured network, number by number."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bpexp.cli import exits
from bpexp.cli.commands import BAD_INPUT, best_run, store_parser
from bpexp.cli.screen import Screen
from bpexp.config.compose import compose
from bpexp.config.schema import keys
from bpexp.explain.command import explain, explain_run
from bpexp.fields.checks import ConfigError
from bpexp.render import html, markdown, text
from bpexp.sweeps import integrity
from bpexp.tracking.stored_results import config_of

FORMATS = {"text": text.render, "md": markdown.render, "html": html.render}


def main(arguments: Sequence[str]) -> None:
    """Print the document or write it to a file; end the program on bad input."""
    # All words: one that is no setting may be a part of a list that was written with spaces.
    words = [word for word in arguments if not word.startswith("-")]
    with exits.exit_on_error(words, BAD_INPUT):
        _explain(arguments)


def _explain(arguments: Sequence[str]) -> None:
    options = _parser().parse_intermixed_args(arguments)
    how = (options.epoch, options.sample, options.digits)
    runs = [word for word in options.settings if re.fullmatch(r"latest|[0-9a-f]{4,32}", word)]
    if not runs:
        _check_not_run(options.settings)
        document = explain(compose(options.settings), *how)
    elif len(options.settings) > 1:
        raise ConfigError(
            f"explain takes either one run or settings such as lr=0.1, got {runs[0]!r} and more."
        )
    else:
        run, archive = best_run(options, runs[0])
        integrity.check_intact(run, archive)
        document = explain_run(*config_of(run, archive), *how)
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


def _check_not_run(words: Sequence[str]) -> None:
    """Raise ConfigError for a single word that is neither a run nor a setting."""
    if len(words) == 1 and re.fullmatch(r"[\w.-]+", words[0]) and words[0] not in keys():
        raise ConfigError(
            "explain takes a run (the first digits of its id, or latest) or settings such as "
            f"lr=0.1, got {words[0]!r}."
        )


def _parser() -> argparse.ArgumentParser:
    parser = store_parser("explain", "Print one training step of a network, number by number.")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="RUN | key=value",
        help="id, start of an id, or latest; or settings, as for a run",
    )
    parser.add_argument(
        "--epoch",
        type=int,
        default=1,
        metavar="N",
        help="show the first step of epoch N (default: 1)",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="K",
        help="the sample to follow (default: the one with the largest loss)",
    )
    parser.add_argument(
        "--digits",
        type=int,
        default=6,
        metavar="D",
        help="significant digits of numbers (default: 6)",
    )
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default="text",
        help="how the step is written (default: text)",
    )
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write here instead of printing"
    )
    return parser
