"""Replaces passwords in addresses of stores by ``***``, before they are shown or stored.

>>> mask("postgresql://me@work:secret@host/db?PASSWORD=a b&timeout=3")
'postgresql://me@work:***@host/db?PASSWORD=***&timeout=3'
"""

import re

_QUERY = r"(?i:([?&](?:\w*password|passwd|pwd|token|secret)=))"
_ADDRESS = re.compile(r"([\w+.-]+://[^:/]*):.*@", re.DOTALL)
"""User name and password as SQLAlchemy reads them: both may hold any characters but these. A
password ends at the last @, although one that is meant for it must be written as %40."""
_ADDRESS_IN_TEXT = re.compile(r"([\w+.-]+://[^:/\s'\"]*):[^\n'\"]*@")
_VARIABLE = re.compile(r"\b([A-Z_]*(?:PASSWORD|PASSWD))=(\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"&]+)")


def mask(value: str) -> str:
    """Mask the password of one address, or of one setting whose value is an address."""
    value = _ADDRESS.sub(r"\1:***@", value)
    return re.sub(_QUERY + "[^&]*", r"\1***", value)


def mask_text(text: str) -> str:
    """Mask the passwords of all addresses in a text, and the values of variables like PGPASSWORD.

    >>> mask_text("cannot open 'mysql://me:a b@host/db': refused; PGPASSWORD=secret was used")
    "cannot open 'mysql://me:***@host/db': refused; PGPASSWORD=*** was used"
    """
    text = _ADDRESS_IN_TEXT.sub(r"\1:***@", text)
    text = re.sub(_QUERY + r"[^&\n'\"]*", r"\1***", text)
    return _VARIABLE.sub(r"\1=***", text)
