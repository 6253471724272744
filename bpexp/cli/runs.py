"""``bpexp runs``: list the tracked runs as a table, CSV or JSON."""

import sys
from collections.abc import Sequence

from bpexp.cli.commands import check_experiment, existing_store, positive, store_parser
from bpexp.cli.screen import console
from bpexp.cli.tables import frame_table
from bpexp.tracking import lookup, read
from bpexp.tracking.store import connect

TABLE_ROWS = 50
"""Runs in a table if ``-n`` does not say how many."""


def main(arguments: Sequence[str]) -> None:
    """Print the runs of an experiment."""
    parser = store_parser("runs", "List the runs, newest first.")
    parser.add_argument(
        "--sweep", help="only the runs of this sweep (id, start of an id, name, or latest)"
    )
    parser.add_argument(
        "--filter", default="", help='an MLflow filter, such as "metrics.final_loss < 0.1"'
    )
    parser.add_argument("--format", choices=["table", "csv", "json"], default="table")
    parser.add_argument(
        "-n", type=positive, help=f"number of runs (default: all; {TABLE_ROWS} in a table)"
    )
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    client = connect(store)
    experiment, sweep = options.experiment, options.sweep
    if sweep:
        experiment, run = lookup.find(client, experiment, sweep, sweeps=True)
        sweep = run.info.run_id
    else:
        check_experiment(client, store, experiment)
    runs = lookup.search(client, experiment, options.filter, sweep)
    limit = options.n or (TABLE_ROWS if options.format == "table" else None)
    frame = read.frame(runs[:limit])
    if options.format == "csv":
        frame.to_csv(sys.stdout, index=False)
    elif options.format == "json":
        print(frame.to_json(orient="records", indent=2))
    else:
        out = console()
        out.print(frame_table(out, frame))
        more = "; -n for more" if len(runs) > len(frame) else ""
        out.print(f"{len(frame)} of {len(runs)} runs{more}")
