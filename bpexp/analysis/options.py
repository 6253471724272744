"""What the user of a report chose."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpexp.analysis.groups import label, labels_of
from bpexp.analysis.objective_choice import ANY_OBJECTIVE, ObjectiveChoice
from bpexp.analysis.planning import NamedDifference
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError, nearest
from bpexp.runs.comparability import Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReportOptions:
    """The options of a report.

    Attributes:
        choice: The objective that ranks the groups.
        seed: Seed for the choice of runs that are drawn in plots.
        per: A setting; the answer then compares the best combinations within each of its values.
        only: Settings, as text, that the runs of the report have.
        detect: A difference; the report says how many seeds detect it.
    """

    choice: ObjectiveChoice = ANY_OBJECTIVE
    seed: int = 0
    per: str | None = None
    only: Settings = field(default_factory=dict)
    detect: NamedDifference | None = None


DEFAULTS = ReportOptions()


def with_settings(frame: "pd.DataFrame", only: Settings) -> "pd.DataFrame":
    """The runs of a table that have some settings.

    Args:
        frame: One row per run.
        only: The settings, as text by dotted key.

    Raises:
        ConfigError: There is no such setting, or no run has its value.
    """
    for key, value in only.items():
        if key not in keys() or key not in frame:
            near = nearest(key, [known for known in keys() if known in frame])
            meant = f"; did you mean {near}?" if near else "."
            raise ConfigError(f"--only must name a setting of these runs, got {key!r}{meant}")
        values = labels_of(frame[key])
        is_chosen = values == label(value)
        if not is_chosen.any():
            known = ", ".join(sorted(values.unique())[:8])
            raise ConfigError(f"--only {key}= must be one of {known} here, got {value!r}.")
        frame = frame[is_chosen]
    return frame
