"""``bpexp explain``: print one training step of the configured network, number by number."""

from collections.abc import Sequence

from bpexp.cli import errors
from bpexp.explain import command


def main(arguments: Sequence[str]) -> None:
    """Print or write the page."""
    settings = [text for text in arguments if not text.startswith("-")]
    # Status 1, as for a run with the same settings.
    with errors.exit_on_error(settings, 1):
        command.main(arguments)
