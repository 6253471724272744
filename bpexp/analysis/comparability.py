"""Refuses to compare sweeps whose results are not measured by the same yardstick.

Losses are comparable if they are of one kind and on the same rows. Settings that change how inputs
are prepared are settings like any other: they leave rows and targets as they are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpexp.analysis.groups import SWEEP, RunTable, label, levels
from bpexp.analysis.words import listed
from bpexp.config.replicates import is_replicate_key
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError
from bpexp.runs.metrics import Split
from bpexp.runs.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

INPUT_KEYS = (
    "data.standardize", "data.scale_target", "data.inputs", "data.drop", "data.categorical",
    "data.input_low", "data.input_high", "data.complement",
)  # fmt: skip
"""Settings of data sets that change the inputs of the network, but neither rows nor targets."""

LOSS_METRICS = ("final_loss", "last_epoch_loss", "test_loss", "lowest_validation_loss")
"""Metrics that are values of the loss function of the run."""


def data_keys() -> list[str]:
    """The settings that decide which rows and targets a run is measured on."""
    known = [key for key in keys() if key.startswith("data.") and not is_replicate_key(key)]
    return [key for key in known if key not in INPUT_KEYS]


def check_sweeps(table: RunTable, sweeps: Sequence[str], measure: Objective) -> None:
    """Check that the runs of several sweeps can be compared.

    Args:
        table: The finished runs of the sweeps.
        sweeps: The names of the sweeps, in the order of messages.
        measure: The measure that compares them.

    Raises:
        ConfigError: The sweeps are on other data, or the measure depends on a loss function or on
            a criterion for convergence that is not the same in all sweeps.
    """
    frame = table.frame
    # The name first: other settings of the data follow from it.
    data = sorted(data_keys(), key=lambda key: key != "data.name")
    key = _first_differing(frame, data)
    if key is not None:
        raise ConfigError(
            "the sweeps are not on the same data, so their results cannot be compared: "
            f"{_values_of_sweeps(frame, sweeps, key)}."
        )
    key = _first_differing(frame, _keys_of_measure(frame, measure))
    if key is not None:
        raise ConfigError(
            f"the sweeps cannot be compared by {measure.label}: "
            f"{_values_of_sweeps(frame, sweeps, key)}{_other_measure(table, measure)}."
        )


def vary_in_data(table: RunTable) -> bool:
    """Whether the runs are on more than one set of rows and targets."""
    return any(
        table.frame[key].map(label).nunique() > 1 for key in data_keys() if key in table.frame
    )


def _keys_of_measure(frame: "pd.DataFrame", measure: Objective) -> list[str]:
    """The settings that change what the measure means."""
    of_loss = ["model.loss"]
    if "model.loss" in frame and (frame["model.loss"] == "cross_entropy").any():
        # That of softmax outputs is not that of sigmoid outputs.
        of_loss.append("model.output")
    if measure.is_time:
        uses_loss = bool((frame["stop.loss"].map(label) != "null").any())
        return ["stop.loss", "stop.tolerance", *(of_loss if uses_loss else ())]
    return of_loss if measure.metric in LOSS_METRICS else []


def _first_differing(frame: "pd.DataFrame", wanted: Sequence[str]) -> str | None:
    """The first key whose values are not the same in all sweeps."""
    for key in wanted:
        if key in frame:
            sweeps = frame[key].map(label).groupby(frame[SWEEP])
            if sweeps.apply(frozenset).nunique() > 1:
                return key
    return None


def _values_of_sweeps(frame: "pd.DataFrame", sweeps: Sequence[str], key: str) -> str:
    labels = frame[key].map(label)
    values = [", ".join(levels(labels[frame[SWEEP] == sweep])) for sweep in sweeps]
    return f"{key} is {listed([f'{v} in {s}' for v, s in zip(values, sweeps, strict=True)])}"


def _other_measure(table: RunTable, measure: Objective) -> str:
    """A measure that does not depend on the loss, if the runs have one."""
    if measure.is_time:
        return ""
    name = "accuracy" if measure.split is Split.TRAINING else f"{measure.split}_accuracy"
    has_accuracy = name in table.numbers and bool((table.numbers[name] >= 0.0).all())
    return f"; use --measure {name}" if has_accuracy else ""
