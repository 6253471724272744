"""Replaces passwords, tokens and secret keys by ``***``, before they are shown or stored.

>>> mask("postgresql://me@work:secret@host/db?PASSWORD=a b&timeout=3")
'postgresql://me@work:***@host/db?PASSWORD=***&timeout=3'

A secret is found by its place in an address or in a command, by the end of the name that it is
given to (``PGPASSWORD``, ``MLFLOW_TRACKING_TOKEN``, ``aws_secret_access_key``), or by the form in
which services issue it. Patches, messages and recorded command lines are masked alike. All patterns
take linear time, since they search whole files.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from urllib.parse import unquote

_OWNERS = (
    "admin|db|ftp|http|imap|key|ldap|mail|mysql|postgres|proxy|redis|root|smtp|store|sudo|user"
)
_NAME = (
    "(?:password|passwd|passphrase|pwd|token|secret|signature|credentials?"
    rf"|(?:{_OWNERS})[_-]?(?:pass|pw)"
    "|(?:secret|access|account|api|auth|encryption|master|private|signing)[._-]?key)"
)
"""How a name ends whose value is secret. ``pass`` alone is not: ``forward_pass``."""
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
    r"|(?i:(\bbearer\s+|\bauthorization[\"']?\s?[:=]\s?[\"']?\w+\s+"
    r"|\bcookie[\"']?:\s?[\"']?[\w.-]{1,60}=))[\w.~+/=%-]{8,}"
)
"""Tokens of GitHub, GitLab, Hugging Face, Slack, Databricks, OpenAI, npm, PyPI and Google, JSON web
tokens, and HTTP headers."""
_CONNECTION = re.compile(
    r"(?i:(\b(?:host|hostaddr|server|port|user|uid|dbname|database)=[^\s;,'\"=]{1,100}[\s;]{1,9}"
    r"(?:\w{1,15}(?: \w{1,15})?=[^\s;,'\"=]{0,100}[\s;]{1,9}){0,9}(?:pass|pw|password|pwd)=)"
    r"|(\b(?:machine|login)[ \t]{1,9}[^\s'\"]{1,100}[ \t]{1,9}"
    r"(?:login[ \t]{1,9}[^\s'\"]{1,100}[ \t]{1,9})?password[ \t]{1,9}))"
    r"(?![${%])[^\s;'\"]+"
)
"""Settings of a connection in one text: ``host=a password=b``, ``Server=a;Pwd=b``; a line of a
``.netrc`` file: ``machine a login b password c``."""
_NO_VALUE = (
    r"(?!(?!\*\*\*)[$%{<\[*,.;:)=+-]|[A-Z_]+\b"
    r"|(?:and|are|as|can|cannot|expected|for|from|has|if|in|is|it|may|must|needs?|not|of|option|or"
    r"|requires?|should|the|to|was|were|with|without)(?![^\s,.;:]))"
)
"""What follows the name of an option in a description of it."""
_ARGUMENT = (
    _NO_VALUE + r"(?:(?P<quote>\\?[\"'])(?![\s$,.;:)\]+])[^\r\n]{1,400}?(?P=quote)|[^\s'\"]+)"
)
_OPTION = re.compile(rf"(?i:((?<![\w-])--?[\w-]{{0,60}}{_NAME}\s{{1,9}}))" + _ARGUMENT)
"""An option of a command line, ``--token abc``; not ``--token TOKEN``, a description."""
_OPTION_IN_CODE = re.compile(
    rf"(?i:((?<![\w-])--?[\w-]{{0,60}}{_NAME}[=\s]{{1,9}}))"
    rf"{_NO_VALUE}(?!\w+[(.])(?=[^\s'\"]*\d)[^\s'\"]+"
)
_NEXT = r"(?:\s{1,9}|[\"'],\s{0,9}[\"'])"
"""Between an option and its value, also in a list of arguments."""
_COMMANDS = tuple(
    re.compile(
        rf"((?<![\w-])(?:{programs})\b(?:[^\r\n;|]{{0,400}}?[\s'\"])(?:{option}))" + _ARGUMENT
    )
    for programs, option in (
        (r"(?:mysql|mariadb|7z)[\w-]{0,20}|(?:un)?rar", r"-p(?!ort\b|rotocol\b)(?=[^\s,)\]])"),
        (r"mongo\w{0,20}|sshpass|beeline|cqlsh|cypher-shell|(?:docker|helm registry|podman|skopeo"
         r"|oras|az|cf|oc)\W{1,5}login", f"-p{_NEXT}?"),
        (r"bcp|ipmitool|isql|mosquitto_\w{3}|osql|sqlcmd|tsql|unzip|zip", f"-P{_NEXT}?"),
        (r"ldap\w{3,10}", f"-w{_NEXT}?"),
        ("(?:redis|valkey)-cli", f"(?:-a|--pass){_NEXT}"),
        (r"curl", rf"(?:-[uU]|--user|--proxy-user)(?:{_NEXT}|=)?[\"']?[^\s:'\"]{{1,100}}:"),
        (r"net|rpcclient|smbclient", rf"-U{_NEXT}?[\"']?[^\s%'\"]{{1,100}}%"),
        (r"openssl", r"-pass(?:in|out)?\s{1,9}pass:"),
        (r"sqlplus|sqlldr|impdp|expdp", r"[\w$#]{1,60}/(?=[^\s'\"]{1,200}@)"),
    )
)  # fmt: skip
"""Commands whose short option is followed by a password: ``mysql -pabc``, ``sshpass -p abc``."""
_USER_AND_PASSWORD = re.compile(
    r"((?<![\w-])-u ?[\w.$@{}-]{1,60}\s{1,9}-p)(?![$%{<\[*,.;:)=+-])[^\s'\"]+"
    r"|((?<![\w-])-p)(?![$%{<\[*,.;:)=+-])[^\s'\"]+(?=\s{1,9}-u ?\w)"
)
"""The options of MySQL without its name."""
_DSN = re.compile(
    r"(?<![\w.:/%+-])(?!(?:acct|im|mailto|sips?|xmpp):)([\w.%+-]{1,60}:)(?!//|\*\*\*@)(?:"
    r"[^\s'\"][^\r\n'\"]{0,200}?(?=@[a-z]\w{0,20}\([^\s'\"()]{0,200}\))"
    r"|[^\s'\"]{1,200}?(?=@(?:/\w|(?!sha\d)[\w.-]{1,100}:\d{2,5}(?!\w))))"
)
"""Addresses without ``://``: ``me:abc@tcp(host)/db``, as for Go, and ``me:abc@host:80``."""
_PGPASS = re.compile(
    r"(?<![^\s'\"=])((?:\\.|[\w.*/\[\]-]){1,100}(?<!\.py):(?:\d{2,5}|\*)"
    r":(?=[\w.$-]{0,60}[A-Za-z*])[\w.*$-]{1,100}:(?=[\w.@$-]{0,60}[A-Za-z*])[\w.@*$-]{1,100}:)"
    r"(?:\\.|[^\s'\"\\])+"
)
"""A line of a ``.pgpass`` file: ``host:5432:db:me:abc``."""
_NETRC = re.compile(r"^(\W{0,200}password[ \t]{1,9})[^\s'\"=]+\s*$")
"""A line of a ``.netrc`` file that has nothing else: ``password abc``."""
_PEM = re.compile(r"----[- ](BEGIN|END) ([A-Z0-9 ]{1,60})[- ]----")
"""The first or the last line of a key or of a certificate."""
_KEY_IN_LINE = re.compile(
    r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,9}-----)(?!\*\*\*-).{1,20000}?(?=-----END )"
)
_TEXT = re.compile(r"\w[\s,.()]{1,9}\w+\W")
"""What is in no line of a private key."""
_KEY_LINE = re.compile(
    r"\W{0,40}?(?=[\w+/]{0,75}[a-z])(?=[\w+/]{0,75}[A-Z])(?=[\w+/]{0,75}\d)"
    r"(?<![\w+/])[A-Za-z0-9+/]{64}(?:[A-Za-z0-9+/]{6}){0,2}(?![\w+/])\W{0,9}"
)
"""A line of 64, 70 or 76 characters in base64, as tools write keys."""
_LAST_KEY_LINE = re.compile(r"\W{0,40}?[A-Za-z0-9+/]{2,75}={0,2}\W{0,9}")
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
_ITEM = re.compile(
    rf"(?i:({_NAME}:\s{{1,9}}))(?!\$[({{])"
    rf"(?:(?=[\"'][^\s,;)+]){_QUOTED}|[^\s'\",}}]+)"
)
"""An item of a YAML mapping in braces, or a part of a message."""
_LINE_OF_TEXT = re.compile(
    rf"^(\W{{0,200}}[\w.-]{{0,60}}{_NAME}\s?:\s+)(?!\$[({{]|[\"'])\S[^\r\n]*", re.I | re.M
)
"""A line of a message that begins with a name: ``password: a b``."""
_HINTS = ("://", "pass", "pwd", "token", "secret", "sig", "credential", "key", "bearer",
          "authorization", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "hf_",
          "xox", "dapi", "sk-", "npm_", "pypi-", "aiza", "eyj", " -", "@", '"-', "'-", "pw",
          "cookie")  # fmt: skip
