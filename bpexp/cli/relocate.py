"""``bpexp relocate``: let a copied or moved SQLite store use the artifacts in its own folder."""

from collections.abc import Sequence

from bpexp.cli.commands import Parser, existing_store
from bpexp.tracking import relocation


def main(arguments: Sequence[str]) -> None:
    """Replace the former folders of artifacts in the tables, and print them."""
    parser = Parser(
        prog="bpexp relocate",
        description="Make a copied or moved SQLite store use the artifacts in its own folder.",
    )
    parser.add_argument(
        "--uri", help="the store (default: MLFLOW_TRACKING_URI, or ./outputs/mlflow.db)"
    )
    options = parser.parse_args(arguments)
    print("\n".join(relocation.relocate(existing_store(options.uri))))
