"""``bpexp verify``: check that stored runs are as they were written, without training."""

from collections.abc import Sequence
from functools import partial

from bpexp.cli.commands import store_parser
from bpexp.cli.reproduce import add_runs, named_runs
from bpexp.cli.screen import console
from bpexp.reproduce import report


def main(arguments: Sequence[str]) -> int:
    """Return 0 if all runs match their digests, 1 if any does not, and 2 if any is unreadable."""
    parser = store_parser("verify", "Compare stored artifacts and metrics with their digests.")
    add_runs(parser)
    with named_runs("verify", parser.parse_args(arguments)) as (archive, named):
        return report.verify_stored(archive, named, partial(console().print, soft_wrap=True))
