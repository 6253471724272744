"""A study: rows of settings, the trials of each, and what was published of them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bpexp.config.schema import RUNTIME
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError
from bpexp.studies.measures import MEASURES


@dataclass(frozen=True)
class Published:
    """What a source says of a row: ``n`` trials, their mean and standard deviation.

    Without ``sd`` the mean of one trial can only be placed among ours; a share of runs, such
    as those that did not converge, has no sd.
    """

    n: int
    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table: the overrides that make its runs; ``published`` by measure."""

    name: str
    overrides: tuple[str, ...]
    published: Mapping[str, Published] = field(default_factory=dict)
    assumed: str = ""


@dataclass(frozen=True)
class Axis:
    """Settings that a study goes through evenly from ``low`` to ``high`` in ``count`` steps.

    ``@`` in ``overrides`` stands for the value.
    """

    name: str
    overrides: tuple[str, ...]
    low: float
    high: float
    count: int

    @property
    def values(self) -> tuple[float, ...]:
        """Rounded to six digits, so that a value is what is written of it."""
        step = (self.high - self.low) / max(1, self.count - 1)
        return tuple(float(f"{self.low + i * step:.6g}") for i in range(self.count))


@dataclass(frozen=True)
class Study:
    """``trials`` runs of every row, with seeds 0, 1, ..., measured by each of ``measures``.

    With a ``grid`` each row has so many runs at every point of it. ``reports``: numbers of
    seeds whose mean is asked for, as a report of so few would give it. ``path`` is the folder
    of the user's data, for overrides to refer to. ``changed``: what the user set otherwise, so
    that the runs are not those that were published.
    """

    name: str
    source: str
    measures: tuple[str, ...]
    trials: int
    common: tuple[str, ...]
    rows: tuple[Row, ...]
    reports: tuple[int, ...] = ()
    grid: tuple[Axis, ...] = ()
    path: str | None = None
    changed: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Points of the grid; 1 without one."""
        points = 1
        for axis in self.grid:
            points *= axis.count
        return points

    def row_of(self, run: int) -> Row:
        """The row that a run belongs to, by its place in ``jobs``."""
        return self.rows[run // (self.cells * self.trials)]


KEYS = ("measure", *(f.name for f in fields(Study) if f.name not in ("measures", "changed")))
"""What a study's file holds."""


def parse(values: object) -> Study:
    """Check a composed ``study`` group. Raises ConfigError on the first rule that is broken."""
    given = _mapping("study", values, Study, "measure")
    measures = _measures(given.get("measure"))
    study = Study(
        name=checks.Text()("study.name", given.get("name")),
        source=checks.Text()("study.source", given.get("source")),
        measures=measures,
        trials=checks.Integer(1, 10**6)("study.trials", given.get("trials")),
        common=_texts("study.common", given.get("common", [])),
        rows=_rows(given.get("rows"), measures),
        reports=_counts("study.reports", given.get("reports", [])),
        grid=_grid(given.get("grid", [])),
        path=checks.Optional(checks.Text())("study.path", given.get("path")),
        changed=_texts("study.changed", given.get("changed", [])),
    )
    names = [row.name for row in study.rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"study.rows must have different names, got {name!r} twice.")
    return study


def written(study: Study) -> dict[str, Any]:
    """The study as plain containers, which ``parse`` reads."""
    values = asdict(study)
    measures = values.pop("measures")
    if len(measures) == 1:
        for row in values["rows"]:
            row["published"] = row["published"].get(measures[0])
    return {**_listed(values), "measure": list(measures)}


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(inner) for key, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, list | tuple) else value


def _measures(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) and value else [value]
    return tuple(checks.OneOf(MEASURES)("study.measure", name) for name in listed)


