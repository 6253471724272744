"""The folder of the YAML files that Hydra composes."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder ``conf``: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
