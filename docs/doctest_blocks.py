"""A Griffe extension that renders the examples in docstrings as code."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.M)


class DoctestBlocks(griffe.Extension):
    """Put examples that do not stand in an ``Examples:`` section into fenced code blocks.

    Without this, Markdown would take ``>>>`` for quotations and lists in the output for links.
    """

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Change all docstrings of a package after it has been loaded."""
        self._fence(pkg)

    def _fence(self, found: griffe.Object) -> None:
        if found.docstring:
            found.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", found.docstring.value)
        for member in found.members.values():
            if not member.is_alias:
                self._fence(member)