def _counts(key: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of numbers of seeds, got {value!r}.")
    return tuple(checks.Integer(1, 10**6)(key, count) for count in value)


def _rows(values: object, measures: Sequence[str]) -> tuple[Row, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"study.rows must be a list of rows, got {values!r}.")
    return tuple(_row(f"study.rows[{place}]", v, measures) for place, v in enumerate(values))


def _row(key: str, value: object, measures: Sequence[str]) -> Row:
    given = _mapping(key, value, Row)
    return Row(
        name=checks.Text()(f"{key}.name", given.get("name")),
        overrides=_texts(f"{key}.overrides", given.get("overrides", [])),
        published=_published(f"{key}.published", given.get("published"), measures),
        assumed=str(given.get("assumed") or ""),
    )


def _published(key: str, value: object, measures: Sequence[str]) -> dict[str, Published]:
    """By measure; a study of one measure does not name it."""
    if value is None:
        return {}
    if len(measures) == 1:
        return {measures[0]: _figures(key, value)}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a group of measures, got {value!r}.")
    for name in value:
        if name not in measures:
            raise checks.unknown(f"{key}.{name}", [f"{key}.{measure}" for measure in measures])
    return {name: _figures(f"{key}.{name}", figures) for name, figures in value.items()}


def _figures(key: str, value: object) -> Published:
    given = _mapping(key, value, Published)
    return Published(
        n=checks.Integer(1)(f"{key}.n", given.get("n")),
        mean=checks.Real()(f"{key}.mean", given.get("mean")),
        sd=checks.Optional(checks.Real(0.0))(f"{key}.sd", given.get("sd")),
    )


def _grid(values: object) -> tuple[Axis, ...]:
    if not isinstance(values, list) or len(values) not in (0, 2):
        raise ConfigError(f"study.grid must be a list of two axes, got {values!r}.")
    return tuple(_axis(f"study.grid[{place}]", value) for place, value in enumerate(values))


def _axis(key: str, value: object) -> Axis:
    given = _mapping(key, value, Axis)
    low = checks.Real()(f"{key}.low", given.get("low"))
    high = checks.Real(above=low)(f"{key}.high", given.get("high"))
    return Axis(
        name=checks.Text()(f"{key}.name", given.get("name")),
        overrides=_texts(f"{key}.overrides", given.get("overrides")),
        low=low,
        high=high,
        count=checks.Integer(2, 1000)(f"{key}.count", given.get("count")),
    )


def _mapping(key: str, value: object, cls: Any, *more: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a group of settings, got {value!r}.")
    known = [*(f.name for f in fields(cls) if f.name != "measures"), *more]
    for name in value:
        if name not in known:
            raise checks.unknown(f"{key}.{name}", [f"{key}.{k}" for k in known])
    return value


def _texts(key: str, value: object) -> tuple[str, ...]:
    """A list of overrides; a list in it, as a YAML alias gives it, stands for its members."""
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of overrides, got {value!r}.")
    out: list[str] = []
    for text in value:
        if isinstance(text, list):
            out += _texts(key, text)
        elif isinstance(text, str):
            out.append(text)
        else:
            raise ConfigError(f"{key} must be a list of overrides, got {text!r} in it.")
    return tuple(out)


def asked(values: object, typed: Sequence[str]) -> Study:
    """The study of a composed group, and what was ``typed`` of it. Raises ConfigError."""
    keys = {text: text.lstrip("+~").partition("=")[0] for text in typed}
    if "seed" in keys.values():
        raise ConfigError("seed must be left to +study: its trials have the seeds 0, 1, ...")
    top = {key: key.partition(".")[0] for key in keys.values()}
    own = (text for text, key in keys.items() if key not in FREE and top[key] not in RUNTIME)
    return replace(parse(values), changed=tuple(own))


FREE = ("numerics", "study", "study.name", "study.source", "study.trials", "study.rows",
        "study.reports", "study.path")  # fmt: skip
"""What else may be set without a change of the runs that were published."""


def jobs(study: Study, typed: Sequence[str]) -> list[list[str]]:
    """The overrides of every run, row by row, of a row point by point of the grid.

    What was ``typed`` goes over the study's own.
    """
    own = [text for text in typed if not text.lstrip("+").startswith(("study=", "study."))]
    points = list(itertools.product(*([_set(axis, v) for v in axis.values] for axis in study.grid)))
    return [
        [*study.common, *row.overrides, *itertools.chain(*point), *own, f"seed={seed}"]
        for row in study.rows
        for point in points
        for seed in range(study.trials)
    ]


def _set(axis: Axis, value: float) -> list[str]:
    return [text.replace("@", f"{value:g}") for text in axis.overrides]
