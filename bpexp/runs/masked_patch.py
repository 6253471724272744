"""Masks the passwords in a patch of Git so that ``git apply`` still accepts it.

Added lines are masked in their place. Unchanged lines have to match the file, so that those with
a password are left out, and so is a hunk that removes one, which a comment before the patch shows.

>>> print(without_passwords(
...     b"diff --git a/run.ini b/run.ini\\n--- a/run.ini\\n+++ b/run.ini\\n"
...     b"@@ -1 +1,2 @@\\n lr=1\\n+password=abc\\n"
... ).decode(), end="")
diff --git a/run.ini b/run.ini
--- a/run.ini
+++ b/run.ini
@@ -1,1 +1,2 @@
 lr=1
+password=***
"""

import ast
import base64
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bpexp.guards import passwords
from bpexp.guards.passwords import KeyMarker

_CODE = (".py", ".pyi", ".ipynb", ".md", ".rst", ".tex")
"""Files in which ``token = x`` or ``token: x`` without quotes is rarely a secret."""
_COMPLETE = ("old mode ", "rename from ", "copy from ")
"""Header lines of changes that are complete without hunks."""
_LEFT_OUT = """\
# What follows is not part of the patch below, because the lines that it changes, or that are
# beside them, contain a password. A patch applies only if it has the lines of the file.
"""
_MAX_BINARY_BYTES = 2**26
"""Of a larger binary file, the beginning is searched for passwords."""


def without_passwords(
    patch: bytes, key_markers: Mapping[str, Mapping[int, KeyMarker]] | None = None
) -> bytes:
    """Mask the passwords in the output of ``git diff --binary``.

    Args:
        patch: What Git wrote.
        key_markers: For each old file with private keys, the numbers of the lines at which one
            begins or ends. A change in the middle of a key does not show them.

    Returns:
        A patch that can be applied to the same files. What had to be left out stands before it
        as comments, with the passwords masked.
    """
    # Latin-1 keeps every byte.
    sections = re.split(r"^(?=diff --git )", patch.decode("latin-1"), flags=re.MULTILINE)
    kept, left_out = [], []
    for section in sections:
        part, comment = _of_file(section, key_markers or {})
        kept.append(part)
        left_out += comment
    if left_out:
        kept.insert(0, _LEFT_OUT + "".join(f"# {line}\n" for line in left_out) + "\n")
    return "".join(kept).encode("latin-1")


@dataclass(frozen=True)
class _Hunk:
    """Neighboring changes of a file.

    Attributes:
        old_start: The number of the first line in the old file.
        new_start: The number of the first line in the new file.
        heading: A line of the file, which Git shows after the numbers.
        lines: Unchanged, removed and added lines, after a space, - or +.
    """

    old_start: int
    new_start: int
    heading: str
    lines: tuple[str, ...]

    @property
    def growth(self) -> int:
        """By how many lines the file grows."""
        return self._count("+") - self._count("-")

    @property
    def text(self) -> str:
        """The hunk as in a patch, without the newline at its end."""
        unchanged = self._count(" ")
        old, new = unchanged + self._count("-"), unchanged + self._count("+")
        numbers = f"@@ -{self.old_start},{old} +{self.new_start},{new} @@{self.heading}"
        return "\n".join([numbers, *self.lines])

    def _count(self, kind: str) -> int:
        return sum(line.startswith(kind) for line in self.lines)


def _of_file(
    section: str, key_markers: Mapping[str, Mapping[int, KeyMarker]]
) -> tuple[str, list[str]]:
    """The changes of one file, and the lines of a comment on what is left out of them."""
    first, *hunks = re.split(r"^(?=@@ )", section, flags=re.MULTILINE)
    header = first.removesuffix("\n").split("\n")
    if not hunks:
        if any(map(_has_password, _binary_contents(section))):
            return "", [f"Binary files {header[0].removeprefix('diff --git ')} differ"]
        return section, []
    is_code = header[0].rstrip('"').endswith(_CODE)
    original = [_parsed(hunk) for hunk in hunks]
    markers = key_markers.get(_old_name(header), {})
    starts_in_key = _starts_in_key(original, markers)
    masked = [
        _masked(
            hunk, is_code=is_code, is_in_key=is_in_key,
            is_after_key=any(line < hunk.old_start for line in markers),
        )
        for hunk, is_in_key in zip(original, starts_in_key, strict=True)
    ]  # fmt: skip
    if masked == original:
        return section, []
    applied: list[_Hunk] = []
    comment: list[str] = []
    missing_growth = 0
    for old, new in zip(original, masked, strict=True):
        part = _applicable(old, new)
        if part is None:
            comment += new.text.split("\n")
            missing_growth += new.growth
        else:
            applied.append(replace(part, new_start=part.new_start - missing_growth))
    if comment:
        comment = [line for line in header if line.startswith(("--- ", "+++ "))] + comment
    lines = [*_header(header, has_hunks=bool(applied)), *(hunk.text for hunk in applied)]
    return "".join(f"{line}\n" for line in lines), comment


