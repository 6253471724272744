"""Lengths that MLflow stores; every tracker truncates longer text in the same way, visibly.

>>> from bpexp.tracking import limits
>>> len(limits.truncate_tags({"k": "x" * 9000})["k"])
8000
"""

from collections.abc import Mapping

from bpexp.runs.run_tags import MAX_LENGTH as TAG

NAME, PARAM = 250, 6000
"""Characters of the name of a run, and of the value of a parameter."""


def truncate_params(params: Mapping[str, str]) -> dict[str, str]:
    """Parameters with values that MLflow can store."""
    return {key: _truncated(value, PARAM) for key, value in params.items()}


def truncate_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with values that MLflow can store."""
    return {key: _truncated(value, TAG) for key, value in tags.items()}


def truncate_name(name: str) -> str:
    """A run name that MLflow can store."""
    return _truncated(name, NAME)


def _truncated(text: str, length: int) -> str:
    """The text, with an ellipsis as the last character where something was left out."""
    return text if len(text) <= length else text[: length - 1] + "…"
