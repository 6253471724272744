"""``bpexp resume``: train the missing runs of a sweep that was interrupted or failed.

A single run that could not be stored is stored.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from bpexp import app
from bpexp.cli import exits
from bpexp.cli.commands import Parser, existing_store, store_parser
from bpexp.cli.terminal import TerminalReporter
from bpexp.config.schema import BACKENDS, BackendConfig, BudgetConfig, DaskConfig
from bpexp.fields.checks import ConfigError
from bpexp.sweeps import budget
from bpexp.tracking import lookup, recovery, spool
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.store import connect


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of the completed sweep."""
    parser = sweep_parser(
        "resume",
        "Finish a sweep that was interrupted: train its missing runs. Of a single run "
        "that could not be stored, type the name of its folder in outputs/spool.",
    )
    parser.add_argument(
        "budget",
        metavar="budget.KEY=VALUE",
        nargs="*",
        default=[],
        help="end after a number of runs, epochs or seconds (default: train all missing runs)",
    )
    parser.add_argument(
        "--pruned",
        action="store_true",
        help="train the runs that search.halving stopped to their ends",
    )
    options = parser.parse_args(arguments)
    if spool.holds_single_run(options.sweep):
        if options.dry_run:
            raise ConfigError(
                f"--dry-run takes a sweep; {options.sweep} is a single run, which is stored and "
                "not trained again."
            )
        store = existing_store(options.uri)
        app.store_spooled_run(store, options.experiment, options.sweep, TerminalReporter())
        return exits.EXIT_STATUS["FINISHED"]
    request = request_of(options, budget.of_arguments(options.budget))
    request = replace(request, pruned=options.pruned)
    reporter = TerminalReporter()
    return carry_out(app.resumed(request, reporter), options, reporter)


def carry_out(
    continued: app.Continuation, options: argparse.Namespace, reporter: TerminalReporter
) -> int:
    """Train the missing runs of a sweep, or with ``--dry-run`` say what that takes.

    Returns:
        The exit status.
    """
    if options.dry_run:
        continued.dry_run(reporter)
        return exits.EXIT_STATUS["FINISHED"]
    return exits.EXIT_STATUS[continued.train(reporter).status]


def sweep_parser(name: str, description: str) -> Parser:
    """Return a parser for a command that trains missing runs of a stored sweep."""
    parser = store_parser(name, description)
    parser.add_argument(
        "sweep", metavar="SWEEP", help="id, start of an id, or name of a sweep, or latest"
    )
    parser.add_argument(
        "--ended",
        action="store_true",
        help="confirm that its process on another machine has ended",
    )
    parser.add_argument(
        "--restore",
        action="store_true",
        help="restore the sweep, or its experiment, if it was deleted",
    )
    parser.add_argument(
        "--backend",
        metavar="WHERE",
        help="a backend, or the address of a Dask scheduler (default: as before)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how long training would take, and write nothing",
    )
    return parser


def request_of(options: argparse.Namespace, limits: BudgetConfig) -> app.ResumeRequest:
    """The request of the parsed arguments of ``sweep_parser``.

    Raises:
        ConfigError: There is no such sweep, or it was deleted.
    """
    store = existing_store(options.uri)
    backend = None if options.backend is None else _backend(options.backend)
    if options.restore and options.dry_run:
        raise ConfigError("--dry-run writes nothing; --restore must go without it.")
    if options.restore:
        recovery.restore_sweep(store, options.sweep)
    reader = open_reader(store)
    try:
        experiment, sweep = lookup.find(reader, options.experiment, options.sweep, is_sweep=True)
    except ConfigError as error:
        deleted = recovery.deleted_sweeps(connect(store), options.sweep)
        if deleted:
            raise recovery.deleted_error(deleted[0].info.run_id) from error
        raise
    archive = Archive(reader, store, sweep.experiment_id)
    return app.ResumeRequest(archive, experiment, sweep, options.ended, backend, limits)


def _backend(where: str) -> BackendConfig:
    """The backend of a name, or of the address of a Dask scheduler. Raises ConfigError."""
    if where in BACKENDS:
        return BACKENDS[where].config(name=where)
    if ":" in where:
        return DaskConfig(name="dask", address=where)
    raise ConfigError(
        f"--backend must be one of {', '.join(BACKENDS)}, or the address of a Dask scheduler "
        f"such as tcp://HOST:8786, got {where!r}."
    )
