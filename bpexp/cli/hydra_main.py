"""Hand the command line to Hydra, which composes the configuration of a run or starts a sweep.

What trains, and what explains errors, needs the schema and NumPy. It is imported when it is used:
Hydra also prints configurations, and most command lines are valid.
"""

import contextlib
import itertools
import logging
import os
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bpexp import __version__
from bpexp.cli import exits, typed
from bpexp.config import paths
from bpexp.config.hydra_internals import command_line_parser, without_mode
from bpexp.config.options import expand_shorthands
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError

LONG_OPTIONS = ("--help", "--version", "--multirun", "--dry-run", "--config-dir", "--cfg", "--info")
"""The options that a misspelled one is compared with."""


def main(arguments: Sequence[str]) -> None:
    """Train what ``arguments`` describe; end the program on bad input."""
    as_typed, arguments = arguments, expand_shorthands(arguments)
    tracebacks = exits.full_tracebacks()
    # --info is printed by loggers, which print a traceback for each line of a closed pipe.
    logging.raiseExceptions = tracebacks
    with exits.exit_on_error(arguments, exits.FAILED):
        paths.check_own_files()
        options = _parser(as_typed).parse_args(arguments)
        overrides = [*options.overrides, *(["dry_run=true"] if options.dry_run else [])]
        arguments = typed.without_own_options(arguments, options)
        command_line = typed.read(arguments, overrides, is_sweep=options.multirun)
        shows_jobs = options.multirun and options.cfg is not None
        command_line = replace(command_line, shows_jobs=shows_jobs)
    _exit_on_empty_value(overrides)
    typed.CURRENT.set(command_line)
    own = paths.own_dir() if options.config_dir is None else None
    folder = [] if own is None else ["--config-dir", str(own)]
    sys.argv[1:] = [*folder, *command_line.for_hydra]

    def task(config: DictConfig) -> float | None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            # A job of another launcher, which reports the error when all jobs have ended.
            return _run(config)
        # Hydra would add a line to an error that passes through it.
        with exits.exit_on_error(overrides, exits.FAILED, tracebacks=tracebacks):
            return _run(config)

    composed_once = contextlib.nullcontext() if _may_set_mode(options, own) else without_mode()
    with (
        exits.exit_on_error(overrides, exits.FAILED, tracebacks=tracebacks),
        _errors_from_hydra(),
        composed_once,
    ):
        hydra.main(version_base="1.3", config_path=str(paths.conf_dir()), config_name="config")(
            task
        )()


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    """Return Hydra's parser, with the version of bpexp and with errors of one sentence."""
    parser = ArgumentParser(
        parents=[command_line_parser()], add_help=False, conflict_handler="resolve"
    )
    version = f"bpexp {__version__} (Hydra {hydra.__version__})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--dry-run", action="store_true")
    parser.error = partial(_refuse, arguments)  # type: ignore[method-assign]
    return parser


def _may_set_mode(options: Namespace, own: Path | None) -> bool:
    """Whether a setting of Hydra or a file of the user may set ``hydra.mode``."""
    other_files = own or options.config_dir or options.config_name or options.config_path
    return bool(other_files) or any(re.match(r"[+~]*hydra", text) for text in options.overrides)


def _exit_on_empty_value(overrides: Sequence[str]) -> None:
    """End the program if a setting has no value, which Hydra would read as an empty text."""
    if not any(text.endswith("=") for text in overrides):
        return
    from bpexp.errors import syntax

    if syntax.has_empty_value(overrides):
        exits.exit_with(syntax.explain(overrides) or "", exits.FAILED)


def _refuse(arguments: Sequence[str], message: str) -> NoReturn:
    """Raise ConfigError for options that Hydra refuses; ``message`` is from argparse."""
    valueless = re.match(
        r"argument (?:--\w+/)?(-[\w-]+): ignored explicit argument '(.*)'", message
    )
    if valueless:
        setting = f" {valueless[2]}" if "=" in valueless[2] else ""
        raise ConfigError(f"{valueless[1]} takes no value; type {valueless[1]}{setting}.")
    found = re.match(r"unrecognized arguments: (\S+)", message)
    if found is None:
        raise ConfigError(f"{message}; --help lists the options.")
    option = found[1]
    key, equals, value = option.lstrip("-").partition("=")
    if not option.startswith("-"):
        raise ConfigError(f"Options come before all settings: bpexp {_reordered(arguments)}.")
    if option.lower() in ("-m", "-v"):
        near = {"-m": "-m", "-v": "--version"}[option.lower()]
        raise ConfigError(f"{option} is not an option; did you mean {near}?")
    similar = checks.nearest(option, LONG_OPTIONS, 0.75)
    if similar:
        raise ConfigError(f"{option} is not an option; did you mean {similar}?")
    following = dict(itertools.pairwise(arguments)).get(option, "")
    if not equals and not following.startswith("-") and "=" not in following:
        value = following
    from bpexp.config.schema import keys

    near = checks.nearest(key.replace("-", "_"), keys()) or "key"
    raise ConfigError(
        f"{option} is not an option; settings have no dashes and an = "
        f"({near}={value or '...'}), --help lists them."
    )


_WITH_VALUE = (
    "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c",
    "--package", "-p",
)  # fmt: skip
"""Options that are followed by a value."""


def _reordered(arguments: Sequence[str]) -> str:
    """The command line with the options, and their values, before the settings.

    >>> _reordered(["-m", "epochs=10", "--config-dir", "conf", "lr=1"])
    '-m --config-dir conf epochs=10 lr=1'
    """
    options: list[str] = []
    settings: list[str] = []
    for before, text in itertools.pairwise(["", *arguments]):
        is_option = text.startswith("-") or before in _WITH_VALUE
        (options if is_option else settings).append(text)
    return shlex.join([*options, *settings])


@contextlib.contextmanager
def _errors_from_hydra() -> Iterator[None]:
    """Make Hydra raise its errors, which it would otherwise print in several lines."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _run(config: DictConfig) -> float | None:
    from bpexp.cli import single_run

    return single_run.run(config)
