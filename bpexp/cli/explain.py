"""``bpexp explain``: print one training step of the configured network, number by number."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from bpexp.cli.commands import Parser
from bpexp.cli.screen import Screen
from bpexp.config.schema import conf_dir
from bpexp.explain.command import explain
from bpexp.fields.checks import ConfigError
from bpexp.render import html, markdown, text

FORMATS = {"text": text.render, "md": markdown.render, "html": html.render}


def main(arguments: Sequence[str]) -> None:
    """Print the document or write it to a file.

    Raises:
        ConfigError: An argument is invalid, or the file cannot be written.
        hydra.errors.HydraException: An override is invalid.
    """
    options = _parser().parse_intermixed_args(arguments)
    document = explain(_compose(options.settings), options.epoch, options.sample, options.digits)
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


def _compose(settings: Sequence[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    for override in OverridesParser.create().parse_overrides(list(settings)):
        if override.is_sweep_override():
            key = override.get_key_element()
            raise ConfigError(f"{key} must be one value for explain, got {override.input_line!r}.")

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config", list(settings)), resolve=True)
    return cast(dict[str, Any], composed)
