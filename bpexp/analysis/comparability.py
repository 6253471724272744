"""Refuses to compare results that are not measured by the same yardstick.

Losses are comparable if they are of one kind and on the same rows. Settings that change how inputs
are prepared are settings like any other: they leave rows and targets as they are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bpexp.analysis.groups import SWEEP, RunTable, label, labels_of, levels
from bpexp.analysis.words import listed
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError
from bpexp.runs import comparability
from bpexp.runs.metrics import Split, Unit
from bpexp.runs.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

INPUT_KEYS = (
    "data.standardize", "data.scale_target", "data.inputs", "data.drop", "data.categorical",
    "data.input_low", "data.input_high", "data.complement",
)  # fmt: skip
"""Settings of data sets that change the inputs of the network, but neither rows nor targets."""


def data_keys() -> list[str]:
    """The settings that decide which rows and targets a run is measured on."""
    known = [key for key in keys() if key.startswith("data.") and not is_replicate_key(key)]
    return [key for key in known if key not in INPUT_KEYS]


def check(table: RunTable, key: str, values: Sequence[str], measure: Objective) -> None:
    """Check that the runs of several sweeps, or with several values of a setting, are comparable.

    Args:
        table: The finished runs.
        key: ``sweep``, or a setting.
        values: The sweeps or the values of the setting, in the order of messages.
        measure: The measure that compares them.

    Raises:
        ConfigError: The runs are on other data, or the measure depends on a loss function or on a
            criterion for convergence that is not the same for all values.
    """
    parts = _Parts(table.frame, key, values)
    what = "the sweeps" if key == SWEEP else f"the values of {key}"
    # The name first: other settings of the data follow from it.
    differing = parts.first_differing(sorted(data_keys(), key=lambda name: name != "data.name"))
    if differing is not None:
        raise ConfigError(
            f"{what} are not on the same data, so their results cannot be compared: "
            f"{parts.values_of(differing)}."
        )
    differing = parts.first_differing(_keys_of_measure(table.frame, measure))
    if differing is not None:
        raise ConfigError(
            f"{what} cannot be compared by {measure.label}: {parts.values_of(differing)}"
            f"{_other_measure(table, measure)}."
        )


def vary_in_data(table: RunTable) -> bool:
    """Whether the runs are on more than one set of rows and targets."""
    return any(
        labels_of(table.frame[key]).nunique() > 1 for key in data_keys() if key in table.frame
    )


def _keys_of_measure(frame: "pd.DataFrame", measure: Objective) -> list[str]:
    """The settings that change what the measure means."""
    of_loss = ["model.loss"]
    if "model.loss" in frame and any(
        comparability.depends_on_output(loss) for loss in labels_of(frame["model.loss"]).unique()
    ):
        of_loss.append("model.output")
    if measure.is_time:
        uses_loss = bool((labels_of(frame["stop.loss"]) != "null").any())
        return ["stop.loss", "stop.tolerance", *(of_loss if uses_loss else ())]
    return of_loss if measure.unit is Unit.LOSS else []


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


def _other_measure(table: RunTable, measure: Objective) -> str:
    """A measure that does not depend on the loss, if the runs have one."""
    if measure.is_time:
        return ""
    # Test rows must not choose, but compare what the validation rows chose.
    split = Split.VALIDATION if measure.split is Split.TEST else measure.split
    name = "accuracy" if split is Split.TRAINING else f"{split}_accuracy"
    has_accuracy = name in table.numbers and bool((table.numbers[name] >= 0.0).all())
    return f"; use --measure {name}" if has_accuracy else ""
