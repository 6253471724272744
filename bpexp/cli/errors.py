"""What was typed wrongly, in one sentence that says what to type; Hydra says it in many."""

import os
import re
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from bpexp.config import schema
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError


def traceback_asked() -> bool:
    """Whether HYDRA_FULL_ERROR asks for errors as Python shows them."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def told(typed: Sequence[str], status: int, raw: bool) -> Iterator[None]:
    """What goes wrong in the block ends the program with one sentence and ``status``.

    A pipe whose reader has left is the caller's to end with; ``raw`` errors go on as they are.
    """
    try:
        yield
    except KeyboardInterrupt:
        stop("Interrupted.", 130)
    except BrokenPipeError:
        raise
    except Exception as error:
        if raw:
            raise
        stop(sentence(error, typed), status)


def stop(message: str, status: int) -> NoReturn:
    """End the program with one sentence on standard error."""
    print(f"bpexp: {message}", file=sys.stderr)
    sys.exit(status)


def sentence(error: BaseException, typed: Sequence[str] = ()) -> str:
    """One sentence for an error, whoever raised it; ``typed`` is the command line."""
    if isinstance(error, ConfigError):
        return _line(str(error))
    if isinstance(error, RecursionError):
        return "settings must be nested less deeply."
    if isinstance(error, MemoryError):
        return f"this machine's memory must hold what is asked for: {error}."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{str(error.filename)!r} could not be used: {error.strerror}."
    text = str(error)
    for pattern, say in _SAYINGS:
        found = re.search(pattern, text, re.S)
        if found and (said := say(found, typed)):
            return _line(said)
    # Hydra's parser points at a column, in a line of its own, and at its manual.
    text = re.sub(r"\nSee https://hydra.cc\S* for details|^\s*\^\s*$", "", text, flags=re.M)
    said = _line(text).rstrip(".")
    if isinstance(error, ValueError) or type(error).__module__.split(".")[0] in _SPEAKING:
        return f"{said}."
    if _raised_in(error).split(".")[0] in ("hydra", "omegaconf", "antlr4", "yaml"):
        # It meets settings that it did not foresee, such as data=[0], with errors of any kind.
        return f"these settings cannot be composed, {type(error).__name__}: {said or 'not said'}."
    return f"{type(error).__name__}: {said} (HYDRA_FULL_ERROR=1 shows where)."


_SPEAKING = ("hydra", "omegaconf", "yaml", "mlflow", "sqlalchemy")
"""Packages whose errors say what was wrong with what they were given."""


def _raised_in(error: BaseException) -> str:
    """The module that raised the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""


def _line(text: str) -> str:
    return checks.escaped(" ".join(line.strip() for line in text.splitlines() if line.strip()))


def _ambiguous(found: "re.Match[str]", typed: Sequence[str]) -> str:
    key, value = found[1], found[2]
    return (
        f"{key} must be one value for a single run, got {value!r}; to sweep over it type "
        f"python -m bpexp -m {key}={value}, for a list {key}=[{value}]."
    )


def _not_set(found: "re.Match[str]", typed: Sequence[str]) -> str:
    key = found[1]
    if key.partition(".")[0] == "study":
        return _not_set_of_study(key, typed)
    if schema.setting_of(key) and not schema.options_with(key):
        return ""
    return str(schema.unknown_key(key))


def _not_set_of_study(key: str, typed: Sequence[str]) -> str:
    from bpexp.studies import definition

    if key == "study" or not any(text.startswith("+study=") for text in typed):
        return f"{key} must go with a study that is added with a plus: -m +study=..."
    return str(checks.unknown(key, [f"study.{name}" for name in definition.KEYS]))


def _choice(found: "re.Match[str]", typed: Sequence[str]) -> str:
    return f"{found[1]} must be one of {', '.join(found[3].split())}, got {found[2]!r}."


def _group(found: "re.Match[str]", typed: Sequence[str]) -> str:
    for text in typed:
        key, _, value = text.lstrip("+~").partition("=")
        if key in (*schema.GROUPS, *schema.PARTS, "study", "hydra") or "/" in key:
            return f"{key} must be the name of a configuration (--help lists them), got {value!r}."
    return "a group of settings must be the name of a configuration (--help lists them)."


def _grammar(found: "re.Match[str]", typed: Sequence[str]) -> str:
    text = found[1]
    if "=" not in text:
        return f"{text!r} must be key=value, such as lr=0.5 (--help lists the keys)."
    return (
        f"{text!r} must be key=value without spaces around =; texts with special characters "
        "need quotes within quotes: 'data.path=\"my file.csv\"'."
    )


Saying = Callable[["re.Match[str]", Sequence[str]], str]
_SAYINGS: Sequence[tuple[str, Saying]] = (
    (r"Ambiguous value for argument '([^=]+)=(.*?)'\n", _ambiguous),
    (r"Could not override '([^']+)'", _not_set),
    (
        r"Could not (?:find|load) '([\w/]+)/([^'/]*)'.?\s+Available options in '[\w/]+':"
        r"(.*?)Config",
        _choice,
    ),
    (
        r"Missing mandatory value: ([\w.]+)",
        lambda found, typed: f"{found[1]} must be given ({found[1]}=...).",
    ),
    (r"Config group override (?:deletion value )?must be a string", _group),
    (r"LexerNoViableAltException: (.*?)\n", _grammar),
    (r"Error parsing override '(.*?)'\n", _grammar),
    (
        r"range\(\) arg 3 must not be zero",
        lambda found, typed: "the step of range(first, end, step) must not be 0.",
    ),
)


def check_options(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Raises ConfigError where ``arguments`` hold an option that Hydra does not have."""

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise ConfigError(f"{message}; --help lists what there is.")
        key, _, value = unknown[1].lstrip("-").partition("=")
        near = checks.nearest(key, schema.keys()) or "key"
        raise ConfigError(
            f"{unknown[1]} is not an option; settings have no dashes and an = "
            f"({near}={value or '...'}), --help lists them."
        )

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(arguments)
