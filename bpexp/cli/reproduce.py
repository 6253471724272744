"""``bpexp reproduce``: train stored runs again and compare the results bit by bit."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from bpexp.cli.commands import add_runs, existing_store, store_parser
from bpexp.cli.screen import console
from bpexp.fields.checks import ConfigError
from bpexp.reproduce import report, trajectory
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import StoredRun


def main(arguments: Sequence[str]) -> int:
    """Return 0 if all runs are bit-identical, 1 if any is not, and 2 if any cannot be read."""
    parser = store_parser("reproduce", "Train stored runs again and compare every bit.")
    add_runs(parser)
    parser.add_argument(
        "--engine",
        choices=["auto", "numpy", "compiled"],
        default="auto",
        help="the engine to train with (default: auto, which means compiled)",
    )
    parser.add_argument(
        "--n-jobs", type=int, default=-1, help="number of workers (default: -1, all processors)"
    )
    options = parser.parse_args(arguments)
    if options.n_jobs == 0:
        raise ConfigError("--n-jobs must be a number of workers, or -1 for all, got 0.")
    archive, named = named_runs("reproduce", options)
    runs = report.select_runs(archive, named)
    show = partial(console().print, soft_wrap=True)
    status = report.reproduce(archive, runs, options.engine, options.n_jobs, show)
    for run in named:
        searched = trajectory.check(run, archive) if run.is_sweep else None
        if searched is not None:
            show(searched.sentence)
            status = status or int(not searched.is_identical)
    return status


def named_runs(command: str, options: Namespace) -> tuple[Archive, list[StoredRun]]:
    """Return the archive and the runs and sweeps of the arguments RUN; none for ``--all``.

    Args:
        command: The name of the command, for messages.
        options: The parsed arguments ``run``, ``all``, ``uri`` and ``experiment``.

    Raises:
        ConfigError: No run, or a run that does not exist, was named.
    """
    store = existing_store(options.uri)
    if bool(options.run) == options.all:
        raise ConfigError(f"{command} must be given runs, sweeps or --all.")
    reader = open_reader(store)
    found = [lookup.find(reader, options.experiment, name) for name in options.run]
    experiments = sorted({experiment for experiment, _ in found})
    if len(experiments) > 1:
        raise ConfigError(f"The runs must be of one experiment, got {', '.join(experiments)}.")
    runs = [run for _, run in found]
    experiment = runs[0].experiment_id if runs else lookup.experiment_id(reader, options.experiment)
    return Archive(reader, store, experiment), runs
