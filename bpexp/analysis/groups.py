"""Group finished runs by their combination: the runs of a group are replicates of it.

Replicates differ only in the keys of ``REPLICATE_KEYS``: seeds, the fold and the seed of the split.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype

from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import train_keys
from bpexp.fields.checks import ConfigError
from bpexp.render.axes import ascending
from bpexp.render.wording import counted
from bpexp.runs import variation
from bpexp.runs.metrics import METRICS
from bpexp.runs.objective import EPOCHS_TO_CONVERGE, Objective, objectives
from bpexp.runs.result import Outcome
from bpexp.runs.variation import Codes, Unit
from bpexp.typing import Array

FINISHED = tuple(outcome.value for outcome in Outcome)
"""Outcomes of runs that have a result; failed and interrupted runs have none."""

SWEEP = "sweep"
"""Column that holds the sweep of a run when several sweeps are read together."""

REPLICATE = "replicate"
"""Column that numbers the replicates; equal numbers in two groups are a pair."""

_DISTINCT = "distinct"
"""Column that is equal for runs with the same random numbers."""

CONFIG_GROUPS = ("data", "model", "optimizer", "schedule")
"""Parts of a configuration that are selected by name."""

TIME_TO_CONVERGE = objectives()[EPOCHS_TO_CONVERGE]
FINAL_LOSS = objectives()["final_loss"]

RowIndices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RunTable:
    """Finished runs, one row each.

    Attributes:
        frame: All columns.
        columns: The seed, the epochs and the metrics as float arrays, (n_runs,) each. The column
            ``REPLICATE`` numbers the different levels of all sources of variation together.
        outcomes: Outcome of each run, (n_runs,) of text.
        levels: By source of variation, the level of each replicate, (n_replicates,); without any,
            all replicates are independent.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Array]
    outcomes: Any
    levels: Mapping[str, Codes] = field(default_factory=dict)

    @property
    def varying_sources(self) -> list[str]:
        """The sources of variation that have several levels."""
        return [noun for noun, codes in self.levels.items() if np.ptp(codes)]

    def units_of(self, replicates: Array) -> list[Unit]:
        """The independent levels among some replicates, (n,): ``variation.independent_units``."""
        chosen = replicates.astype(np.intp)
        levels = {noun: codes[chosen] for noun, codes in self.levels.items()}
        return variation.independent_units(levels or {variation.SEED: chosen})


@dataclass(frozen=True, eq=False)
class Group:
    """The replicates of one combination.

    Attributes:
        settings: The values, as text, of the keys that vary between groups.
        table: The table that holds the runs.
        row_indices: Rows of the group's runs in ``table``, (n,).
        n_unfinished: Number of runs with this combination that have no result; they are not in
            ``table``.
    """

    settings: Mapping[str, str]
    table: RunTable
    row_indices: RowIndices
    n_unfinished: int

    def __len__(self) -> int:
        """Number of finished runs."""
        return len(self.row_indices)

    @property
    def rows(self) -> pd.DataFrame:
        """The group's rows of the table."""
        return self.table.frame.iloc[self.row_indices]

    def column(self, key: str) -> Array:
        """The values of a numeric column, (n,)."""
        return self.table.columns[key][self.row_indices]

    @cached_property
    def units(self) -> list[Unit]:
        """What the group has independent levels of: seeds, splits, or each of both."""
        return self.table.units_of(self.column(REPLICATE))

    @property
    def is_independent(self) -> bool:
        """Whether no two runs share a level of a source of variation, such as a split."""
        return variation.are_independent(self.units, len(self))

    @property
    def n_trials(self) -> int:
        """The number of binomial trials that an interval of a share counts, at most that of runs.

        It is the effective sample size (Kish 1965) of the source with the fewest levels, such as
        splits: see ``Unit.n_trials``.
        """
        return min((unit.n_trials for unit in self.units), default=1)

    @property
    def outcomes(self) -> Any:
        """Outcome of each run, (n,) of text."""
        return self.table.outcomes[self.row_indices]

    @property
    def name(self) -> str:
        """The combination as text, for example ``lr=0.5 hidden=2``."""
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or "all runs"

    def value(self, key: str) -> str:
        """The value of a key as text, also of one that follows from ``settings``."""
        return self.settings[key] if key in self.settings else label(self.rows[key].iloc[0])

    @property
    def without_sweep(self) -> "Group":
        """The group without its sweep as a part of the combination."""
        return replace(self, settings={k: v for k, v in self.settings.items() if k != SWEEP})

    @property
    def max_epochs(self) -> float:
        """Maximum number of epochs of the group's runs."""
        return float(self.column("epochs").max())

    def values(self, objective: Objective) -> Array:
        """The values of the runs, (n,), see ``Objective.values``."""
        return objective.values(self.column(objective.metric), self.outcomes)

    def scores(self, objective: Objective) -> Array:
        """The scores of the runs, (n,): smaller is better, see ``Objective.scores``."""
        return objective.scores(self.column(objective.metric), self.outcomes)

    def costs(self, objective: Objective) -> Array:
        """The scores, (n,), where a run that did not converge counts its maximum of epochs."""
        scores = self.scores(objective)
        return np.minimum(scores, self.column("epochs")) if objective.is_time else scores


