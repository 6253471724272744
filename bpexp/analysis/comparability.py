"""Refuses to rank runs, and to compare sweeps or values of a setting, that are not comparable.

Losses are comparable if they are of one kind and on the same rows, see ``runs.comparability``.
Settings that change how inputs are prepared are settings like any other: they leave rows and
targets as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bpexp.analysis.groups import (
    SWEEP,
    Grouped,
    RunTable,
    available_objectives,
    label,
    labels_of,
    levels,
)
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import listed
from bpexp.runs import comparability
from bpexp.runs.objective import Objective

if TYPE_CHECKING:
    import pandas as pd


class SeveralRankingsError(ConfigError):
    """The runs of a report cannot be ranked together."""


def check(
    grouped: Grouped, key: str, values: Sequence[str], objective: Objective, ranked_by: Objective
) -> None:
    """Check that the runs of several sweeps, or with several values of a setting, are comparable.

    Args:
        grouped: The groups of all finished runs.
        key: ``sweep``, or a setting.
        values: The sweeps or the values of the setting, in the order of messages.
        objective: The objective that compares them.
        ranked_by: The objective of the report, of which the other one may be that on test rows.

    Raises:
        ConfigError: The runs are on other data, or the objective depends on a loss function or on a
            criterion for convergence that is not the same for all values.
    """
    frame = grouped.groups[0].table.frame
    parts = _Parts(frame, key, values)
    what = "the sweeps" if key == SWEEP else f"the values of {key}"
    # The name first: other settings of the data follow from it.
    found = _settings(frame)
    measured = _union(map(comparability.measured_keys, found))
    differing = parts.first_differing(sorted(measured, key=lambda name: name != "data.name"))
    if differing is not None:
        raise ConfigError(
            f"{what} are not on the same data, so their results cannot be compared: "
            f"{parts.values_of(differing)}."
        )
    criteria = ["stop.loss", "stop.tolerance"] if objective.is_time else []
    decisive = [comparability.decisive_settings(one, objective) for one in found]
    differing = parts.first_differing([*criteria, *_union(decisive)])
    if differing is not None:
        other = _alternative(grouped, decisive, ranked_by)
        advice = f"; use --measure {other}" if other else ""
        raise ConfigError(
            f"{what} cannot be compared by {objective.label}: {parts.values_of(differing)}{advice}."
        )


def vary_in_data(table: RunTable) -> bool:
    """Whether the runs are on more than one set of rows and targets."""
    measured = _union(map(comparability.measured_keys, _settings(table.frame)))
    return any(labels_of(table.frame[key]).nunique() > 1 for key in measured if key in table.frame)


def check_one_ranking(grouped: Grouped, objective: Objective) -> None:
    """Check that all groups can be ranked together.

    Raises:
        SeveralRankingsError: They are on different data, or have losses of different kinds.
    """
    settings = _settings(grouped.groups[0].table.frame)
    decisive = [comparability.decisive_settings(one, objective) for one in settings]
    found = list(comparability.parts(decisive))
    if len(found) <= 1:
        return
    other = _alternative(grouped, decisive, objective)
    advice = f"--measure {other}, or " if other else ""
    why = comparability.why(decisive, objective)
    raise SeveralRankingsError(f"{why}; add {advice}--only {found[0]} for a part of the runs.")


def _alternative(
    grouped: Grouped, decisive: Sequence[Mapping[str, str]], objective: Objective
) -> str:
    """What the user can type for ``--measure`` instead of an objective; "" if there is nothing."""
    available = [other.name for other in available_objectives(grouped)]
    return comparability.alternative(decisive, objective, available)


def _settings(frame: "pd.DataFrame") -> list[dict[str, str]]:
    """The different combinations of the settings that decide what can be compared, sorted."""
    names = [key for key in keys() if key in frame and key.startswith(comparability.GROUPS)]
    rows = frame[names].apply(labels_of).drop_duplicates().to_numpy().tolist()
    return [dict(zip(names, row, strict=True)) for row in sorted(rows)]


def _union(parts: Iterable[Iterable[str]]) -> list[str]:
    """All keys of all parts, each once."""
    return list(dict.fromkeys(key for part in parts for key in part))


class _Parts(NamedTuple):
    """The runs by sweep, or by the value of a setting."""

    frame: "pd.DataFrame"
    key: str
    values: Sequence[str]

    def first_differing(self, wanted: Sequence[str]) -> str | None:
        """The first setting whose values are not the same in all parts."""
        parts = labels_of(self.frame[self.key])
        for name in wanted:
            if name in self.frame:
                values = labels_of(self.frame[name]).groupby(parts)
                if values.apply(frozenset).nunique() > 1:
                    return name
        return None

    def values_of(self, name: str) -> str:
        """The values of a setting in each part."""
        if name == self.key:
            return f"{name} is {listed(self.values)}"
        labels, parts = labels_of(self.frame[name]), labels_of(self.frame[self.key])
        shown = [", ".join(levels(labels[parts == label(value)])) for value in self.values]
        where = self.values
        if self.key != SWEEP:
            where = [f"{self.key}={value}" for value in self.values]
        each = [f"{v} in {part}" for v, part in zip(shown, where, strict=True)]
        return f"{name} is {listed(each)}"
