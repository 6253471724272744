"""Cross-validation in a sweep: a job with ``data.folds`` becomes a job for each fold.

>>> from bpexp.config.compose import compose_settings
>>> jobs = expanded([compose_settings({"data": "iris", "data__folds": 3})])
>>> [job["data"]["fold"] for job in jobs]
[0, 1, 2]
"""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_FOLDS = 10**6
"""Maximum number of folds that become jobs. Loading the data refuses more folds than rows."""


def fold_numbers(composed: Mapping[str, Any]) -> range | None:
    """The folds that a composed configuration stands for; None for a single run."""
    data = composed.get("data")
    if not isinstance(data, Mapping) or data.get("fold") is not None:
        return None
    folds = data.get("folds")
    # Wrong values are reported later, when the rule of the setting is checked.
    return range(folds) if type(folds) is int and 2 <= folds <= MAX_FOLDS else None


def expanded(composed: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Composed configurations, with one for each fold in place of one with ``data.folds``."""
    jobs: list[dict[str, Any]] = []
    for values in composed:
        found = fold_numbers(values)
        if found is None:
            jobs.append(dict(values))
        else:
            jobs += [{**values, "data": {**values["data"], "fold": fold}} for fold in found]
    return jobs
