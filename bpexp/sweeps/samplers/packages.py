"""The packages that the methods of a search are from."""

from importlib import metadata

NEEDS = {"cma_es": "cmaes", "gp": "torch"}
"""Packages that a method needs beside Optuna."""
_HOMES = {"sobol": "scipy", "lr_range": "bpexp"}
"""The packages of the methods that are not Optuna's."""


def version(method: str) -> str:
    """The package that a method is from, with its version: ``optuna 5.0.0``."""
    package = _HOMES.get(method, "optuna")
    return f"{package} {metadata.version(package)}"
