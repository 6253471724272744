"""``bpexp extend``: add runs to a stored sweep, and train them."""

from collections.abc import Sequence

from bpexp import app
from bpexp.cli.resume import carry_out, request_of, sweep_parser
from bpexp.cli.terminal import TerminalReporter
from bpexp.sweeps import budget


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of the completed sweep."""
    parser = sweep_parser(
        "extend", "Add runs to a sweep: its settings with further values, such as seeds."
    )
    parser.add_argument(
        "settings",
        metavar="KEY=V1,V2,...",
        nargs="+",
        help="values to add, such as 'seed=range(10,50)', search.trials=100; and budget.runs=10",
    )
    options = parser.parse_args(arguments)
    limits, added = budget.split(options.settings)
    request = request_of(options, budget.of_arguments(limits))
    reporter = TerminalReporter()
    return carry_out(app.extended(request, added, reporter), options, reporter)
