"""``bpexp export``: log the network of a run as an MLflow model, and as ONNX."""

from collections.abc import Sequence

from bpexp.cli.commands import add_best_run, best_run, store_parser
from bpexp.export.publish import publish
from bpexp.tracking.registration import Registration


def main(arguments: Sequence[str]) -> None:
    """Log the model and print where it is."""
    parser = store_parser("export", "Log the network of a run as an MLflow model.")
    add_best_run(parser)
    parser.add_argument("--onnx", action="store_true", help="log model.onnx as well")
    parser.add_argument(
        "--register", metavar="NAME", help="create a version of this model in the model registry"
    )
    parser.add_argument(
        "--alias",
        default="champion",
        help="the alias that the new version gets (default: champion)",
    )
    options = parser.parse_args(arguments)
    run, archive = best_run(options, options.run)
    named = None if options.register is None else Registration(options.register, options.alias)
    print("\n".join(publish(archive, run, onnx=options.onnx, registration=named)))
