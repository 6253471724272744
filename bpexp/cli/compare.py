"""``bpexp compare``: print what differs between runs."""

from collections.abc import Sequence

from rich.table import Table

from bpexp.analysis import run_details
from bpexp.cli.commands import existing_store, store_parser
from bpexp.cli.screen import console
from bpexp.fields.checks import ConfigError
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader


def main(arguments: Sequence[str]) -> None:
    """Print a table of the settings, metrics and environment that differ."""
    parser = store_parser("compare", "Print what differs between runs.")
    parser.add_argument(
        "run", metavar="RUN", nargs="+", help="ids, starts of ids, names, or latest"
    )
    parser.add_argument("--all", action="store_true", help="also digests and packages")
    options = parser.parse_args(arguments)
    if len(options.run) < 2:
        raise ConfigError(f"compare needs two runs or more: bpexp compare {options.run[0]} RUN.")
    store = existing_store(options.uri)
    reader = open_reader(store)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    all_details = []
    for name in options.run:
        run = lookup.find(reader, options.experiment, name).run
        table.add_column(run.short_id)
        archive = Archive(reader, store, run.experiment_id)
        details = run_details.read_environment(archive, run)
        if details.problems:
            raise ConfigError(details.problems[0])
        all_details.append(run_details.details(run, details))
    differences = run_details.differences(all_details)
    folded = [] if options.all else [key for key in differences if run_details.is_folded(key)]
    for key, values in differences.items():
        if key not in folded:
            table.add_row(key, *values)
    out = console()
    if table.row_count:
        out.print(table)
    else:
        out.print("No difference in configuration, metrics or environment.")
    if folded:
        out.print(f"Digests and packages that differ: {len(folded)} (--all)")
