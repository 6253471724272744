"""``bpexp runs``: list the tracked runs as a table, CSV or JSON."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace

from bpexp.cli.commands import existing_store, experiment_id, positive, store_parser
from bpexp.cli.screen import console
from bpexp.cli.tables import frame_table
from bpexp.fields.checks import ConfigError
from bpexp.tracking import lookup, run_tables
from bpexp.tracking.factory import open_reader
from bpexp.tracking.reading import Query

TABLE_ROWS = 50
"""Number of runs in a table without ``-n``."""


def main(arguments: Sequence[str]) -> None:
    """Print the runs of an experiment."""
    options = _parser().parse_args(arguments)
    store = existing_store(options.uri)
    reader = open_reader(store)
    query = Query(options.filter)
    if options.sweep:
        sweep = lookup.find(reader, options.experiment, options.sweep, is_sweep=True).run
        if not sweep.is_sweep:
            raise ConfigError(f"--sweep takes a sweep, got {sweep.label}, which is a single run.")
        experiment, query = sweep.experiment_id, replace(query, sweep=sweep.run_id)
    else:
        experiment = experiment_id(reader, store, options.experiment)
    limit = options.n or (TABLE_ROWS if options.format == "table" else None)
    parts = run_tables.table_parts()
    if options.format == "table":
        parts = replace(parts, params=())
    if options.sort:
        runs = run_tables.sorted_runs(reader, experiment, query, options.sort, parts, limit)
    else:
        runs = list(reader.search(experiment, query, parts, limit=limit))
    frame = run_tables.frame(runs)
    if options.format == "csv":
        frame.to_csv(sys.stdout, index=False)
    elif options.format == "json":
        print(frame.to_json(orient="records", indent=2))
    else:
        out = console()
        out.print(frame_table(out, frame))
        total = reader.count(experiment, query)
        more = "; -n for more" if total > len(frame) else ""
        out.print(f"{len(frame)} of {total} runs{more}")


def _parser() -> ArgumentParser:
    parser = store_parser("runs", "List the runs, newest first.")
    parser.add_argument(
        "--sweep", help="only the runs of this sweep (id, start of an id, name, or latest)"
    )
    parser.add_argument(
        "--filter", default="", help='an MLflow filter, such as "metrics.final_loss < 0.1"'
    )
    parser.add_argument(
        "--format",
        choices=["table", "csv", "json"],
        default="table",
        help="how the list is written (default: table)",
    )
    parser.add_argument(
        "-n", type=positive, help=f"number of runs (default: all; {TABLE_ROWS} in a table)"
    )
    parser.add_argument(
        "--sort", metavar="KEY", help="by a metric, the best first, or a setting (default: newest)"
    )
    return parser