def _header(lines: Sequence[str], *, has_hunks: bool) -> list[str]:
    """The header without the digests, which are those of files with passwords."""
    if has_hunks:
        return [line for line in lines if not line.startswith("index ")]
    if any(line.startswith(_COMPLETE) for line in lines):
        return [line for line in lines if not line.startswith(("index ", "--- ", "+++ "))]
    return []


def _parsed(text: str) -> _Hunk:
    first, *lines = text.removesuffix("\n").split("\n")
    found = re.match(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)", first, re.DOTALL)
    assert found is not None, first
    return _Hunk(int(found[1]), int(found[2]), found[3], tuple(lines))


def _old_name(header: Sequence[str]) -> str:
    """The name of the old file in the header of a patch, without the quotes of Git."""
    name = next((line[4:] for line in header if line.startswith("--- ")), "")
    if name.startswith('"'):
        # Git escapes as C does, with octal numbers for what is not ASCII.
        name = ast.literal_eval("b" + name.rstrip("\t")).decode("latin-1")
    return name.rstrip("\t").removeprefix("a/")


def _starts_in_key(hunks: Sequence[_Hunk], markers: Mapping[int, KeyMarker]) -> list[bool]:
    """Whether each hunk begins within a private key, of the old file or of the new one."""
    starts, is_in_key, previous_end = [], False, 0
    for hunk in hunks:
        skipped = [line for line in markers if previous_end <= line < hunk.old_start]
        if skipped:
            is_in_key = markers[max(skipped)] is KeyMarker.BEGIN
        starts.append(is_in_key)
        for line in hunk.lines:
            marker = passwords.key_marker(line)
            if marker is not None:
                is_in_key = marker is KeyMarker.BEGIN
        previous_end = hunk.old_start + sum(not line.startswith("+") for line in hunk.lines)
    return starts


def _masked(hunk: _Hunk, *, is_code: bool, is_in_key: bool, is_after_key: bool) -> _Hunk:
    contents = [line[1:] for line in hunk.lines]
    masked = passwords.mask_lines(contents, is_code=is_code, is_in_key=is_in_key)
    lines = [
        # "\\ No newline at end of file" is not a line of the file.
        line if line.startswith("\\") else line[:1] + content
        for line, content in zip(hunk.lines, masked, strict=True)
    ]
    # The heading is a line before the hunk, after a space, perhaps of a key that ends before it.
    heading = passwords.mask_lines(
        [hunk.heading[1:]], is_code=is_code, is_in_key=is_in_key or is_after_key
    )
    return replace(hunk, heading=hunk.heading[:1] + next(heading), lines=tuple(lines))


def _applicable(original: _Hunk, masked: _Hunk) -> _Hunk | None:
    """The part of a masked hunk that matches the file; None if a change is not in it.

    Unchanged lines before and after the changes may be missing in a patch, but ``git apply`` takes
    a hunk without unchanged lines at its end for one at the end of the file.
    """
    pairs = list(enumerate(zip(original.lines, masked.lines, strict=True)))
    wrong = [i for i, (old, new) in pairs if old != new and not old.startswith("+")]
    changes = [i for i, (old, _) in pairs if old.startswith(("+", "-"))]
    if not wrong:
        return masked
    if any(changes[0] <= i <= changes[-1] for i in wrong):
        return None
    start = max((i + 1 for i in wrong if i < changes[0]), default=0)
    stop = min((i for i in wrong if i > changes[-1]), default=len(pairs))
    lines = masked.lines[start:stop]
    if stop == changes[-1] + 1 != len(pairs) or all(line.startswith("+") for line in lines):
        return None
    return _Hunk(masked.old_start + start, masked.new_start + start, masked.heading, lines)


def _has_password(content: bytes) -> bool:
    # UTF-16 has a zero byte after each character of ASCII.
    lines = content.replace(b"\0", b"").decode("latin-1").split("\n")
    masked = passwords.mask_lines(lines, is_code=True)
    return any(old != new for old, new in zip(lines, masked, strict=True))


def _binary_contents(section: str) -> Iterator[bytes]:
    """The old and the new content of a binary file, or what is inserted into the other of them."""
    for encoded in re.findall(r"^(?:literal|delta) \d+\n((?:[A-Za-z]\S*\n)*)", section, re.M):
        # A line begins with its number of bytes: A to Z are 1 to 26, a to z are 27 to 52.
        packed = b"".join(
            base64.b85decode(line[1:])[: ord(line[0]) - (64 if line[0] <= "Z" else 70)]
            for line in encoded.splitlines()
        )
        yield zlib.decompressobj().decompress(packed, _MAX_BINARY_BYTES)