@dataclass(frozen=True, eq=False)
class Grouped:
    """All groups of a table of runs.

    Attributes:
        varying: The values, as text, of each key that varies, in the order in which sweeps list
            them. Keys whose value follows from another choice are left out, such as
            ``optimizer.momentum`` where ``optimizer.name`` varies.
        groups: The groups, ordered by their values.
        data: Names of the data sets.
        n_replicates: Number of different replicates: of seeds, unless folds or splits vary, too.
        replicate_keys: The keys that differ between replicates; ``seed`` if none does.
        n_pruned: Number of combinations left out because runs of them were stopped early.
        n_repeated: Number of runs left out because another run has the same combination and the
            same random numbers and is therefore not an independent replicate.
        only_split: The seed of the split that all runs share; "" if there are several splits, or
            the data are not split at random.
    """

    varying: Mapping[str, Sequence[str]]
    groups: Sequence[Group]
    data: Sequence[str]
    n_replicates: int
    n_repeated: int
    replicate_keys: Sequence[str] = ("seed",)
    n_pruned: int = 0
    only_split: str = ""

    @property
    def counted_replicates(self) -> str:
        """The number of replicates in words, such as ``10 seeds``."""
        noun = "seed" if tuple(self.replicate_keys) == ("seed",) else "replicate"
        keys = "" if noun == "seed" else f" ({', '.join(self.replicate_keys)})"
        return f"{counted(self.n_replicates, noun)}{keys}"


