"""The folders of the YAML files that Hydra composes: the package's, and the user's own."""

import errno
import re
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

from bpexp.fields.checks import ConfigError
from bpexp.guards import regular_file, yaml_size

OWN = "conf"
"""The folder of the working directory that is used if no other is given."""
ENDINGS = (".yml", ".yaml")
"""Endings of YAML files, in lower case; Hydra reads files that end in ``.yaml``."""
_GIVEN: ContextVar[Path | None] = ContextVar("_GIVEN", default=None)


def conf_dir() -> Path:
    """The folder ``conf``: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def use_config_dir(arguments: Sequence[str]) -> None:
    """Use the folder of the option ``--config-dir`` in this process, if it is given.

    Hydra's parser is not used: --help, which needs the folder, too, starts without Hydra. argparse
    alone would take ``-c`` for the beginning of ``-cd``.
    """
    # No argument holds a zero byte.
    text = "\0".join(arguments)
    found = re.search(r"(?:^|\0)(?:--config-dir|-cd)[=\0]([^\0]+)", text)
    _GIVEN.set(Path(found[1]).absolute() if found else None)


def own_dir() -> Path | None:
    """The user's folder: that of ``--config-dir``, or ``./conf``; None without one."""
    given = _GIVEN.get()
    if given is not None:
        return given
    folder = Path(OWN).absolute()
    is_own = folder.is_dir() and folder.resolve() != conf_dir().resolve()
    return folder if is_own else None


def check_own_files() -> None:
    """Check the size of all YAML files in the user's folder, before anything reads one.

    Raises:
        ConfigError: A file is too large, no regular file, or has too many values by aliases.
    """
    folder = own_dir()
    if folder is None:
        return
    for path in sorted(folder.rglob("*.yaml")):
        try:
            yaml_size.check(regular_file.content(path), str(path))
        except OSError as error:
            # Hydra reports what it cannot open, but would wait for a pipe.
            if error.errno in (errno.EINVAL, errno.EFBIG):
                raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


def not_utf8() -> Path | None:
    """The first file of the user's folder that is not in UTF-8; None if all are."""
    folder = own_dir()
    for path in () if folder is None else sorted(folder.rglob("*.yaml")):
        try:
            regular_file.content(path).decode()
        except UnicodeDecodeError:
            return path
    return None


def option_files(group: str) -> dict[str, Path]:
    """The YAML files of a group's options by name; of two with one name, that of the package."""
    own = own_dir()
    folders = [conf_dir() / group, *([own / group] if own is not None else [])]
    files = [path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))]
    return {path.stem: path for path in files}


def misnamed_file(group: str, name: str) -> Path | None:
    """The user's file that would be an option if its name ended in ``.yaml``; None without one."""
    own, stem = own_dir(), re.sub(r"\.ya?ml$", "", name, flags=re.IGNORECASE)
    if own is None:
        return None
    others = (path for path in sorted((own / group).glob("*")) if path.suffix != ".yaml")
    return next((p for p in others if p.stem == stem and p.suffix.lower() in ENDINGS), None)
