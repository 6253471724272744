"""Runs of one configuration, told apart by their seeds only."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpexp.analysis.survival import Times
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

FINISHED = ("completed", "converged", "stalled", "diverged")
"""Outcomes with a result. Failed and interrupted runs have none: they are counted apart."""

SWEEP = "sweep"
"""The column that tells sweeps apart where several are read together."""

CHOSEN = ("data", "model", "optimizer", "schedule")
"""Parts of a configuration that are chosen as a whole."""

Places = NDArray[np.intp]

FIGURES = ("final_loss", "accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True, eq=False)
class Table:
    """One row a finished run; beside it the columns that statistics need, as arrays."""

    frame: "pd.DataFrame"
    numbers: Mapping[str, Array]
    outcomes: Any


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that share ``settings`` (of the keys that vary, as text): ``places`` of a table.

    ``unfinished``: runs of these settings that have no result and no place in the table.
    """

    settings: Mapping[str, str]
    table: Table
    places: Places
    unfinished: int

    def __len__(self) -> int:
        """Finished runs."""
        return len(self.places)

    @property
    def rows(self) -> "pd.DataFrame":
        """The table's rows."""
        return self.table.frame.iloc[self.places]

    def column(self, key: str) -> Array:
        """The numbers of a column, (n,)."""
        return self.table.numbers[key][self.places]

    @property
    def outcomes(self) -> Any:
        """How each run ended, (n,) of text."""
        return self.table.outcomes[self.places]

    @property
    def name(self) -> str:
        """lr=0.5 hidden=2."""
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or "all runs"

    @property
    def times(self) -> Times:
        """Epochs to converge; every other end is a censored observation.

        A run that completed or stalled is censored where it ended. A diverged run can never
        converge, so it stays among those at risk to the end of its budget; censored where it
        diverged, it would count as one that might yet have done as well as the others.
        """
        diverged = self.outcomes == "diverged"
        epochs = np.where(diverged, self.column("epochs"), self.column("epochs_run"))
        return Times(epochs, self.outcomes == "converged")

    @property
    def budget(self) -> float:
        """Epochs that a run of this group may take at most."""
        return float(self.column("epochs").max())


@dataclass(frozen=True, eq=False)
class Grouped:
    """All groups of a table, what varies between them, and the data sets and seeds they ran on.

    ``varying`` leaves out what follows from another choice, as from ``optimizer.name`` that
    there is a momentum.
    ``repeated``: rows left out because another run has the same settings and seed: the same
    run twice is not a second seed.
    """

    varying: Mapping[str, Sequence[str]]
    groups: Sequence[Group]
    data: Sequence[str]
    seeds: int
    repeated: int


def group(frame: "pd.DataFrame") -> Grouped:
    """Group a table of runs by every setting that varies, the seed excepted.

    ``frame`` has a column for each setting, ``outcome``, ``epochs_run`` and the final
    figures. Raises ConfigError where no run has finished.
    """
    found = [key for key in keys() if key in frame and key != "seed"]
    labels = frame[found].apply(_labels)
    varying = {key: levels(labels[key]) for key in _telling(labels)}
    named = frame.assign(**{key: labels[key] for key in varying})
    sweeps = frame[SWEEP].unique().tolist()
    if len(sweeps) > 1:
        # Ids are text, of which 273484e9 is one; the first sweep is the one that was typed first.
        varying = {SWEEP: sweeps, **varying}
    identity = [*varying, "seed"]
    # The order of rows must not depend on when a run ended.
    named = named.sort_values(["seed", "run_id"], kind="stable")
    done = named["outcome"].isin(FINISHED)
    finished = named[done]
    single = finished.drop_duplicates(identity)
    if single.empty:
        raise ConfigError(f"a report must have at least one finished run, got {len(frame)} others.")
    lost = Counter(map(tuple, named.loc[~done, list(varying)].to_numpy().tolist()))
    table = _table(single)
    groups = [
        Group(settings, table, places, lost[tuple(settings.values())])
        for settings, places in _split(single, varying)
    ]
    return Grouped(
        varying, groups, levels(labels["data.name"]), single["seed"].nunique(),
        len(finished) - len(single),
    )  # fmt: skip


def _telling(labels: "pd.DataFrame") -> list[str]:
    """The settings that vary, without those that follow from the choices beside them.

    Which rows are alike is the same with and without the latter.
    """
    varying = [str(key) for key in labels if labels[key].nunique() > 1]
    choices: dict[str, list[str]] = {part: [] for part in CHOSEN}
    followers = set()
    # A name chooses all the rest of its part, and is asked first.
    for key in sorted(varying, key=lambda key: not key.endswith(".name")):
        part = key.partition(".")[0]
        if part not in choices or key == part:
            continue
        made = choices[part]
        if made and not (labels.groupby(made)[key].nunique() > 1).any():
            followers.add(key)
        elif all(map(_is_choice, labels[key].unique())):
            made.append(key)
    telling = [key for key in varying if key not in followers]
    others = [key for key in telling if key != "numerics"]
    if not others or others == telling:
        return telling
    # What was left to `auto` follows from the network and the data.
    return telling if (labels.groupby(others)["numerics"].nunique() > 1).any() else others


