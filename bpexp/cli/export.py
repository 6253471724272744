"""``bpexp export``: log the network of a run as an MLflow model, and as ONNX."""

from argparse import Namespace
from collections.abc import Sequence

from bpexp.cli.commands import add_best_run, best_run, store_parser
from bpexp.export.publish import publish
from bpexp.fields.checks import ConfigError
from bpexp.tracking.registration import Registration


def main(arguments: Sequence[str]) -> None:
    """Log the model and print where it is."""
    parser = store_parser("export", "Log the network of a run as an MLflow model.")
    add_best_run(parser)
    parser.add_argument("--onnx", action="store_true", help="log model.onnx as well")
    parser.add_argument(
        "--register", metavar="NAME", help="create a version of this model in the model registry"
    )
    parser.add_argument("--alias", help="the alias that the new version gets (default: champion)")
    options = parser.parse_args(arguments)
    registration = _registration(options)
    run, archive = best_run(options, options.run)
    print("\n".join(publish(archive, run, onnx=options.onnx, registration=registration)))


def _registration(options: Namespace) -> Registration | None:
    """Where to register the model; None for nowhere. Raises ConfigError."""
    if options.register is not None:
        return Registration(
            options.register, "champion" if options.alias is None else options.alias
        )
    if options.alias is not None:
        raise ConfigError("--alias is of a registered model; add --register NAME.")
    return None
