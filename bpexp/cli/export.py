"""``bpexp export``: log the network of a run as an MLflow model, and as ONNX."""

from collections.abc import Sequence

from bpexp.cli.commands import existing_store, store_parser
from bpexp.export.publish import publish
from bpexp.tracking import lookup
from bpexp.tracking.archive import Archive
from bpexp.tracking.factory import open_reader


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
    reader = open_reader(store)
    _, named = lookup.find(reader, options.experiment, options.run)
    run = lookup.best_run(reader, named)
    archive = Archive(reader, store, run.experiment_id)
    print("\n".join(publish(archive, run, onnx=options.onnx)))
