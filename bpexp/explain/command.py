"""The verb ``explain``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bpexp.cli.commands import Parser
from bpexp.cli.screen import Screen
from bpexp.config.compose import compose
from bpexp.data import load
from bpexp.explain import html, markdown, text
from bpexp.explain.page import page
from bpexp.explain.step import take
from bpexp.explain.symbols import digits
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.plan import make_plan

FORMATS = {"text": text.render, "md": markdown.render, "html": html.render}


def main(arguments: Sequence[str]) -> None:
    """Print the page. Raises ConfigError, or what Hydra raises, for a bad setting."""
    chosen = _parser().parse_intermixed_args(arguments)
    made = make_plan([compose(chosen.settings)])
    config = made.configs[0]
    if not 1 <= chosen.epoch <= config.epochs:
        raise ConfigError(f"--epoch must be in 1..{config.epochs} (epochs), got {chosen.epoch}.")
    if not 1 <= chosen.digits <= 17:
        raise ConfigError(f"--digits must be in 1..17, got {chosen.digits}.")
    step = take(config, chosen.epoch, made.runtime.engine)
    blocks = list(page(step, load(config.data), digits(chosen.digits), chosen.sample))
    console = Screen()
    if chosen.format == "text" and chosen.output is None and console.is_terminal:
        text.write(blocks, console)
        return
    written = FORMATS[chosen.format](blocks)
    if chosen.output is None:
        sys.stdout.write(written)
        return
    try:
        chosen.output.write_text(written, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"-o must be a file that can be written, got {str(chosen.output)!r}: {error.strerror}."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bpexp explain",
        description="One training step of the configured network, number by number.",
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="as for a run")
    parser.add_argument("--epoch", type=int, default=1, metavar="N", help="the step's epoch (1)")
    parser.add_argument(
        "--sample", type=int, metavar="K", help="the sample to follow (the one of largest loss)"
    )
    parser.add_argument("--digits", type=int, default=6, metavar="D", help="per number (6)")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write to a file")
    return parser
