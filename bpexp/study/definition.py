"""A study: rows of settings, the trials of each, and what was published of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bpexp import checks
from bpexp.checks import ConfigError


@dataclass(frozen=True)
class Published:
    """What a source says of a row: ``n`` trials, their mean and standard deviation.

    Without ``sd`` the mean of one trial can only be placed among ours.
    """

    n: int
    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table: the overrides that make its runs."""

    name: str
    overrides: tuple[str, ...]
    published: Published | None
    assumed: str = ""


@dataclass(frozen=True)
class Study:
    """``trials`` runs of every row, with seeds 0, 1, ..., measured by ``measure``.

    ``reports``: numbers of seeds whose mean is asked for, as a report of so few would give it.
    """

    name: str
    source: str
    measure: str
    trials: int
    common: tuple[str, ...]
    rows: tuple[Row, ...]
    reports: tuple[int, ...] = ()


MEASURES = ("epochs", "updates", "final_loss")
"""Of runs that converged: forward passes, or updates before the last of them. Of all runs
that did not diverge: the last loss.
"""


def parse(values: object) -> Study:
    """Check a composed ``study`` group. Raises ConfigError on the first rule that is broken."""
    given = _mapping("study", values, Study)
    return Study(
        name=checks.text("study.name", given.get("name")),
        source=checks.text("study.source", given.get("source")),
        measure=checks.one_of(*MEASURES)("study.measure", given.get("measure")),
        trials=checks.integer(1, 10**6)("study.trials", given.get("trials")),
        common=_texts("study.common", given.get("common", [])),
        rows=_rows(given.get("rows")),
        reports=_counts("study.reports", given.get("reports", [])),
    )


def _counts(key: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of numbers of seeds, got {value!r}.")
    return tuple(checks.integer(1, 10**6)(key, count) for count in value)


def _rows(values: object) -> tuple[Row, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"study.rows must be a list of rows, got {values!r}.")
    return tuple(_row(f"study.rows[{place}]", value) for place, value in enumerate(values))


def _row(key: str, value: object) -> Row:
    given = _mapping(key, value, Row)
    published = given.get("published")
    return Row(
        name=checks.text(f"{key}.name", given.get("name")),
        overrides=_texts(f"{key}.overrides", given.get("overrides", [])),
        published=None if published is None else _published(f"{key}.published", published),
        assumed=str(given.get("assumed") or ""),
    )


def _published(key: str, value: object) -> Published:
    given = _mapping(key, value, Published)
    return Published(
        n=checks.integer(1)(f"{key}.n", given.get("n")),
        mean=checks.real()(f"{key}.mean", given.get("mean")),
        sd=checks.optional(checks.real(0.0))(f"{key}.sd", given.get("sd")),
    )


def _mapping(key: str, value: object, cls: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a group of settings, got {value!r}.")
    known = [f.name for f in fields(cls)]
    for name in value:
        if name not in known:
            raise checks.unknown(f"{key}.{name}", [f"{key}.{k}" for k in known])
    return value


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{key} must be a list of overrides, got {value!r}.")
    return tuple(value)


def jobs(study: Study, typed: Sequence[str]) -> list[list[str]]:
    """The overrides of every run, row by row; what was ``typed`` goes over the study's own."""
    own = [text for text in typed if not text.lstrip("+").startswith("study")]
    return [
        [*study.common, *row.overrides, *own, f"seed={seed}"]
        for row in study.rows
        for seed in range(study.trials)
    ]
