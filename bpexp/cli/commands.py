"""The commands other than training: dispatch, and the arguments that they share.

Each command is a module ``bpexp.cli.<name>`` with a function ``main(arguments)``, which returns
the exit status, or None for success.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from bpexp.cli import exits
from bpexp.errors.command_names import COMMANDS
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError
from bpexp.sweeps import sweep_integrity
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import RunReader, StoredRun
from bpexp.tracking.store import Store, locate_existing, no_runs_error

BAD_INPUT = 2
"""Exit status of a command with bad input."""


class Parser(argparse.ArgumentParser):
    """Accepts options anywhere, and reports a wrong argument in one sentence, without the usage."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse arguments; options may stand between those of a list."""
        return self.parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            message = re.sub(
                "^argument (.*): invalid int value: ", r"\1 must be a whole number, got ", message
            )
            raise ConfigError(f"{message[:1].lower()}{message[1:]} ({self.prog} --help).")
        argument = unknown[1]
        near = checks.nearest(argument, re.findall(r"--[a-z][\w-]*", self.format_help()))
        hint = f"did you mean {near}?" if near else f"{self.prog} --help lists what it takes."
        if self.prog == "bpexp runs" and re.match(r"[\w.]+=", argument):
            key, _, value = argument.partition("=")
            name = f'"{key}"' if "." in key else key
            hint = f"to filter type --filter 'params.{name} = \"{value}\"'."
        raise ConfigError(f"{self.prog} does not take {argument}; {hint}")


def main(arguments: Sequence[str]) -> None:
    """Run the command that ``arguments`` start with; end the program on bad input.

    Raises:
        BrokenPipeError: The reader of standard output has closed the pipe.
    """
    name, *rest = arguments
    assert name in COMMANDS
    settings = [text for text in rest if re.match(r"[+~]*[\w.@/]+=|zip\(", text)]
    with exits.exit_on_error(settings, BAD_INPUT):
        # Importing the modules of all commands would take longer than most commands run.
        command: Callable[[list[str]], int | None]
        command = importlib.import_module(f"bpexp.cli.{name}").main
        status = command(rest)
    if status is not None:
        sys.exit(status)


def store_parser(name: str, description: str) -> Parser:
    """Return a parser for a command that reads a store."""
    parser = Parser(prog=f"bpexp {name}", description=description)
    parser.add_argument(
        "--uri", help="the store (default: MLFLOW_TRACKING_URI, or ./outputs/mlflow.db)"
    )
    parser.add_argument(
        "--experiment", default="bpexp", help="the MLflow experiment (default: bpexp)"
    )
    return parser


def add_best_run(parser: Parser) -> None:
    """Add the argument RUN of a command on one network, for ``best_run``."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="id, start of an id, name, or latest; of a sweep its best run is taken",
    )


def best_run(options: argparse.Namespace, wanted: str) -> tuple[StoredRun, Archive]:
    """Return the run that a user names, of a sweep its best run, and where it is stored.

    Args:
        options: The parsed arguments ``uri`` and ``experiment``.
        wanted: The id of a run, the start of its id, its name, or ``latest``.

    Raises:
        ConfigError: There is no such store or run, or no run of the sweep has finished.
    """
    named = named_run(options, wanted)
    return sweep_integrity.best_run(named.run, named.archive), named.archive


class NamedRun(NamedTuple):
    """A stored run that a user named.

    Attributes:
        run: The run.
        experiment: The name of its experiment.
        archive: Where it is stored.
    """

    run: StoredRun
    experiment: str
    archive: Archive


def named_run(options: argparse.Namespace, wanted: str, *, is_sweep: bool = False) -> NamedRun:
    """Return the run that a user names.

    Args:
        options: The parsed arguments ``uri`` and ``experiment``.
        wanted: The id of a run, the start of its id, its name, or ``latest``.
        is_sweep: Whether ``latest`` is a sweep, see ``lookup.find``.

    Raises:
        ConfigError: There is no such store or run.
    """
    store = existing_store(options.uri)
    reader = open_reader(store)
    experiment, run = lookup.find(reader, options.experiment, wanted, is_sweep=is_sweep)
    return NamedRun(run, experiment, Archive(reader, store, run.experiment_id))


def existing_store(uri: str | None) -> Store:
    """Return the store at ``uri``, or the default store.

    Raises:
        ConfigError: The store is an SQLite file that does not exist, or the URI is invalid.
    """
    return locate_existing(uri, Path.cwd(), os.environ)


def experiment_id(reader: RunReader, store: Store, name: str) -> str:
    """Return the id of an experiment; see ``lookup.experiment_id``, but names an empty store."""
    try:
        return lookup.experiment_id(reader, name)
    except lookup.NoRunsError as error:
        raise no_runs_error(store) from error


def positive(text: str) -> int:
    """Return a command-line argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
