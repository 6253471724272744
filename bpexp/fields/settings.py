"""Settings as fields of a dataclass, with their rule and description as metadata."""

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any

from bpexp.fields.checks import Rule

REQUIRED = MISSING
"""The default of a setting that the user must give."""


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting."""

    name: str
    rule: Rule
    default: Any
    description: str


def setting(rule: Rule, default: Any, description: str) -> Any:
    """Declare a dataclass field as a setting.

    Args:
        rule: Checks and normalizes a value.
        default: The value where the user gives none, or ``REQUIRED``.
        description: What the setting means, for the help, the comments in ``conf/`` and the
            settings reference. One line without a period at its end.
    """
    return field(default=default, metadata={"rule": rule, "description": description})


def settings_of(config: type) -> tuple[Setting, ...]:
    """The settings that a dataclass declares, without its nested groups."""
    return _settings_of(config)


@cache
def _settings_of(config: Any) -> tuple[Setting, ...]:
    return tuple(
        Setting(f.name, f.metadata["rule"], f.default, f.metadata["description"])
        for f in fields(config)
        if "rule" in f.metadata
    )