def _is_choice(label: str) -> bool:
    """Whether a setting is one of several by name; what a number implies is a coincidence."""
    return label.isidentifier() and label not in ("true", "false", "null", "nan", "inf")


def _table(frame: "pd.DataFrame") -> Table:
    needed = ["seed", "epochs", "epochs_run", *(key for key in FIGURES if key in frame)]
    columns = {key: numbers(frame[key]) for key in needed}
    return Table(frame, columns, frame["outcome"].to_numpy(object))


def _split(
    frame: "pd.DataFrame", varying: Mapping[str, Sequence[str]]
) -> list[tuple[dict[str, str], Places]]:
    """Rows of each combination of what varies, in the order of the levels."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, values in enumerate(frame[list(varying)].to_numpy().tolist()):
        found.setdefault(tuple(values), []).append(place)
    order = [{value: i for i, value in enumerate(levels)} for levels in varying.values()]
    ordered = sorted(found, key=lambda vs: [o[v] for o, v in zip(order, vs, strict=True)])
    return [
        (dict(zip(varying, values, strict=True)), np.array(found[values])) for values in ordered
    ]


def levels(column: "pd.Series[str]") -> list[str]:
    """The different values of a column, numbers in their order and before text."""

    def order(value: str) -> tuple[bool, float, str]:
        try:
            return (False, float(value), value)
        except ValueError:
            return (True, 0.0, value)

    return sorted(column.unique().tolist(), key=order)


def numbers(column: "pd.Series[Any]") -> Array:
    """A column of numbers, nan where one is missing, whatever type the table holds it in."""
    return column.to_numpy(np.float64, na_value=np.nan)


def _labels(column: "pd.Series[Any]") -> "pd.Series[str]":
    """``label`` of each value, asked once for each that is different."""
    import pandas as pd

    # Booleans equal 0 and 1, and 1 equals 1.0: what is different is told by the text, too.
    spelled = column.astype(str)
    first = ~spelled.duplicated()
    known = {text: label(v) for text, v in zip(spelled[first], column[first], strict=True)}
    return pd.Series([known[text] for text in spelled], index=column.index, dtype=object)


def label(value: Any) -> str:
    """A setting as a person would type it, whether a table holds it as a value or as text."""
    if str(value) in ("None", "nan", "<NA>", "null"):
        return "null"
    if isinstance(value, bool | np.bool_) or str(value) in ("True", "False"):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    number = float(value)
    return f"{number:.12g}"


def _text(value: str) -> str:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    if isinstance(parsed, list):
        parts = [label(part) for part in parsed]
        return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"
    return label(parsed) if isinstance(parsed, int | float) else value


@dataclass(frozen=True)
class Measure:
    """What groups are ranked by. ``column`` is the table's; scores are smaller-is-better."""

    key: str
    title: str
    column: str
    best: str
    """what the best group does, to end a sentence"""

    def values(self, group: Group) -> Array:
        """As measured, (n,); a diverged run, or one without a figure, has nan."""
        values = group.column(self.column)
        absent = (group.outcomes == "diverged") | ~np.isfinite(values)
        return np.where(absent, np.nan, values)

    def scores(self, group: Group) -> Array:
        """Smaller is better, (n,); +inf for a run without a figure or that did not converge."""
        values = self.values(group)
        if self.key == "epochs_to_converge":
            values = np.where(group.times.converged, values, np.nan)
        if self.column in ACCURACIES:
            values = -np.nan_to_num(values, nan=0.0)
        return np.where(np.isnan(values), np.inf, values)

    def costs(self, group: Group) -> Array:
        """Scores, but a run that did not converge has taken the epochs of its budget."""
        scores, counted = self.scores(group), self.key == "epochs_to_converge"
        return np.minimum(scores, group.column("epochs")) if counted else scores


ACCURACIES = ("accuracy", "test_accuracy")

MEASURES = {
    measure.key: measure
    for measure in (
        Measure("epochs_to_converge", "epochs to converge", "epochs_run", "converges soonest"),
        Measure("final_loss", "final loss", "final_loss", "ends with the lowest loss"),
        Measure("accuracy", "accuracy", "accuracy", "is the most accurate"),
        Measure("test_loss", "test loss", "test_loss", "ends with the lowest test loss"),
        Measure(
            "test_accuracy", "test accuracy", "test_accuracy", "is the most accurate on test rows"
        ),
    )
}


def measured(grouped: Grouped) -> list[Measure]:
    """The measures these runs have figures for."""
    return [m for m in MEASURES.values() if any(_has(m, group) for group in grouped.groups)]


def can_converge(grouped: Grouped) -> bool:
    """Whether some runs converged and all were to stop when they did.

    Their final losses then all lie at the threshold; what tells them apart is how soon they
    got there.
    """
    criteria = grouped.groups[0].table.frame[["stop.loss", "stop.tolerance"]].map(label)
    asked = bool((criteria != "null").any(axis=1).all())
    return asked and any(group.times.converged.any() for group in grouped.groups)


def _has(measure: Measure, group: Group) -> bool:
    if measure.key == "epochs_to_converge":
        return bool(group.times.converged.any())
    if measure.key == "final_loss":
        # Runs that all diverged are counted and rank alike.
        return True
    return measure.column in group.table.numbers and bool(np.isfinite(measure.values(group)).any())
