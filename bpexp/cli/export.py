"""``bpexp export``: log the network of a run as an MLflow model, and as ONNX."""

from collections.abc import Sequence

from bpexp.cli.commands import existing_store, store_parser
from bpexp.export.publish import publish
from bpexp.tracking import lookup
from bpexp.tracking.store import connect


def main(arguments: Sequence[str]) -> None:
    """Log the model and print where it is."""
    parser = store_parser("export", "Log the network of a run as an MLflow model.")
    parser.add_argument(
        "run",
        metavar="RUN",
        help="id, start of an id, name, or latest; of a sweep its best run is taken",
    )
    parser.add_argument("--onnx", action="store_true", help="log model.onnx as well")
    options = parser.parse_args(arguments)
    store = existing_store(options.uri)
    client = connect(store)
    _, run = lookup.find(client, options.experiment, options.run)
    print("\n".join(publish(store, client, lookup.best_run(client, run), onnx=options.onnx)))