"""A line without any of these has nothing to mask."""
_PGPASS_COLONS = 4
_MIN_PIECE = 3
"""Shorter pieces of a password may be parts of the words of a message."""


def mask(value: str) -> str:
    """Mask the password of one address, or of one setting whose value is secret or an address.

    >>> mask("tracking.uri=http://host?token=abc"), mask("env.AWS_SECRET_ACCESS_KEY=a b")
    ('tracking.uri=http://host?token=***', 'env.AWS_SECRET_ACCESS_KEY=***')
    """
    masked = _SETTING.sub(r"\1\2***", _ADDRESS.sub(r"\1:***@", value))
    return mask_text(_USER_OF_HTTP.sub(r"\1***", masked))


def mask_value(name: str, value: str) -> str:
    """Mask the value of a setting if its name says that it is secret, or else as ``mask`` does.

    >>> mask_value("password", "abc"), mask_value("uri", "http://me:abc@host")
    ('***', 'http://me:***@host')
    """
    return mask(f"{name}={value}").removeprefix(f"{name}=")


def mask_text(text: str) -> str:
    """Mask the passwords in a message or a command line, which may have several lines.

    >>> mask_text("cannot open 'mysql://me:a b@host/db': refused; PGPASSWORD=secret was used")
    "cannot open 'mysql://me:***@host/db': refused; PGPASSWORD=*** was used"
    >>> mask_text("failed: mysqldump -u me -psecret db")
    'failed: mysqldump -u me -p*** db'
    """
    masked = _LINE_OF_TEXT.sub(r"\1***", _mask_plain(text))
    return "\n".join(_without_keys(masked.split("\n")))


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
    if not any(hint in lower for hint in _HINTS) and lower.count(":") < _PGPASS_COLONS:
        return line
    if is_code:
        masked = _OPTION_IN_CODE.sub(r"\1***", _mask_everywhere(line))
        return _VARIABLE.sub(r"\1***", masked)
    return _LINE.sub(_masked_value, _NETRC.sub(r"\1***", _mask_plain(line)))


