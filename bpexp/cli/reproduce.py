"""``bpexp reproduce``: train stored runs again and compare the results bit by bit."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bpexp.cli.commands import BAD_INPUT, Parser, existing_store, store_parser
from bpexp.cli.screen import console
from bpexp.fields.checks import ConfigError, Workers
from bpexp.reproduce import report, trajectory
from bpexp.reproduce.verify import Finding
from bpexp.sweeps.sweep_integrity import AlteredFileError
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.bundle import open_bundle
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
    Workers()("--n-jobs", options.n_jobs)
    show = partial(console().print, soft_wrap=True)
    with named_runs("reproduce", options) as (archive, named):
        status = report.reproduce(archive, named, options.engine, options.n_jobs, show)
        # Without the data of a run, the plan of its sweep cannot be read either.
        sweeps = [run for run in named if run.is_sweep] if status != BAD_INPUT else []
        for run in sweeps:
            try:
                found = trajectory.check(run, archive, options.engine, options.n_jobs)
            except AlteredFileError:
                # That is named already.
                continue
            except ConfigError as error:
                # The verdicts on its runs are shown already, and other sweeps may follow.
                show(f"{Finding.UNREADABLE}: {run.label}: {error}")
                status = status or BAD_INPUT
                continue
            for checked in found:
                show(checked.sentence)
                status = status or int(checked.is_identical is False)
    return status


def add_runs(parser: Parser) -> None:
    """Add the arguments RUN, ``--all`` and ``--data``, which select stored runs."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="*",
        help="runs or sweeps: ids, starts of ids, names, or latest; or a bundle: sweep.zip",
    )
    parser.add_argument("--all", action="store_true", help="all finished runs of the experiment")
    parser.add_argument(
        "--data",
        metavar="FILE",
        action="append",
        default=[],
        help="a data file of a bundle that was made without it",
    )


@contextmanager
def named_runs(command: str, options: Namespace) -> Iterator[tuple[Archive, list[StoredRun]]]:
    """Open the archive and the runs and sweeps of the arguments RUN; none for ``--all``.

    Args:
        command: The name of the command, for messages.
        options: The parsed arguments of ``store_parser`` and ``add_runs``.

    Raises:
        ConfigError: No run, or a run or bundle that does not exist, was named.
    """
    if any(name.endswith(".zip") for name in options.run):
        if len(options.run) > 1 or options.all or options.uri is not None:
            raise ConfigError(f"{command} must be given one bundle without runs, --all or --uri.")
        with open_bundle(Path(options.run[0]), [Path(name) for name in options.data]) as bundle:
            yield bundle, [bundle.run]
        return
    if options.data:
        raise ConfigError("--data must go with a bundle, such as sweep.zip.")
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
    yield Archive(reader, store, experiment), runs
