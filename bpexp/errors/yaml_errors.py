"""Describes a syntax error of a YAML file in one sentence: where it is, and what to change.

>>> def said(text):
...     try:
...         yaml.safe_load(text)
...     except yaml.MarkedYAMLError as error:
...         return describe(error)
>>> said("common: [data=iris\\nunion: [lr=1]")
'The YAML file <unicode string> has a mistake in line 2: the [ of line 1 is not closed.'
>>> said("lr: 0.1\\n\\thidden: 2")
'The YAML file <unicode string> has a mistake in line 2: indent with spaces instead of tabs.'
"""

import re

import yaml

HINTS = (
    (r"found character '\\t'", "indent with spaces instead of tabs"),
    (r"flow sequence", "the [ of line {line} is not closed"),
    (r"flow mapping", "the {{ of line {line} is not closed"),
    (r"quoted scalar", "the quote of line {line} is not closed"),
    (
        r"mapping values are not allowed",
        "type one key: value on a line, and quotes around a text that contains a colon",
    ),
    (r"could not find expected ':'", "type key: value, with a space after the colon"),
    (r"expected <block end>", "indent the lines of a list, or of the same keys, alike"),
    (r"cannot start any token", "type quotes around the value"),
)
"""What is wrong, by a pattern of PyYAML's context and problem; ``line`` is that of the context."""


def describe(error: yaml.MarkedYAMLError) -> str:
    """One sentence for an error of PyYAML."""
    said = f"{error.context or ''} {error.problem or ''}"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"A YAML file has a mistake: {said.strip()}."
    line = (error.context_mark or mark).line + 1
    hints = (hint.format(line=line) for pattern, hint in HINTS if re.search(pattern, said))
    hint = next(hints, error.problem or error.context or "a syntax error")
    return f"The YAML file {mark.name} has a mistake in line {mark.line + 1}: {hint}."
