"""The program ``bpexp``: a command such as ``bpexp runs``, or settings to train with.

Each of these imports only what it needs: MLflow, Hydra and the schema take up to a second.
"""

import atexit
import gc
import io
import logging
import os
import re
import signal
import sys
import warnings

from bpexp import interrupts
from bpexp.cli import exits
from bpexp.config import paths
from bpexp.errors.command_names import COMMANDS


def main() -> None:
    """Run the program with ``sys.argv``; end with exit status 1 or 2 on bad input."""
    # Importing MLflow allocates about a million long-lived objects. Collecting among them takes
    # a sixth of the time of a short run.
    gc.set_threshold(200_000)
    # A collection at exit takes as long, and the system frees the memory anyway.
    atexit.register(gc.freeze)
    # Threads need no semaphores; where processes are needed, their executor says it.
    warnings.filterwarnings("ignore", ".*joblib will operate in serial mode", UserWarning)
    # It warns of a home that cannot be written, where it uses a temporary folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    interrupts.handle_termination()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without UTF-8 gets \\u03b7 for a Greek eta, not an error.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            _dispatch(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (head, less) has closed it, which is not an error.
        from bpexp.cli.screen import discard_output

        discard_output()
        sys.exit(128 + signal.SIGPIPE)


def _open_closed_streams() -> None:
    """Use the null device where the caller has closed a standard stream.

    The next file that is opened, such as the database, would take its place and get the output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _dispatch(arguments: list[str]) -> None:
    """Run the command, print the help, or train."""
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        from bpexp.cli import commands

        commands.main(arguments)
    elif re.fullmatch(r"[A-Za-z_]+", first):
        from bpexp.errors import syntax

        exits.exit_with(syntax.explain_word(arguments), 2)
    else:
        paths.use_config_dir(arguments)
        if {"-h", "--help"}.isdisjoint(arguments):
            from bpexp.cli import hydra_main

            hydra_main.main(arguments)
        else:
            _print_help(arguments)


def _print_help(arguments: list[str]) -> None:
    with exits.exit_on_error(arguments, exits.FAILED):
        from bpexp.config.help import help_text

        paths.check_own_files()
        sys.stdout.write(help_text(arguments))
