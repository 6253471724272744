"""Describe any error in one sentence that says what is wrong and what to type.

>>> describe(ConfigError("lr must be a finite number above 0, got '0.1s'."))
"lr must be a finite number above 0, got '0.1s'; type lr=0.1."
"""

import os
import re
import traceback
from collections.abc import Sequence

import yaml

from bpexp.config import hydra_errors, paths, schema
from bpexp.config.options import SHORTHANDS, key_of
from bpexp.errors import brackets, suggestions, syntax, yaml_errors
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.studies import definition

SELF_EXPLANATORY = ("hydra", "omegaconf", "yaml", "mlflow", "sqlalchemy")
"""Packages whose error messages are clear enough to be printed unchanged."""


def describe(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return one sentence for any error.

    Args:
        error: What was raised, by bpexp or by a package.
        arguments: The settings on the command line, if they may be the reason.
    """
    text = passwords.mask_text(_describe(error, arguments))
    return checks.escaped(" ".join(line.strip() for line in text.splitlines() if line.strip()))


def _describe(error: BaseException, arguments: Sequence[str]) -> str:
    if isinstance(error, ConfigError):
        message = suggestions.with_sub_sweeps(_as_typed(str(error)), arguments)
        message = brackets.with_correction(message)
        return suggestions.with_suggestion(message, arguments)
    if isinstance(error, RecursionError):
        return "The settings are nested too deeply."
    if isinstance(error, MemoryError):
        return f"There is not enough memory{f': {error}' if str(error) else ''}."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{str(error.filename)!r} cannot be used: {error.strerror}."
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return "The working directory was deleted; change to another one with cd."
    if isinstance(error, OSError) and error.strerror:
        return f"The output, or a file, cannot be read or written: {error.strerror}."
    if isinstance(error, UnicodeDecodeError) and (file := paths.not_utf8()):
        return f"The YAML file {file} must be in UTF-8; save it in this encoding."
    if isinstance(error, yaml.MarkedYAMLError):
        return yaml_errors.describe(error)
    package = type(error).__module__.partition(".")[0]
    if package in ("hydra", "omegaconf") and (sentence := syntax.explain(arguments)):
        return sentence
    sentence = _study(error, arguments) or hydra_errors.describe(error) or _group(error, arguments)
    if sentence:
        sentence = suggestions.with_decimal_point(sentence, arguments)
        return suggestions.with_sub_sweeps(sentence, arguments)
    text = str(error).strip()
    if package in ("hydra", "omegaconf"):
        # The rest of Hydra's message is the search path, and a link to its manual.
        text = text.partition("\n")[0]
    text = text.rstrip(".")
    if isinstance(error, ValueError) or package in SELF_EXPLANATORY:
        return f"{text}."
    if _raised_in(error) in ("hydra", "omegaconf", "antlr4", "yaml"):
        # Hydra does not foresee every value, such as data=[0], and raises errors of any type.
        return f"The settings cannot be composed ({type(error).__name__}: {text})."
    return f"{type(error).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)."


def _as_typed(message: str) -> str:
    """The message with groups as they are typed: ``search`` where it says ``search.name``.

    >>> _as_typed("search.name must be one of tpe, got 'tp'.")
    "search must be one of tpe, got 'tp'."
    """
    for typed, key in SHORTHANDS.items():
        message = re.sub(rf"^{re.escape(key)} must be ", f"{typed} must be ", message)
    return message


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _raised_in(error: BaseException) -> str:
    """Return the package that raised the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""


def _study(error: BaseException, arguments: Sequence[str]) -> str | None:
    """Describe an unknown key of a study, or a key of a study without a study."""
    if not str(error).startswith("Could not override 'study"):
        return None
    key = str(error).split("'")[1]
    if key == "study" or not any(text.startswith("+study=") for text in arguments):
        return f"{key} must go with a study that is added with a plus: -m +study=..."
    return str(checks.unknown(key, [f"study.{name}" for name in definition.KEYS]))


def _group(error: BaseException, arguments: Sequence[str]) -> str | None:
    """Describe a configuration group that is set to something that is not a name."""
    if not str(error).startswith("Config group override"):
        return None
    for text in arguments:
        key, value = key_of(text), text.partition("=")[2]
        if key in (*schema.NAMED_GROUPS, *schema.FIXED_GROUPS, "study", "hydra") or "/" in key:
            return f"{key} must be the name of a configuration (--help lists them), got {value!r}."
    return "A configuration group must be the name of a configuration (--help lists them)."