def mask_lines(lines: Sequence[str], *, is_code: bool, is_in_key: bool = False) -> Iterator[str]:
    """Mask the passwords in neighboring lines of a file.

    The lines between those that begin and end a private key, which may be cut off, are masked
    whole.

    Args:
        lines: The lines.
        is_code: See ``mask_line``.
        is_in_key: Whether the first line is known to be a part of a private key.

    >>> key = ["-----BEGIN PRIVATE KEY-----", "MIIE", "-----END PRIVATE KEY-----", "pwd: x"]
    >>> list(mask_lines(key, is_code=False))[1:]
    ['***', '-----END PRIVATE KEY-----', 'pwd: ***']
    """
    for line in _without_keys(lines, is_in_key=is_in_key):
        yield line if line == "***" else mask_line(line, is_code=is_code)


class KeyMarker(Enum):
    """What the line before or after a private key says."""

    BEGIN = "BEGIN"
    END = "END"


def key_marker(line: str) -> KeyMarker | None:
    """Whether a private key begins or ends in a line; None in other lines.

    >>> key_marker("-----BEGIN RSA PRIVATE KEY-----"), key_marker("-----END PRIVATE KEY-----")
    (<KeyMarker.BEGIN: 'BEGIN'>, <KeyMarker.END: 'END'>)
    """
    found = [word for word, kind in _PEM.findall(line) if "PRIVATE" in kind]
    return KeyMarker(found[-1]) if found else None


