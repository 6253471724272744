"""``bpexp resume``: train the missing runs of a sweep that was interrupted or failed."""

from collections.abc import Sequence

from bpexp import app
from bpexp.cli.commands import existing_store, store_parser
from bpexp.cli.terminal import TerminalReporter
from bpexp.config.schema import BackendConfig, DaskConfig
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of the completed sweep."""
    parser = store_parser("resume", "Finish a sweep that was interrupted: train its missing runs.")
    parser.add_argument("sweep", metavar="SWEEP", help="id, start of an id, name, or latest")
    parser.add_argument(
        "--ended",
        action="store_true",
        help="confirm that its process on another machine has ended",
    )
    parser.add_argument(
        "--backend",
        metavar="WHERE",
        help="local, or the address of a Dask scheduler (default: as before)",
    )
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    backend = None if options.backend is None else _backend(options.backend)
    reader = open_reader(store)
    experiment, sweep = lookup.find(reader, options.experiment, options.sweep, sweeps=True)
    archive = Archive(reader, store, sweep.experiment_id)
    request = app.ResumeRequest(archive, experiment, sweep, options.ended, backend)
    finished = app.resume_sweep(request, TerminalReporter())
    return app.EXIT_STATUS[finished.status]


def _backend(where: str) -> BackendConfig:
    if where == "local":
        return BackendConfig(name="local")
    return DaskConfig(name="dask", address=where)
