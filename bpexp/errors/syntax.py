"""Explain arguments that Hydra's grammar refuses, and say what to type instead.

Each argument is checked separately, so that one sentence can describe all mistakes.

>>> explain(["epochs=5", "lr=0.1,", "1"])
'lr=0.1, has an empty value; write lists without spaces: lr=0.1,1.'
>>> explain(["data.path=run=1/d.csv"])
'the value of data.path needs quotes: type \\'data.path="run=1/d.csv"\\'.'
>>> explain(["lr=0.1"]) is None
True
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePath

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Sweep

from bpexp.config import schema
from bpexp.config.grammar import SPACES, create_parser
from bpexp.config.options import TABLES
from bpexp.config.schema import FIXED_GROUPS, NAMED_GROUPS, keys, rule_of, takes_numbers
from bpexp.errors import brackets, other_notations, sequences, suggestions
from bpexp.errors.command_names import COMMANDS
from bpexp.errors.lookalikes import without_lookalikes
from bpexp.fields import checks
from bpexp.sweeps.grid import sub_sweeps
from bpexp.sweeps.grid.sub_sweeps import BRACKETS

MAX_LENGTH = 10_000
"""Maximum length of an argument for which corrections are tried."""
SYNTAX_RULE = "settings are written key=value without spaces"
_COMPREHENSION = re.compile(r"\sfor\s+\w+\s+in\s")
_LISTS = (
    "use a list (1,2), choice(1,2), range(first,end,step), linspace(first,last,number) or "
    "logspace(-3,0,number), and with search=tpe interval(low,high) or tag(log,interval(low,high))"
)


def explain(arguments: Sequence[str]) -> str | None:
    """Return one sentence on all arguments that are not valid settings; None if all are valid.

    Args:
        arguments: The command line without options.
    """
    plain = [text for argument in arguments for text in _plain_settings(argument)]
    problems = [problem for parts in _settings(plain) if (problem := _explain(parts))]
    return f"{'; '.join(dict.fromkeys(problems))}." if problems else None


def _plain_settings(argument: str) -> Sequence[str]:
    """The settings in an argument that Hydra's parser reads: in sub-sweeps those between ``|``.

    The errors of zips say themselves what is wrong.
    """
    if not sub_sweeps.is_beyond_hydra(argument):
        return [argument]
    if not sub_sweeps.has_union([argument]):
        return []
    inner = [word for part in sub_sweeps.parts(argument) for word in sub_sweeps.words(part)]
    return [text for word in inner for text in _plain_settings(word)]


def explain_word(arguments: Sequence[str]) -> str:
    """Return the sentence for a command line whose first word is not a command."""
    word = arguments[0]
    if word in keys():
        return explain(arguments) or f"{SYNTAX_RULE}: type {word}=VALUE."
    if word in ("help", "version"):
        return f"{word} is not a command; type bpexp --{word}."
    near = checks.nearest(word.lower(), COMMANDS)
    if near:
        return f"{word} is not a command; did you mean bpexp {near}?"
    return (
        f"{word} is not a command; the commands are {', '.join(COMMANDS)}; to train type settings "
        "as key=value: bpexp lr=0.1, or for a sweep bpexp -m lr=0.1,1."
    )


def has_empty_value(arguments: Sequence[str]) -> bool:
    """Return whether a setting ends with its =, which Hydra's grammar accepts."""
    return any(text.endswith("=") and _takes_value(text[:-1]) for text in arguments)


