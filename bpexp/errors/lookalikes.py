"""Typographic characters, which word processors and web pages put in place of typed ones.

>>> without_lookalikes("lr=\u20130.1\u201a1"), without_lookalikes("data=\u201airis\u2018")
('lr=-0.1,1', 'data=iris')
"""

import re
import unicodedata

_LOOKALIKES = str.maketrans({
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"), "\u2014": "--",
    **dict.fromkeys("\u3001\u060c\u201a", ","),
    **dict.fromkeys("\u2018\u2019\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u00ab\u00bb\u00b4"),
})  # fmt: skip
"""Dashes and commas; quotes go."""
_LOW_QUOTES = re.compile("\u201a([^\u201a\u2018\u2019]*)[\u2018\u2019]")
"""A German quotation, whose first mark looks like a comma."""


def without_lookalikes(text: str) -> str:
    """The text without typographic dashes, commas and quotes, and without full-width letters."""
    text = _LOW_QUOTES.sub(r"\1", text)
    return unicodedata.normalize("NFKC", text.translate(_LOOKALIKES))
