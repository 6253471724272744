"""Which runs a report covers: those that can be ranked together."""

from typing import TYPE_CHECKING

from bpexp.analysis.groups import Grouped, available_objectives, label, labels_of
from bpexp.config.schema import keys
from bpexp.fields.checks import ConfigError, nearest
from bpexp.runs import comparability
from bpexp.runs.comparability import Settings
from bpexp.runs.objective import Objective

if TYPE_CHECKING:
    import pandas as pd


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


def check_one_ranking(grouped: Grouped, measure: Objective) -> None:
    """Check that all groups can be ranked together.

    Raises:
        ConfigError: They are on different data, or have losses of different kinds.
    """
    frame = grouped.groups[0].table.frame
    decisive = [key for key in keys() if key in frame and key.startswith(comparability.GROUPS)]
    rows = frame[decisive].apply(labels_of).drop_duplicates().to_numpy().tolist()
    scales = [comparability.scale(dict(zip(decisive, row, strict=True)), measure) for row in rows]
    found = list(comparability.parts(scales))
    if len(found) <= 1:
        return
    names = [objective.name for objective in available_objectives(grouped)]
    other = comparability.alternative(scales, measure, names)
    advice = f"--measure {other}, or " if other else ""
    why = comparability.why(scales, measure)
    raise ConfigError(f"{why}; add {advice}--only {found[0]} for a part of the runs.")
