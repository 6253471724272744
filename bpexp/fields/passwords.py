"""Replaces passwords, tokens and secret keys by ``***``, before they are shown or stored.

>>> mask("postgresql://me@work:secret@host/db?PASSWORD=a b&timeout=3")
'postgresql://me@work:***@host/db?PASSWORD=***&timeout=3'

A secret is found by its place in an address, by the end of the name that it is given to
(``PGPASSWORD``, ``MLFLOW_TRACKING_TOKEN``, ``aws_secret_access_key``), or by the form in which
services issue it. All patterns take linear time, since they search whole files.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

_NAME = (
    "(?:password|passwd|passphrase|pwd|token|secret|signature|credentials?"
    "|(?:secret|access|account|api|private)[._-]?key)"
)
"""How a name ends whose value is secret."""
_ADDRESS = re.compile(r"(?<![\w+.-])([\w+.-]+://[^:/]*):.*@", re.DOTALL)
"""User name and password as SQLAlchemy reads them: both may hold any characters but these. A
password ends at the last @, although one that is meant for it must be written as %40."""
_USER_OF_HTTP = re.compile(
    r"(?<![\w.-])((?:\w{1,9}\+)?https?://)[^\s/?#@:'\"*]+(?=@)", re.IGNORECASE
)
"""The part before @ without a colon, which is the place of a token in an address of HTTP."""
_SETTING = re.compile(rf"(?i:({_NAME}|(?<=[?&;])sig)(=|%3D))[^&]*")
_ADDRESS_IN_TEXT = re.compile(
    r"(?<![\w+.-])([\w+.-]+://[^:/\s'\"]*):"
    r"[^\n'\"]{0,4000}(?:['\"](?![\s,;:.)\]}]|\Z)[^\n'\"]{0,4000}){0,9}@"
)
"""A quote belongs to the password, unless it is followed by what follows a quoted address."""
_QUERY = re.compile(rf"(?i:((?:[?&]|%3B|%26)(?:[\w.-]{{0,60}}{_NAME}|sig)(?:=|%3D)))[^&\r\n'\"]*")
_ISSUED = re.compile(
    r"(?<![\w-])(gh[opsru]_|github_pat_|glpat-|hf_|xox[abp]-|dapi|sk-|npm_|pypi-|AIza)"
    r"(?=[\w-]{0,60}\d)[\w-]{20,}"
    r"|(?<![\w-])(eyJ)[\w-]{9,}\.eyJ[\w-]{9,}\.[\w-]+"
    r"|(?i:(\bbearer\s+|\bauthorization[\"']?\s?[:=]\s?[\"']?\w+\s+))[\w.~+/=-]{8,}"
)
"""Tokens of GitHub, GitLab, Hugging Face, Slack, Databricks, OpenAI, npm, PyPI and Google, JSON web
tokens, and HTTP headers."""
_CONNECTION = re.compile(
    r"(?i:(\b(?:host|hostaddr|server|port|user|uid|dbname|database)=[^\s;,'\"=]{1,100}[\s;]{1,9}"
    r"(?:\w{1,15}(?: \w{1,15})?=[^\s;,'\"=]{0,100}[\s;]{1,9}){0,9}(?:password|pwd)=)"
    r"|(\b(?:machine|login)[ \t]{1,9}[^\s'\"]{1,100}[ \t]{1,9}"
    r"(?:login[ \t]{1,9}[^\s'\"]{1,100}[ \t]{1,9})?password[ \t]{1,9}))"
    r"(?![${%])[^\s;'\"]+"
)
"""Settings of a connection in one text: ``host=a password=b``, ``Server=a;Pwd=b``; a line of a
``.netrc`` file: ``machine a login b password c``."""
_OPTION = re.compile(rf"(?i:((?<![\w-])--[\w-]{{0,60}}{_NAME}\s))(?!\$|[-<\[]|[A-Z_]+\b)[^\s'\"]+")
"""An option of a command line, ``--token abc``; not ``--token TOKEN``, a description."""
_NETRC = re.compile(r"^(\W{0,200}password[ \t]{1,9})[^\s'\"=]+\s*$")
"""A line of a ``.netrc`` file that has nothing else: ``password abc``."""
_PRIVATE_KEY = re.compile(r"-----(BEGIN|END)[A-Z ]{0,40} PRIVATE KEY-----")
_QUOTED = (
    r"(?P<quote>\\?[\"'])(?!\$[({]|(?P=quote))"
    r"(?:\\.|''|[^\r\n]){1,4000}?(?P=quote)(?!(?P=quote))"
)
_TYPE = r"(?:\s?:\s?[\w.|\[\] ]{1,40})?"
_QUOTED_VALUE = re.compile(
    rf"(?i:({_NAME}(?:{_TYPE}\s{{0,9}}=\s{{0,9}}|\\?[\"']\]?\s?[:=,]\s?)[bfru]{{0,2}}))" + _QUOTED
)
"""``token: str = "..."``, ``"token": "..."``, ``x["TOKEN"] = "..."``, ``f("TOKEN", "...")``."""
_PLAIN_VALUE = re.compile(rf"(?i:({_NAME}=))(?!\$[({{])[^\s'\"&]+")
_VARIABLE = re.compile(rf"\b([A-Z0-9_]{{0,60}}{_NAME.upper()}=)(?!\$[({{])[^\s'\"&]+")
_LINE = re.compile(
    r"^(\W{0,200}(?:(?:export|set|env)\s+)?[\w.-]{0,60}"
    rf"{_NAME}[\"']?\s*[:=]\s*)(?:{_QUOTED}|(?!\$[({{]|[\"'])\S[^\r]*)",
    re.IGNORECASE,
)
"""A line of a configuration: ``password: a b``, ``export TOKEN=abc``."""
_FLOW = re.compile(rf"(?i:({_NAME}:\s+))(?!\$[({{])[^\s'\",}}]+")
"""An item of a YAML mapping in braces."""
_HINTS = ("://", "pass", "pwd", "token", "secret", "sig", "credential", "key", "bearer",
          "authorization", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "hf_",
          "xox", "dapi", "sk-", "npm_", "pypi-", "aiza", "eyj")  # fmt: skip
"""A line without any of these has nothing to mask."""
_MIN_PIECE = 3
"""Shorter pieces of a password may be parts of the words of a message."""


def mask(value: str) -> str:
    """Mask the password of one address, or of one setting whose value is secret or an address.

    >>> mask("tracking.uri=http://host?token=abc"), mask("env.AWS_SECRET_ACCESS_KEY=a b")
    ('tracking.uri=http://host?token=***', 'env.AWS_SECRET_ACCESS_KEY=***')
    """
    masked = _SETTING.sub(r"\1\2***", _ADDRESS.sub(r"\1:***@", value))
    return _USER_OF_HTTP.sub(r"\1***", masked)


def mask_text(text: str) -> str:
    """Mask the passwords in all addresses of a text, and the values of variables like PGPASSWORD.

    >>> mask_text("cannot open 'mysql://me:a b@host/db': refused; PGPASSWORD=secret was used")
    "cannot open 'mysql://me:***@host/db': refused; PGPASSWORD=*** was used"
    """
    return _PLAIN_VALUE.sub(r"\1***", _mask_everywhere(text))


def mask_pieces(text: str, address: str) -> str:
    """Mask in an error message what its library took for another part of an address.

    >>> mask_pieces("no host 'secret%zz' for 'me'", "http://me:secret%zz#x@host")
    "no host '***' for 'me'"
    """
    found = _ADDRESS.match(address)
    password = found[0][len(found[1]) + 1 : -1] if found else ""
    pieces = {password, unquote(password), *re.split(r"[/?#@:\[\]&=]", password)}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _MIN_PIECE:
            text = text.replace(piece, "***")
    return text


def mask_line(line: str, *, is_code: bool) -> str:
    """Mask the passwords in a line of a file.

    Args:
        line: One line.
        is_code: Whether a value without quotes is the name of a variable, not a text.

    >>> mask_line("password: a b", is_code=False), mask_line("password: str", is_code=True)
    ('password: ***', 'password: str')
    >>> mask_line('token = "abc"  # mine', is_code=True)
    'token = "***"  # mine'
    """
    lower = line.lower()
    if not any(hint in lower for hint in _HINTS):
        return line
    if is_code:
        return _VARIABLE.sub(r"\1***", _mask_everywhere(line))
    masked = _OPTION.sub(r"\1***", _NETRC.sub(r"\1***", mask_text(line)))
    return _FLOW.sub(r"\1***", _LINE.sub(_masked_value, masked))


def mask_lines(lines: Sequence[str], *, is_code: bool) -> Iterator[str]:
    """Mask the passwords in neighboring lines of a file.

    The lines between those that begin and end a private key, which may be cut off, are masked
    whole.

    Args:
        lines: The lines.
        is_code: See ``mask_line``.

    >>> key = ["-----BEGIN PRIVATE KEY-----", "MIIE", "-----END PRIVATE KEY-----", "pwd: x"]
    >>> list(mask_lines(key, is_code=False))[1:]
    ['***', '-----END PRIVATE KEY-----', 'pwd: ***']
    """
    markers = [_PRIVATE_KEY.search(line) for line in lines]
    first = next((marker for marker in markers if marker is not None), None)
    is_inside = first is not None and first[1] == "END"
    for line, marker in zip(lines, markers, strict=True):
        if marker is not None:
            is_inside = marker[1] == "BEGIN"
        is_key = is_inside and marker is None
        yield "***" if is_key else mask_line(line, is_code=is_code)


def _mask_everywhere(text: str) -> str:
    """Mask what is secret in messages and in files of any kind."""
    if "@" in text:
        text = _USER_OF_HTTP.sub(r"\1***", _ADDRESS_IN_TEXT.sub(r"\1:***@", text))
    text = _ISSUED.sub(r"\1\2\3***", _QUERY.sub(r"\1***", text))
    text = _CONNECTION.sub(r"\1\2***", text)
    return _QUOTED_VALUE.sub(_masked_value, text)


def _masked_value(found: re.Match[str]) -> str:
    """Keep the name and the quotes."""
    quote = found["quote"] or ""
    return f"{found[1]}{quote}***{quote}"
