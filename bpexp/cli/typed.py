"""The command line as it was typed, and what of it Hydra can parse.

Hydra's grammar has no ``zip(...)``, ``logspace(...)`` or sub-sweeps separated by ``|``. Arguments
with them are taken out of what Hydra parses; the sweeper reads them here.

>>> settings = ["epochs=5", "lr=logspace(-2,0,3)"]
>>> typed = read(["-m", *settings], settings, is_sweep=True)
>>> typed.for_hydra, typed.sweep_arguments
(['-m', 'epochs=5'], ('epochs=5', 'lr=logspace(-2,0,3)'))
"""

import re
from argparse import Namespace
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from hydra.core.override_parser.types import Quote, QuotedString

from bpexp.config.grammar import SPACES
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid.sub_sweeps import check_separators, is_beyond_hydra

CURRENT: ContextVar["Typed"] = ContextVar("CURRENT")
"""The command line of this process; unset if another program uses Hydra's plugins."""

_DRY_RUN = ["--dry-run"[:length] for length in range(len("--d"), len("--dry-run") + 1)]
_TAGS = "tracking.tags."
_TEXT = re.compile(
    rf"([+]*)(tracking\.(?:uri|experiment|name)|{re.escape(_TAGS)}[^=]*)=(.*)", re.DOTALL
)
"""A setting whose value is a text, whatever it looks like: 1.50, a,b or Köln."""
_PLAIN_TEXT = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_][\w./:@-]*", re.ASCII | re.I)
"""A text that Hydra takes as it is."""
_MAY_BE_BEYOND_HYDRA = re.compile(r"\||zip\(|linspace\(|logspace\(")


@dataclass(frozen=True)
class Typed:
    """A command line that trains.

    Attributes:
        for_hydra: The arguments that Hydra parses.
        sweep_arguments: All settings of a sweep, in order; None if Hydra parses all of them.
        shows_jobs: Whether the configurations of a sweep's jobs are printed (``-m --cfg job``).
    """

    for_hydra: list[str]
    sweep_arguments: tuple[str, ...] | None = None
    shows_jobs: bool = False


def read(arguments: Sequence[str], settings: Sequence[str], *, is_sweep: bool) -> Typed:
    """Divide a command line.

    Args:
        arguments: The command line.
        settings: What of it is not an option.
        is_sweep: Whether it has the option ``-m``.

    Raises:
        ConfigError: An argument makes sense only in a sweep.
    """
    settings = [_with_text(text) for text in settings]
    arguments = [_with_text(text) for text in arguments]
    beyond = [text for text in settings if _is_beyond_hydra(text)]
    if not beyond:
        return Typed(list(arguments))
    if not is_sweep:
        raise ConfigError(f"{beyond[0]!r} has several values; to sweep over them add -m.")
    check_separators(beyond)
    return Typed(
        [text for text in arguments if text not in beyond],
        tuple(text for text in settings if not re.match(r"[+~]*hydra[./@]", text)),
    )


def without_own_options(arguments: Sequence[str], options: Namespace) -> list[str]:
    """The command line without what Hydra does not take: ``--dry-run``, and ``--cfg`` with ``-m``.

    Raises:
        ConfigError: ``--cfg`` of a sweep is not ``job``.
    """
    # argparse accepts the beginning of an option.
    own = [text for text in arguments if text not in _DRY_RUN]
    if options.dry_run:
        own.append("dry_run=true")
    if options.multirun and options.cfg is not None:
        if options.cfg != "job":
            raise ConfigError(f"--cfg must be job with -m, got {options.cfg!r}.")
        # argparse does not say which arguments an option was made of: one, or two.
        text = re.sub(r"(^|\0)(?:--cfg|-c)[=\0]job(?=\0|$)", "", "\0".join(own))
        own = [part for part in text.split("\0") if part and part != "--resolve"]
    return own


def _with_text(argument: str) -> str:
    """The argument as Hydra takes it: a text in quotes, and a tag as a key that is added.

    Without quotes, Hydra reads 1.50 as the number 1.5, and a,b as two values.

    Raises:
        ConfigError: The key of a tag has letters that Hydra's grammar does not take in a key.
    """
    found = _TEXT.fullmatch(argument)
    if found is None:
        return argument
    plus, name, value = found.groups()
    is_null = value == "null" and not name.startswith(_TAGS)
    if value and value[0] not in "'\"" and not is_null and not _PLAIN_TEXT.fullmatch(value):
        argument = f"{plus}{name}={QuotedString(value, Quote.double).with_quotes()}"
    if not name.startswith(_TAGS) or plus:
        return argument
    key = name.removeprefix(_TAGS)
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key, re.ASCII):
        raise ConfigError(
            f"The key of a tag is typed with letters from a to z, digits, _, - and ., got {key!r}; "
            'from Python it may have spaces and other letters: tracking={"tags": {KEY: VALUE}}.'
        )
    return f"++{argument}"


def _is_beyond_hydra(argument: str) -> bool:
    if re.match(r"\+*sweep=", argument):
        return True
    if not _MAY_BE_BEYOND_HYDRA.search(argument):
        return False
    value = argument.partition("=")[2]
    has_space = bool(re.search(rf"(?<!\w)(?:{'|'.join(SPACES)})\(", value))
    return argument.strip() == "|" or has_space or is_beyond_hydra(argument)