def group(frame: pd.DataFrame) -> Grouped:
    """Group a table of runs by every key that varies, except those that number replicates.

    Args:
        frame: One row per run, with the columns ``run_id``, ``sweep``, ``outcome`` and
            ``epochs_run``, the configuration and the metrics.

    Returns:
        The groups of the finished runs, without those of combinations that were stopped early.

    Raises:
        ConfigError: No run has finished, or all combinations were stopped early.
    """
    known = [key for key in train_keys() if key in frame and not is_replicate_key(key)]
    labels = frame[known].apply(labels_of)
    frame, labels, n_pruned = _without_pruned(frame, labels)
    varying = {key: levels(labels[key]) for key in _independent_keys(labels)}
    sources = variation.sources_of(
        {key: labels_of(frame[key]).tolist() for key in variation.KEYS if key in frame}, len(frame)
    )
    replicates = variation.codes_of(list(sources.levels.values()) or [sources.distinct])
    labeled = frame.assign(
        **{key: labels[key] for key in varying},
        **{REPLICATE: replicates, _DISTINCT: sources.distinct},
    )
    sweeps = frame[SWEEP].unique().tolist()
    if len(sweeps) > 1:
        # Keep the order given: `levels` would sort an id such as 273484e9 as a number.
        varying = {SWEEP: sweeps, **varying}
    # Sort, so that the result does not depend on the order in which the runs ended.
    labeled = labeled.sort_values(["seed", "run_id"], kind="stable")
    is_finished = labeled["outcome"].isin(FINISHED)
    finished = labeled[is_finished]
    distinct = finished.drop_duplicates([*varying, _DISTINCT])
    if distinct.empty:
        raise ConfigError("a report needs at least one finished run, but no run has finished.")
    unfinished = Counter(map(tuple, labeled.loc[~is_finished, list(varying)].to_numpy().tolist()))
    table = _run_table(distinct, _of_replicates(sources.levels, replicates))
    groups = [
        Group(settings, table, row_indices, unfinished[tuple(settings.values())])
        for settings, row_indices in _split(distinct, varying)
    ]
    return Grouped(
        varying=varying,
        groups=groups,
        data=levels(labels["data.name"]),
        n_replicates=distinct[REPLICATE].nunique(),
        n_repeated=len(finished) - len(distinct),
        replicate_keys=sources.keys or ["seed"],
        n_pruned=n_pruned,
        only_split=_only_split(sources.levels, frame),
    )


