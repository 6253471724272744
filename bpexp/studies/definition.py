"""The definition of a study: settings to run, and the published results to compare with.

A study is a configuration group in ``conf/study/``. Each row has its own overrides and is run
with the seeds 0, 1, ...:

>>> study = parse({
...     "name": "demo", "source": "a paper", "measure": "epochs", "trials": 2,
...     "common": ["data=xor"],
...     "rows": [{"name": "fast", "overrides": ["lr=2"], "published": {"n": 25, "mean": 100}}],
... })
>>> overrides_of_jobs(study, ["+study=demo", "hidden=3"])
[['data=xor', 'lr=2', 'hidden=3', 'seed=0'], ['data=xor', 'lr=2', 'hidden=3', 'seed=1']]
>>> parse(to_plain(study)) == study
True
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bpexp.config.options import group_of, key_of
from bpexp.config.schema import RUNTIME
from bpexp.fields import checks
from bpexp.fields.checks import ConfigError
from bpexp.studies.measures import MEASURES

MAX_TRIALS = 10**6
MAX_GRID_POINTS = 1000
"""Maximum number of points along an axis of a grid."""


@dataclass(frozen=True)
class Published:
    """A published result.

    What was not published is None.

    Attributes:
        n: Number of runs.
        mean: Mean over the runs, or the share of runs.
        sd: Standard deviation.
        median: Median.
        min: Smallest value.
        max: Largest value.
        converged: Share of all runs that converged, if ``n`` and the others are of those alone.
    """

    n: int
    mean: float
    sd: float | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None
    converged: float | None = None

    @property
    def has_spread(self) -> bool:
        """Whether the standard deviation was published, or the range, which tells it."""
        return self.sd is not None or None not in (self.min, self.max)


@dataclass(frozen=True)
class StudyRow:
    """One row of a published table.

    Attributes:
        name: Name of the row.
        overrides: Overrides that select the row's setting.
        published: Published results by measure.
        assumed: What the source does not say and had to be assumed.
    """

    name: str
    overrides: tuple[str, ...]
    published: Mapping[str, Published] = field(default_factory=dict)
    assumed: str = ""


@dataclass(frozen=True)
class Axis:
    """One axis of a grid of settings, with ``count`` evenly spaced values.

    Attributes:
        name: Name of the axis.
        overrides: Overrides in which ``@`` stands for the value.
        low: Smallest value.
        high: Largest value.
        count: Number of values.
    """

    name: str
    overrides: tuple[str, ...]
    low: float
    high: float
    count: int

    @property
    def values(self) -> tuple[float, ...]:
        """The values, rounded to six significant digits as in the overrides."""
        step = (self.high - self.low) / max(1, self.count - 1)
        return tuple(float(f"{self.low + i * step:.6g}") for i in range(self.count))

    def overrides_at(self, value: float) -> list[str]:
        """The overrides for one value of the axis."""
        return [text.replace("@", f"{value:g}") for text in self.overrides]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: Name of the study.
        source: Where the results were published.
        measures: Names of the quantities that are compared, keys of ``MEASURES``.
        trials: Number of replicates per row, or per row and point of the grid.
        common: Overrides for all rows.
        rows: The rows.
        reports: Numbers of seeds for which the spread of the mean is computed.
        grid: Two axes, or none.
        margin: Means that differ by at most this many percent agree; of shares, percentage points.
        path: The user's data folder, to which overrides may refer.
        changed: Overrides from the command line that change the published settings.
    """

    name: str
    source: str
    measures: tuple[str, ...]
    trials: int
    common: tuple[str, ...]
    rows: tuple[StudyRow, ...]
    reports: tuple[int, ...] = ()
    grid: tuple[Axis, ...] = ()
    margin: float = 10.0
    path: str | None = None
    changed: tuple[str, ...] = ()

    @property
    def n_points(self) -> int:
        """Number of points of the grid; 1 without a grid."""
        return math.prod(axis.count for axis in self.grid)

    def row_of_job(self, index: int) -> StudyRow:
        """The row of a job, given its index in ``overrides_of_jobs``."""
        return self.rows[index // (self.n_points * self.trials)]


KEYS = ("measure", *(f.name for f in fields(Study) if f.name not in ("measures", "changed")))
"""The keys of a study's file."""


def parse(values: object) -> Study:
    """Check the values of a study and convert them.

    Args:
        values: A composed ``study`` group, or what ``to_plain`` returned.

    Returns:
        The study.

    Raises:
        ConfigError: A value breaks a rule; the message names its key.
    """
    given = _mapping("study", values, Study, "measure")
    measures = _measures(given.get("measure"))
    study = Study(
        name=checks.Text()("study.name", given.get("name")),
        source=checks.Text()("study.source", given.get("source")),
        measures=measures,
        trials=checks.Integer(1, MAX_TRIALS)("study.trials", given.get("trials")),
        common=_overrides("study.common", given.get("common", [])),
        rows=_rows(given.get("rows"), measures),
        reports=_counts("study.reports", given.get("reports", [])),
        grid=_grid(given.get("grid", [])),
        margin=checks.Real(above=0.0)("study.margin", given.get("margin", 10.0)),
        path=checks.Optional(checks.Text())("study.path", given.get("path")),
        changed=_overrides("study.changed", given.get("changed", [])),
    )
    names = [row.name for row in study.rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"study.rows must have different names, got {name!r} twice.")
    return study


def to_plain(study: Study) -> dict[str, Any]:
    """Convert a study to dicts and lists, the inverse of ``parse``."""
    values = asdict(study)
    measures = values.pop("measures")
    if len(measures) == 1:
        for row in values["rows"]:
            row["published"] = row["published"].get(measures[0])
    return {**_with_lists(values), "measure": list(measures)}


def _with_lists(value: Any) -> Any:
    """Replace tuples by lists."""
    if isinstance(value, Mapping):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _measures(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) and value else [value]
    return tuple(checks.OneOf(MEASURES)("study.measure", name) for name in names)


def _counts(key: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of numbers of seeds, got {value!r}.")
    return tuple(checks.Integer(1, MAX_TRIALS)(key, count) for count in value)


def _rows(values: object, measures: Sequence[str]) -> tuple[StudyRow, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"study.rows must be a list of rows, got {values!r}.")
    return tuple(_row(f"study.rows[{index}]", v, measures) for index, v in enumerate(values))


def _row(key: str, value: object, measures: Sequence[str]) -> StudyRow:
    given = _mapping(key, value, StudyRow)
    return StudyRow(
        name=checks.Text()(f"{key}.name", given.get("name")),
        overrides=_overrides(f"{key}.overrides", given.get("overrides", [])),
        published=_published(f"{key}.published", given.get("published"), measures),
        assumed=str(given.get("assumed") or ""),
    )


def _published(key: str, value: object, measures: Sequence[str]) -> dict[str, Published]:
    """Published results by measure; with a single measure its name is left out in the file."""
    if value is None:
        return {}
    if len(measures) == 1:
        return {measures[0]: _published_result(key, value, measures[0])}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a group of measures, got {value!r}.")
    for name in value:
        if name not in measures:
            raise checks.unknown(f"{key}.{name}", [f"{key}.{measure}" for measure in measures])
    return {
        name: _published_result(f"{key}.{name}", result, name) for name, result in value.items()
    }


def _published_result(key: str, value: object, measure: str) -> Published:
    given = _mapping(key, value, Published)

    def number(name: str) -> float | None:
        value = given.get(name)
        return None if value is None else checks.Real()(f"{key}.{name}", value)

    converged = number("converged")
    if converged is not None and not 0.0 < converged <= 1.0:
        raise ConfigError(
            f"{key}.converged must be a share above 0 and at most 1, got {converged:g}."
        )
    mean = checks.Real()(f"{key}.mean", given.get("mean"))
    if MEASURES[measure].is_share and not 0.0 <= mean <= 1.0:
        raise ConfigError(f"{key}.mean must be a share from 0 to 1, got {mean:g}.")
    return Published(
        n=checks.Integer(1)(f"{key}.n", given.get("n")),
        mean=mean,
        sd=checks.Optional(checks.Real(0.0))(f"{key}.sd", given.get("sd")),
        median=number("median"),
        min=number("min"),
        max=number("max"),
        converged=converged,
    )


def _grid(values: object) -> tuple[Axis, ...]:
    if not isinstance(values, list) or len(values) not in (0, 2):
        raise ConfigError(f"study.grid must be a list of two axes, got {values!r}.")
    return tuple(_axis(f"study.grid[{index}]", value) for index, value in enumerate(values))


def _axis(key: str, value: object) -> Axis:
    given = _mapping(key, value, Axis)
    low = checks.Real()(f"{key}.low", given.get("low"))
    return Axis(
        name=checks.Text()(f"{key}.name", given.get("name")),
        overrides=_overrides(f"{key}.overrides", given.get("overrides")),
        low=low,
        high=checks.Real(above=low)(f"{key}.high", given.get("high")),
        count=checks.Integer(2, MAX_GRID_POINTS)(f"{key}.count", given.get("count")),
    )


def _mapping(key: str, value: object, record: Any, *more_keys: str) -> Mapping[str, Any]:
    """Check that a value is a mapping whose keys are fields of ``record`` or ``more_keys``."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a group of settings, got {value!r}.")
    known = [*(f.name for f in fields(record) if f.name != "measures"), *more_keys]
    for name in value:
        if name not in known:
            raise checks.unknown(f"{key}.{name}", [f"{key}.{k}" for k in known])
    return value


def _overrides(key: str, value: object) -> tuple[str, ...]:
    """Flatten a list of overrides; nested lists come from YAML aliases."""
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of overrides, got {value!r}.")
    flat: list[str] = []
    for item in value:
        if isinstance(item, list):
            flat += _overrides(key, item)
        elif isinstance(item, str):
            flat.append(item)
        else:
            raise ConfigError(f"{key} must be a list of overrides, got {item!r} in it.")
    return tuple(flat)


NEUTRAL_KEYS = (
    "study", "study.name", "study.source", "study.trials", "study.rows", "study.reports",
    "study.path", "study.margin",
)  # fmt: skip
"""Keys that may be set without changing the published settings."""


def from_command_line(values: object, typed: Sequence[str]) -> Study:
    """Parse a study and record which overrides change the published settings.

    Args:
        values: The composed ``study`` group.
        typed: All overrides from the command line.

    Returns:
        The study with its attribute ``changed``.

    Raises:
        ConfigError: A value breaks a rule, or the seed is set.
    """
    keys = {text: key_of(text) for text in typed}
    for text, key in keys.items():
        if key == "seed":
            raise ConfigError(f"A study sets the seeds of its trials (0, 1, ...); remove {text}.")
    changed = (
        text
        for text, key in keys.items()
        if key not in NEUTRAL_KEYS and group_of(text) not in RUNTIME
    )
    return replace(parse(values), changed=tuple(changed))


def overrides_of_jobs(study: Study, typed: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of a study.

    Args:
        study: The study.
        typed: Overrides from the command line; they take precedence over those of the study.

    Returns:
        One list of overrides per job, ordered by row, then by point of the grid, then by seed.
    """
    others = [text for text in typed if group_of(text) != "study"]
    axes = ([axis.overrides_at(value) for value in axis.values] for axis in study.grid)
    points = list(itertools.product(*axes))
    return [
        [*study.common, *row.overrides, *itertools.chain(*point), *others, f"seed={seed}"]
        for row in study.rows
        for point in points
        for seed in range(study.trials)
    ]
