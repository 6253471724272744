"""``bpexp export``: log the network of a run as an MLflow model, and as ONNX."""

from collections.abc import Sequence

from bpexp.cli.commands import add_best_run, best_run, store_parser
from bpexp.export.publish import publish


def main(arguments: Sequence[str]) -> None:
    """Log the model and print where it is."""
    parser = store_parser("export", "Log the network of a run as an MLflow model.")
    add_best_run(parser)
    parser.add_argument("--onnx", action="store_true", help="log model.onnx as well")
    options = parser.parse_args(arguments)
    run, archive = best_run(options, options.run)
    print("\n".join(publish(archive, run, onnx=options.onnx)))