def _settings(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Yield the arguments of each setting; several where spaces separate parts of one setting."""
    parts: list[str] = []
    for text in arguments:
        if parts and not _continues(parts, text):
            yield parts
            parts = []
        parts.append(text)
    if parts:
        yield parts


def _continues(parts: Sequence[str], text: str) -> bool:
    """Return whether ``text`` belongs to the setting that ``parts`` begin."""
    if re.match(r"[+~]*[\w.@/-]+=", text) or text in COMMANDS:
        return False
    return (
        parts[-1].endswith((",", "="))
        or (parts == [parts[0]] and parts[0].endswith(":") and parts[0][:-1] in keys())
        or text.startswith((",", "="))
        or (parts == [parts[0]] and parts[0] in keys())
        or ("=" in parts[0] and bool(_brackets("".join(parts))[0]))
    )


def _joined(parts: Sequence[str]) -> str:
    """Join the parts of a setting that spaces separate, and insert a missing = or comma."""
    joined = parts[0]
    for text in parts[1:]:
        if joined.rstrip(":") in keys() and not text.startswith("="):
            joined = f"{joined.rstrip(':')}="
        elif not (joined.endswith((",", "=", "[", "(")) or text.startswith((",", "=", "]", ")"))):
            joined += ","
        joined += text
    return joined


def _explain(parts: Sequence[str]) -> str | None:
    joined = _joined(parts)
    if len(joined) > MAX_LENGTH:
        return None if _is_valid(joined) else f"{joined[:50]}... is not a valid setting"
    if len(parts) == 1 or not _is_valid(joined):
        return _explain_one(joined)
    typed = shlex.quote(joined)
    if "," not in joined:
        return f"{SYNTAX_RULE}: type {typed}"
    if parts[0].endswith(",") and not _brackets(parts[0])[0]:
        return f"{parts[0]} has an empty value; write lists without spaces: {typed}"
    return f"{' '.join(parts)!r} has a space in it; write lists without spaces: {typed}"


def _explain_one(text: str) -> str | None:
    """What is wrong with a setting, and what to type; None if it is valid."""
    key, equals, value = text.partition("=")
    problem = _wrong_zip(text) or _typographic(text) or _in_brackets(text) or _spaced_key(text)
    if problem:
        return problem
    if not equals:
        return None if text.startswith("~") and _is_valid(text) else _explain_word_in_list(text)
    if not value and _takes_value(key):
        return f"{key} has no value; type {key}=VALUE"
    if _is_valid(text):
        return None
    return (
        _several_settings(text)
        or _unknown_key(key)
        or _names_without_quotes(key, value)
        or _text_without_quotes(key, value)
        or _corrected(key, value)
        or _settings_with_separators(text)
        or _unknown_function(key, value)
        or _wrong_value(key, value)
        or f"{text!r} is not a valid setting; {SYNTAX_RULE}, such as lr=0.1"
    )


def _wrong_zip(text: str) -> str | None:
    """Explain a zip with a mistake, and brackets in sub-sweeps that do not match."""
    if re.match(r"zip\b", text, re.IGNORECASE):
        message = f"{sub_sweeps.ZIP_RULE}, got {text!r}"
        return brackets.with_correction(message).rstrip(".")
    if "|" in text and (typed := brackets.corrected(text)):
        return f"{text!r} has brackets that do not match: type {shlex.quote(typed)}"
    call = re.fullmatch(r"(\w+)\(([\w.]+=.*)\)", text)
    if call and sub_sweeps.is_zip(f"zip({call[2]})"):
        return f"{call[1]} is not a function here: type {shlex.quote(f'zip({call[2]})')}"
    return None


def _typographic(text: str) -> str | None:
    """Explain typographic dashes and quotes in place of those that are typed."""
    plain = without_lookalikes(text)
    if plain == text:
        return None
    if plain.startswith("-"):
        typed = plain.lstrip("-") if "=" in plain and plain.lstrip("-") != plain else plain
        return f"{text} has a typographic dash: type {shlex.quote(typed)}"
    key, _, value = text.partition("=")
    is_free = _is_text(key) and not value.startswith(tuple("\u2018\u201c\u201e\u00ab"))
    if not is_free and "=" in plain and _is_valid(plain):
        typed = _with_range(plain) or plain
        return f"{text} has typographic characters: type {shlex.quote(typed)}"
    return None


def _in_brackets(text: str) -> str | None:
    """Explain brackets around a setting, as of JSON."""
    typed = _without_outer_brackets(text)
    return typed and f"{SYNTAX_RULE}: type {shlex.quote(typed)}"


def _spaced_key(text: str) -> str | None:
    """Explain spaces around a key."""
    key = text.partition("=")[0]
    compact = re.sub(r"\s*([=,])\s*", r"\1", text.strip())
    if key != key.strip() and compact.partition("=")[0] in keys() and _is_valid(compact):
        return f"{SYNTAX_RULE}: type {shlex.quote(compact)}"
    return None


def _unknown_key(key: str) -> str | None:
    if re.fullmatch(r"(?!hydra|tracking\.tags)[\w.]+", key) and key not in keys():
        return str(schema.unknown_key(key)).rstrip(".")
    return None


def _names_without_quotes(key: str, value: str) -> str | None:
    """Explain a list of names, such as those of columns, of which one needs quotes."""
    if not isinstance(rule_of(key), checks.Names) or not re.fullmatch(r"\[.*\]", value):
        return None
    names = f"{key}={_quoted_names(value)}"
    return f"names in a list need quotes: type {shlex.quote(names)}" if _is_valid(names) else None


def _text_without_quotes(key: str, value: str) -> str | None:
    """Explain the value of a setting that may hold any character."""
    if not _is_text(key) or value.startswith(tuple("[\"'=~,")):
        return None
    return _needs_quotes(key, value)


def _needs_quotes(key: str, value: str) -> str | None:
    """Explain a value that is valid in quotes."""
    quoted = f'{key}="{_escaped(value)}"'
    if key not in keys() or not _is_valid(quoted):
        return None
    return f"the value of {key} needs quotes: type {shlex.quote(quoted)}"


def _wrong_value(key: str, value: str) -> str | None:
    """Explain a text that breaks the rule of a setting, or that needs quotes."""
    needs_quotes = _needs_quotes(key, value)
    return needs_quotes and (_broken_rule(key, value) or needs_quotes)


def _corrected(key: str, value: str) -> str | None:
    """The first mistake without which a setting is valid."""
    for problem, corrected in _corrections(key, value):
        if _is_valid(corrected):
            return f"{problem}: type {shlex.quote(corrected)}"
    return None


def _settings_with_separators(text: str) -> str | None:
    """Explain an argument in which several settings are separated by commas or semicolons."""
    key, _, value = text.partition("=")
    several_keys, values = key.split(","), value.split(",")
    if 1 < len(several_keys) == len(values) and all(name in keys() for name in several_keys):
        settings = map("=".join, zip(several_keys, values, strict=True))
        return f"each setting has its own =: {shlex.join(settings)}"
    parts = re.split(r"[;,]\s*(?=[\w.]+=)", text)
    if len(parts) < 2 or not all("=" in one and one.partition("=")[0] in keys() for one in parts):
        return None
    return f"{text} holds {len(parts)} settings; separate them by spaces: {' '.join(parts)}"


def _unknown_function(key: str, value: str) -> str | None:
    """Explain a function that gives no numbers."""
    if _COMPREHENSION.search(value):
        return f"{value} is a Python expression, which is not evaluated for {key}; {_LISTS}"
    function = re.fullmatch(r"([A-Za-z_]\w*)\(.*\)", value, re.DOTALL)
    if function is None or function[1] in SPACES or not takes_numbers(key):
        return None
    is_known = function[1] in other_notations.FUNCTIONS
    problem = f"{value} has no values" if is_known else f"{function[1]} is not a function"
    return f"{problem} for {key}; {_LISTS}"


def _is_text(key: str) -> bool:
    """Return whether the value of a setting may hold any character."""
    return isinstance(rule_of(key), checks.Text | checks.Names)


def _broken_rule(key: str, value: str) -> str | None:
    """Why a text is no value of a setting; None if it is one."""
    rule = rule_of(key)
    try:
        _ = rule and rule(key, value)
    except checks.ConfigError as error:
        return suggestions.with_suggestion(str(error)).rstrip(".")
    return None


def _several_settings(text: str) -> str | None:
    """Explain an argument that holds several settings; None if it does not."""
    words = sub_sweeps.words(text)
    known = [word for word in words if word.partition("=")[0] in keys() and "=" in word]
    if len(words) < 2 or known[:1] != words[:1]:
        return None
    if "|" in words:
        return f"{sub_sweeps.RULE}, got {text!r}"
    separators = [word for word in words if re.fullmatch(r"[/;,&+]|and|or", word, re.IGNORECASE)]
    if len(known) < 2 or len(known) + len(separators) < len(words):
        return None
    if separators:
        union = " ".join("|" if word in separators else word for word in words)
        return f"sub-sweeps are separated by |: type {shlex.quote(union)}"
    return f"{text!r} holds {len(known)} settings; each is an argument: {shlex.join(known)}"


def _explain_word_in_list(text: str) -> str:
    """Explain an argument without =."""
    key, colon, value = text.partition(":")
    if colon and _is_valid(f"{key}={value}"):
        return f"{SYNTAX_RULE}: type {shlex.quote(f'{key}={_unlisted(key, value)}')}"
    if text in COMMANDS:
        return f"{text} is a command and comes first: bpexp {text}"
    if text in keys():
        return f"{text} has no value; type {text}=VALUE"
    if PurePath(text).suffix.lower() in TABLES:
        return f"for your own table type data=file data.path={text} data.target=COLUMN"
    return f"{text!r} has no key; {SYNTAX_RULE}, such as lr=0.1 (bpexp --help lists the keys)"


def _without_outer_brackets(text: str) -> str | None:
    """The setting in ``(lr=0.1)`` or ``{"lr": [0.1,1]}``; None for another text.

    >>> _without_outer_brackets('{"lr": [0.1, 1]}'), _without_outer_brackets("(lr=0.1,1)")
    ('lr=0.1,1', 'lr=0.1,1')
    """
    inside = re.fullmatch(r"""[({[]\s*["']?([\w.]+)["']?\s*[=:]\s*(.+?)\s*[)}\]]""", text)
    if inside is None or inside[1] not in keys():
        return None
    typed = f"{inside[1]}={_unlisted(inside[1], inside[2])}"
    return typed if _is_valid(typed) else None


def _unlisted(key: str, value: str) -> str:
    """A value without spaces; the items of a list for a key that takes one number or text."""
    value = re.sub(r"\s*,\s*", ",", value.strip())
    rule = rule_of(key)
    is_one = rule is not None and not getattr(rule, "accepts_lists", False)
    is_list = is_one and re.fullmatch(r"\[[^\[\]]*\]", value)
    return value[1:-1] if is_list else value


def _with_range(text: str) -> str | None:
    """A setting with a range for a sequence such as ``1,2,...,9``; None for another text."""
    key, _, value = text.partition("=")
    typed = sequences.evenly_spaced(value) if takes_numbers(key) else None
    return typed and f"{key}={typed}"


def _corrections(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield what may be wrong, and the setting without that mistake."""
    if re.fullmatch(r"\w+\(\s*\)", value):
        return
    items = re.split(r"\s*[,;]\s*", value.strip("(){}"))
    rule = rule_of(key)
    is_scalar = rule is not None and not getattr(rule, "accepts_lists", False)
    meant = sequences.decimal_points(value) if isinstance(rule, checks.Real) else None
    if meant:
        yield "decimals are written with points", f"{key}={meant}"
    if takes_numbers(key) and (meant := sequences.without_powers(value)) != value:
        yield "powers of 10 are written as 1e-3", f"{key}={meant}"
    if _COMPREHENSION.search(value):
        return
    if is_scalar and len(items) > 1 and all(re.fullmatch(r"[\w.+-]+", item) for item in items):
        yield "values are separated by commas", f"{key}={','.join(items)}"
    for problem, sweep in other_notations.corrections(value):
        yield problem, f"{key}={sweep}"
    if value.rstrip("; ") and value.endswith(";"):
        yield "settings are separated by spaces", f"{key}={value.rstrip('; ')}"
    if value.startswith("=") or key.endswith(":"):
        yield SYNTAX_RULE, f"{key.rstrip(':')}={value.lstrip('=')}"
    if value.startswith("~/"):
        yield f"~ is not expanded in {key}", f"{key}={Path.home()}{value[1:]}"
    for quote in "'\"":
        if value.count(quote) % 2:
            yield f"{key} has a {quote} that is not closed", f"{key}={value.replace(quote, '')}"
    unclosed, unopened = _brackets(value)
    if unclosed:
        closed = brackets.balanced(value)
        yield f"{key} has a {unclosed[-1]} that is not closed", f"{key}={closed}"
    if unopened:
        opener = next(opening for opening, closing in BRACKETS.items() if closing == unopened)
        yield f"{key} has a {unopened} that is not opened", f"{key}={opener}{value}"
    if value == ",":
        yield f"the value of {key} needs quotes", f'{key}=","'
    complete = re.sub(r",\s*(?=[,\])]|$)", "", value).lstrip(",")
    if complete != value:
        yield f"{key} has an empty value", f"{key}={complete}"
    inside = re.fullmatch(r"choice\((.*)\)|[\[{](.*)[\]}]", value, re.DOTALL)
    if inside and inside[1]:
        yield "choice takes numbers, texts and lists", f"{key}={inside[1]}"
    elif inside and inside[2] and "(" in value:
        yield "ranges are written without brackets", f"{key}={inside[2]}"
    if re.match(r"\w*[\[(]", value) and value.endswith(("]", ")")):
        separated = re.sub(r"\s*[;\s]\s*", ",", value)
        yield "values are separated by commas", f"{key}={separated}"
        yield "lists are written in brackets", f"{key}=[{separated.strip('()')}]"


def _brackets(value: str) -> tuple[str, str]:
    """Return the brackets that are not closed, and the first that is closed but not opened."""
    opened: list[str] = []
    for letter in value:
        if letter in BRACKETS:
            opened.append(letter)
        elif letter in BRACKETS.values() and (not opened or BRACKETS[opened.pop()] != letter):
            return "", letter
    return "".join(opened), ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"') if '"' in value else value


def _quoted_names(value: str) -> str:
    """A list of names with quotes around each.

    >>> _quoted_names('[size (cm), "b, c"]')
    '["size (cm)","b, c"]'
    """
    names = re.findall(r""""([^"]*)"|'([^']*)'|([^\s,][^,]*)""", value[1:-1])
    quoted = [f'"{_escaped("".join(forms).strip())}"' for forms in names]
    return f"[{','.join(quoted)}]"


def _takes_value(key: str) -> bool:
    """Return whether ``key`` is a setting, and not a group of settings."""
    return key in keys() and key not in (*NAMED_GROUPS, *FIXED_GROUPS)


def _is_valid(text: str) -> bool:
    try:
        value = _parser().parse_override(text).value()
    except Exception:
        # Hydra's parser raises errors of any type for texts that it does not expect.
        return False
    # Hydra parses ranges in a list, but composes nothing from them.
    return not (isinstance(value, list) and any(isinstance(item, Sweep) for item in value))


@lru_cache(maxsize=1)
def _parser() -> OverridesParser:
    return create_parser()
