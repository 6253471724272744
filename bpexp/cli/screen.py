"""The console for standard output: prints text literally and survives a closed pipe.

>>> from bpexp.cli.screen import Screen
>>> Screen(width=80).print("[red] and \\x1b[31m are printed as they are")
[red] and \\x1b[31m are printed as they are
"""

import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from bpexp.fields.checks import escaped


class Screen(Console):
    """A rich console without markup that escapes control characters.

    Column, run and experiment names come from files and stores, so they must not be able to
    change colors or move the cursor.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        r"""Return the text with control characters escaped, such as ESC as ``\x1b``."""
        return super().render_str(escaped(text), **options)

    def on_broken_pipe(self) -> None:
        """Stop printing when the reader (head, less) has closed the pipe; the sweep continues."""
        self.quiet = True
        discard_output()


def console() -> Console:
    """Return a console on standard output; output to a pipe is plain and not wrapped."""
    screen = Screen()
    return screen if screen.is_terminal else Screen(width=10_000, no_color=True)


def discard_output() -> None:
    """Redirect standard output to the null device, after a broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
