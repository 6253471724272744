"""Which runs can be ranked together by an objective, and which are measured on the same rows.

The results of a run on one data set say nothing about a run on another one, and values of different
loss functions have different units. Preparing the same rows differently changes neither. The
settings of a data set declare what they change, see ``data.registry.DataConfig``.

>>> loss = objectives()["final_loss"]
>>> runs = [{"data.name": "iris", "model.loss": name} for name in ("half_squared", "cross_entropy")]
>>> parts([decisive_settings(run, loss) for run in runs])
{'model.loss=half_squared': [0], 'model.loss=cross_entropy': [1]}
>>> parts([decisive_settings(run, objectives()["accuracy"]) for run in runs])
{'': [0, 1]}
"""

import shlex
from collections.abc import Container, Mapping, Sequence

from bpexp.config.replicates import is_replicate_key
from bpexp.data.registry import DATA_SOURCES, DataConfig
from bpexp.fields.settings import settings_of
from bpexp.nn.losses import LOSSES
from bpexp.render.wording import listed_briefly
from bpexp.runs.metrics import MetricUnit
from bpexp.runs.objective import Objective, objectives

Settings = Mapping[str, str]
"""Values of settings, as text, by dotted key."""


def decisive_settings(settings: Settings, objective: Objective) -> dict[str, str]:
    """The settings that decide what the values of an objective can be compared with.

    Args:
        settings: All settings of a run.
        objective: The objective.

    Returns:
        Those that say which data the run has and which unit its values have; runs that agree in
        them can be ranked together.
    """
    keys = _data_keys(settings)
    unit = objective.unit
    if objective.is_time and not _stops_by_tolerance_alone(settings):
        unit = MetricUnit.LOSS
    if unit is not MetricUnit.NONE:
        keys += _target_keys(settings)
    if unit is MetricUnit.LOSS:
        keys += ["model.loss", CLASS_WEIGHT]
        if depends_on_output(settings.get("model.loss", "")):
            keys.append("model.output")
    return {key: settings.get(key, _ADDED_LATER.get(key, "")) for key in keys}


def depends_on_output(loss: str) -> bool:
    """Whether a loss has a formula of its own for each output activation, so it is several losses.

    >>> depends_on_output("half_squared"), depends_on_output("cross_entropy")
    (False, True)
    """
    known = LOSSES.get(loss)
    return known is None or "" not in known.per_row_by_output


def parts(decisive: Sequence[Mapping[str, str]]) -> dict[str, list[int]]:
    """The runs that can be ranked together.

    Args:
        decisive: The ``decisive_settings`` of each run.

    Returns:
        The positions of the runs of each part, by the settings that tell it from the others, as a
        user types them; the only part has the name ``""``.
    """
    keys = differing(decisive)
    found: dict[str, list[int]] = {}
    for index, one in enumerate(decisive):
        name = shlex.join(f"{key}={one[key]}" for key in keys if key in one)
        found.setdefault(name, []).append(index)
    return found


def differing(decisive: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys of decisive settings that tell runs apart, without those that follow from others."""
    keys: list[str] = []
    n_apart = 1
    for key in dict.fromkeys(key for one in decisive for key in one):
        n = len({tuple(one.get(k) for k in (*keys, key)) for one in decisive})
        if n > n_apart:
            keys, n_apart = [*keys, key], n
    return keys


def why(decisive: Sequence[Mapping[str, str]], objective: Objective) -> str:
    """Why runs cannot be ranked together by an objective, as the start of a sentence.

    Args:
        decisive: Their decisive settings, which differ.
        objective: The objective.
    """
    if is_of_data(differing(decisive)):
        of_data = [{key: one[key] for key in one if is_of_data([key])} for one in decisive]
        return f"Runs on different data are not ranked together ({listed_briefly(parts(of_data))})"
    return f"The {objective.label} is not the same quantity for {listed_briefly(parts(decisive))}"


def measured_keys(settings: Settings) -> list[str]:
    """The settings that decide which rows and targets a run is measured on.

    They are more than the data keys of ``decisive_settings``: runs on several splits of the same
    data are ranked together, but two values or two sweeps are compared on the same split only.
    Settings that number replicates are left out.
    """
    source, names = _declared(settings)
    keys = [f"data.{name}" for name in names if name not in source.prepares]
    return [key for key in keys if not is_replicate_key(key)]


def is_of_data(keys: Sequence[str]) -> bool:
    """Whether runs that differ in these decisive settings are on different data."""
    return any(key.startswith("data.") and key not in unit_keys() for key in keys)


def unit_keys() -> set[str]:
    """The settings of data that are decisive because they change a unit."""
    rescaling = {n for source in DATA_SOURCES.values() for n in source.config.rescales}
    return {SCALE_TARGET, *(f"data.{name}" for name in rescaling)}


def alternative(
    decisive: Sequence[Mapping[str, str]], objective: Objective, available: Container[str]
) -> str:
    """The name of an objective that can rank runs together whose losses are different.

    Args:
        decisive: The decisive settings of the runs, which differ.
        objective: The objective that cannot rank them; the other one is of the same rows.
        available: The names of the objectives that the runs have.

    Returns:
        The name; "" if there is none, or if the runs are on different data.
    """
    if is_of_data(differing(decisive)):
        return ""
    names = [
        other.name
        for other in objectives().values()
        if other.unit is MetricUnit.NONE and not other.is_time and other.split is objective.split
    ]
    if CLASS_WEIGHT in differing(decisive):
        # The weights are for small classes, on which accuracy hardly depends.
        names.sort(key=lambda name: "balanced_accuracy" not in name)
    return next((name for name in names if name in available), "")


SCALE_TARGET = "data.scale_target"
"""Changes the unit of losses only where a run has several targets."""
CLASS_WEIGHT = "model.class_weight"
"""Changes the unit of losses."""
_ADDED_LATER = {CLASS_WEIGHT: "none"}
"""What runs had that were stored before a setting was added."""
GROUPS = ("data.", "model.", "stop.")
"""How the keys of all settings begin that this module uses."""


def _declared(settings: Settings) -> tuple[type[DataConfig], list[str]]:
    """The class that declares what the settings of a run's data change, and their names."""
    source = DATA_SOURCES.get(settings.get("data.name", ""))
    if source is None:
        # Of a package that is not imported here: its own settings count as other data.
        known = [key.removeprefix("data.") for key in settings if key.startswith("data.")]
        return DataConfig, known
    return source.config, [one.name for one in settings_of(source.config)]


def _data_keys(settings: Settings) -> list[str]:
    """The keys that say which data a run has."""
    source, names = _declared(settings)
    others = source.prepares | source.selects | source.rescales
    return [f"data.{name}" for name in names if name not in others]


def _stops_by_tolerance_alone(settings: Settings) -> bool:
    """Whether a run converges by what does not depend on its loss function."""
    loss, tolerance = (settings.get(f"stop.{key}", "null") for key in ("loss", "tolerance"))
    return loss == "null" and tolerance != "null"


def _target_keys(settings: Settings) -> list[str]:
    """The keys that change the unit of the targets of a run."""
    source, names = _declared(settings)
    keys = [f"data.{name}" for name in names if name in source.rescales]
    # The errors of several targets cannot be scaled back, see ``TargetScaling.loss_factor``.
    if settings.get("data.target", "").startswith("[") and SCALE_TARGET in settings:
        keys += [SCALE_TARGET, "model.output"]
    return keys
