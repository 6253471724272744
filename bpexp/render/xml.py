"""Text as the content or an attribute of an element of HTML or SVG.

>>> escape('<b> "\\x1b"')
'&lt;b&gt; &quot;\\\\x1b&quot;'
"""

import html

from bpexp.fields.checks import escaped


def escape(text: str) -> str:
    """The text without markup; XML does not allow control characters, which are Python escapes."""
    return html.escape(escaped(text))
