"""The groups whose options are YAML files, as in ``optimizer=adam``."""

from bpexp.config.paths import conf_dir
from bpexp.fields.checks import ConfigError

OPTION_GROUPS = ("data", "model", "optimizer", "schedule", "backend")


def option_names(group: str) -> list[str]:
    """The options of a group, sorted."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def check_option(group: str, name: str) -> None:
    """Raise ConfigError if a group has no option of this name."""
    names = option_names(group)
    if name not in names:
        raise ConfigError(f"{group} must be one of {', '.join(names)}, got {name!r}.")
