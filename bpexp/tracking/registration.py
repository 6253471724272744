"""Name and alias of a model in MLflow's model registry.

>>> Registration("xor", "champion").uri
'models:/xor@champion'
"""

import re
from typing import NamedTuple

from bpexp.fields.checks import ConfigError


class Registration(NamedTuple):
    """Where a model is registered.

    Attributes:
        name: Name of the registered model, of which a new version is created.
        alias: The alias that is set to the new version.
    """

    name: str
    alias: str

    @property
    def uri(self) -> str:
        """The URI of the version that has the alias."""
        return f"models:/{self.name}@{self.alias}"

    def check(self) -> None:
        """Raise ConfigError unless MLflow accepts the name and the alias."""
        is_name = bool(self.name.strip()) and not re.search(r"[/:@\0-\x1f]|^\.+$", self.name)
        if not is_name:
            raise ConfigError(f"--register must be a name without / : and @, got {self.name!r}.")
        is_alias = re.fullmatch(r"[\w-]{1,255}", self.alias, re.ASCII)
        if not is_alias or re.fullmatch(r"(?i)latest|v\d+", self.alias):
            raise ConfigError(
                "--alias must have letters, digits, - and _, and not be latest or v1, got "
                f"{self.alias!r}."
            )
