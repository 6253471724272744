"""A terminal that shows what it is given, whoever wrote it."""

import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from bpexp.fields.checks import escaped


class Screen(Console):
    """Takes nothing in a text for markup, and shows control characters instead of obeying them.

    Names of columns, runs and experiments come from files and stores.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it is, with ESC as ``\\x1b``."""
        return super().render_str(escaped(text), **options)

    def on_broken_pipe(self) -> None:
        """The reader (head, less) has left: nothing more is said, and the work goes on."""
        self.quiet = True
        mute()


def mute() -> None:
    """What is still written to standard output goes nowhere: its reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