class _Block(Enum):
    """What the next line belongs to, by the marker before it: BEGIN or END of a key or certificate.

    ::

        BEGIN of a private key, an END follows     -> KEY
        BEGIN of a private key, no END follows     -> PERHAPS_KEY
        BEGIN of something else                    -> OTHER
        END of anything                            -> NONE
        a line with words in PERHAPS_KEY           -> NONE
    """

    NONE = auto()
    """No block. Lines in base64 are masked, because it is not known what they belong to."""
    KEY = auto()
    """A private key, all of which is masked."""
    PERHAPS_KEY = auto()
    """A key that is cut off, which is masked, or a text about keys."""
    OTHER = auto()
    """A certificate or public key, which is not masked."""


def _first_block(first_marker: tuple[str, str] | None, *, is_in_key: bool) -> _Block:
    """The block of the first line, by the first marker after it."""
    if is_in_key:
        return _Block.KEY
    if first_marker is None or first_marker[0] == "BEGIN":
        return _Block.NONE
    return _Block.KEY if "PRIVATE" in first_marker[1] else _Block.OTHER


def _block_after(marker: tuple[str, str], *, has_end: bool) -> _Block:
    word, kind = marker
    if word == "END":
        return _Block.NONE
    if "PRIVATE" not in kind:
        return _Block.OTHER
    return _Block.KEY if has_end else _Block.PERHAPS_KEY


def _without_keys(lines: Sequence[str], *, is_in_key: bool = False) -> Iterator[str]:
    """Mask the lines of private keys, also of those that begin before the first line."""
    markers = [found[-1] if (found := _PEM.findall(line)) else None for line in lines]
    ends = [i for i, marker in enumerate(markers) if marker is not None and marker[0] == "END"]
    last_end = ends[-1] if ends else -1
    first_marker = next((marker for marker in markers if marker is not None), None)
    block = _first_block(first_marker, is_in_key=is_in_key)
    is_after_key_line = False
    for i, (line, marker) in enumerate(zip(lines, markers, strict=True)):
        if marker is not None:
            block = _block_after(marker, has_end=i < last_end)
            is_after_key_line = False
            yield _KEY_IN_LINE.sub(r"\1***", line)
            continue
        if block is _Block.PERHAPS_KEY and _TEXT.search(line):
            block = _Block.NONE
        is_key_line = _KEY_LINE.fullmatch(line) is not None
        is_last = is_after_key_line and _LAST_KEY_LINE.fullmatch(line) is not None
        is_after_key_line = is_key_line
        is_masked = block in (_Block.KEY, _Block.PERHAPS_KEY) or (
            block is _Block.NONE and (is_key_line or is_last)
        )
        yield "***" if is_masked else line


def _mask_plain(text: str) -> str:
    """Mask what is secret in messages and in files that are not code."""
    masked = _PLAIN_VALUE.sub(r"\1***", _mask_everywhere(text))
    return _ITEM.sub(_masked_value, _OPTION.sub(_masked_value, masked))


def _mask_everywhere(text: str) -> str:
    """Mask what is secret in messages and in files of any kind."""
    # Addresses come first: a password in one may look like a setting, as in me:a?token=b@host, and
    # if that is masked up to the end of the text, the address is no longer recognized.
    if "@" in text:
        text = _USER_OF_HTTP.sub(r"\1***", _ADDRESS_IN_TEXT.sub(r"\1:***@", text))
        text = _DSN.sub(r"\1***", text)
    text = _ISSUED.sub(r"\1\2\3***", _QUERY.sub(r"\1***", text))
    text = _PGPASS.sub(r"\1***", _CONNECTION.sub(r"\1\2***", text))
    for command in _COMMANDS:
        text = command.sub(_masked_value, text)
    text = _USER_AND_PASSWORD.sub(r"\1\2***", text)
    return _QUOTED_VALUE.sub(_masked_value, text)


def _masked_value(found: re.Match[str]) -> str:
    """Keep the name and the quotes."""
    quote = found["quote"] or ""
    return f"{found[1]}{quote}***{quote}"