def _without_pruned(
    frame: pd.DataFrame, labels: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Leave out combinations of which runs were stopped early, and count them.

    Those of their runs that had ended by themselves before are left out, too: they are the fastest.
    """
    is_pruned = frame["outcome"] == Outcome.PRUNED.value
    if not is_pruned.any():
        return frame, labels, 0
    settings = pd.Series(
        list(zip(frame[SWEEP], *(labels[key] for key in labels), strict=True)), index=frame.index
    )
    pruned = set(settings[is_pruned])
    kept = ~settings.isin(pruned)
    if not kept.any():
        raise ConfigError(
            "a report needs a combination that was trained to its end, but all were stopped early; "
            "bpexp resume SWEEP --pruned trains them."
        )
    return frame[kept], labels[kept], len(pruned)


def _of_replicates(levels: Mapping[str, Codes], replicates: Codes) -> dict[str, Codes]:
    """The levels of each replicate, from those of each run."""
    _, first = np.unique(replicates, return_index=True)
    return {noun: codes[first] for noun, codes in levels.items()}


def _only_split(levels: Mapping[str, Codes], frame: pd.DataFrame) -> str:
    """The seed of the split that all runs share; "" if there is none, or several."""
    if variation.SPLIT not in levels or "data.split_seed" not in frame:
        return ""
    if np.ptp(levels[variation.SPLIT]):
        return ""
    return label(frame["data.split_seed"].iloc[0])


def _independent_keys(labels: pd.DataFrame) -> list[str]:
    """Keys that vary and do not follow from the choices of their part of the configuration.

    Grouping by these keys gives the same groups as grouping by all keys that vary.
    """
    varying = [str(key) for key in labels if labels[key].nunique() > 1]
    choices: dict[str, list[str]] = {part: [] for part in CONFIG_GROUPS}
    dependent = set()
    # Names come first because they determine the other keys of their part.
    for key in sorted(varying, key=lambda key: (not key.endswith(".name"), key)):
        part = key.partition(".")[0]
        if part not in choices or key == part:
            continue
        chosen = choices[part]
        if chosen and not (labels.groupby(chosen)[key].nunique() > 1).any():
            dependent.add(key)
        elif all(map(_is_name, labels[key].unique())):
            chosen.append(key)
    return [key for key in varying if key not in dependent]


def _is_name(label: str) -> bool:
    """Whether a value is a named choice; other keys may depend on a number only by coincidence."""
    return label.isidentifier() and label not in ("true", "false", "null", "nan", "inf")


def _run_table(frame: pd.DataFrame, levels: Mapping[str, Codes]) -> RunTable:
    names = ["seed", REPLICATE, "epochs", *(name for name in METRICS if name in frame)]
    return RunTable(
        frame=frame,
        columns={name: as_floats(frame[name]) for name in names},
        outcomes=frame["outcome"].to_numpy(object),
        levels=levels,
    )


def _split(
    frame: pd.DataFrame, varying: Mapping[str, Sequence[str]]
) -> list[tuple[dict[str, str], RowIndices]]:
    """The settings that occur, in the order of their levels, with the rows of each."""
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for index, values in enumerate(frame[list(varying)].to_numpy().tolist()):
        rows_of.setdefault(tuple(values), []).append(index)
    positions = [{value: i for i, value in enumerate(levels)} for levels in varying.values()]
    ordered = sorted(rows_of, key=lambda vs: [p[v] for p, v in zip(positions, vs, strict=True)])
    return [
        (dict(zip(varying, values, strict=True)), np.array(rows_of[values])) for values in ordered
    ]


def levels(column: "pd.Series[str]") -> list[str]:
    """The distinct values of a column: numbers in ascending order, then text."""
    return ascending(column.unique().tolist())


def as_floats(column: "pd.Series[Any]") -> Array:
    """A numeric column of any type as a float array, with nan for missing values."""
    return column.to_numpy(np.float64, na_value=np.nan)


def labels_of(column: "pd.Series[Any]") -> "pd.Series[str]":
    """``label`` of each value, computed once per distinct value."""
    values = column
    if not is_integer_dtype(column) and not _is_one_object(column):
        # Compare as text, because True == 1 == 1.0, and 0.0 == -0.0.
        values = column.astype(str)
    codes, _ = pd.factorize(values, use_na_sentinel=False)
    _, first = np.unique(codes, return_index=True)
    labels = np.array([label(value) for value in column.iloc[first]], dtype=object)
    return pd.Series(labels[codes], index=column.index, dtype=object)


def _is_one_object(column: "pd.Series[Any]") -> bool:
    """Whether all values are the same object, such as None: most settings of a sweep are alike."""
    return column.dtype == object and len(set(map(id, column))) == 1


def label(value: Any) -> str:
    """A configuration value as it would be typed, given as a value or as MLflow's text."""
    if str(value) in ("None", "nan", "<NA>", "null"):
        return "null"
    if isinstance(value, bool | np.bool_) or str(value) in ("True", "False"):
        return str(value).lower()
    if isinstance(value, str):
        return _label_of_text(value)
    return f"{float(value):.12g}"


def _label_of_text(value: str) -> str:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    if isinstance(parsed, list):
        parts = [label(part) for part in parsed]
        return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"
    return label(parsed) if isinstance(parsed, int | float) else value


def available_objectives(grouped: Grouped) -> list[Objective]:
    """The objectives of which at least one group has a value."""
    return [
        objective
        for objective in objectives().values()
        if any(_is_available(objective, group) for group in grouped.groups)
    ]


def _is_available(objective: Objective, group: Group) -> bool:
    """Whether the group has a value of the objective."""
    if objective.is_time:
        return bool((group.outcomes == Outcome.CONVERGED.value).any())
    if objective == FINAL_LOSS:
        # Groups of diverged runs only are ranked as equal.
        return True
    is_known = objective.metric in group.table.columns
    return is_known and bool(np.isfinite(group.values(objective)).any())


def stops_on_convergence(grouped: Grouped) -> bool:
    """Whether all runs have a convergence criterion and at least one run met it.

    The final losses of such runs are all near the threshold, so the groups are better compared
    by the epochs to converge.
    """
    criteria = grouped.groups[0].table.frame[["stop.loss", "stop.tolerance"]].map(label)
    is_set = bool((criteria != "null").any(axis=1).all())
    return is_set and any((group.outcomes == "converged").any() for group in grouped.groups)
