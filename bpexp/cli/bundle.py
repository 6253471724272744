"""``bpexp bundle``: write a sweep to a zip file that can be checked without its store."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bpexp.cli.commands import existing_store, store_parser
from bpexp.export import bundle
from bpexp.fields.checks import ConfigError
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader


def main(arguments: Sequence[str]) -> None:
    """Write the bundle and print how to check it."""
    parser = store_parser(
        "bundle", "Write a sweep to a zip file, for verify and reproduce on another machine."
    )
    parser.add_argument(
        "sweep", metavar="SWEEP", help="a sweep or a run: id, start of an id, name, or latest"
    )
    parser.add_argument("-o", metavar="FILE", help="the zip file (default: SWEEP.zip)")
    parser.add_argument(
        "--without-data", action="store_true", help="leave out the data files of data=file"
    )
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    reader = open_reader(store)
    experiment, run = lookup.find(reader, options.experiment, options.sweep, sweeps=True)
    target = Path(options.o or f"{run.run_id[:8]}.zip")
    if target.suffix != ".zip":
        raise ConfigError(f"-o must end in .zip, got {str(target)!r}.")
    archive = Archive(reader, store, run.experiment_id)
    print(bundle.write(archive, experiment, run, target, data=not options.without_data))
    print(f"Check: bpexp verify {shlex.quote(str(target))}")
    print(f"Train again: bpexp reproduce {shlex.quote(str(target))}")
