"""What MLflow's tables hold; what is longer is cut, the same way by every tracker."""

from collections.abc import Mapping

NAME, KEY, PARAM, TAG = 250, 250, 6000, 8000
"""Characters of a run's name, of a key, of a parameter's and of a tag's value."""


def params(given: Mapping[str, str]) -> dict[str, str]:
    """Parameters as they can be stored."""
    return {key: value[:PARAM] for key, value in given.items()}


def tags(given: Mapping[str, str]) -> dict[str, str]:
    """Tags as they can be stored."""
    return {key: value[:TAG] for key, value in given.items()}


def name(given: str) -> str:
    """A run's name as it can be stored."""
    return given[:NAME]
