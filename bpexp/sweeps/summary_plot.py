"""The plot of a finished sweep, ``summary.png``: its curves, and a heat map of two settings."""

from typing import TYPE_CHECKING

from bpexp.render import plots
from bpexp.sweeps.ranking import Ranking
from bpexp.sweeps.results import MAX_CURVES
from bpexp.sweeps.row import shows_validation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(ranking: Ranking) -> "Figure":
    """Plot the loss curves, and a heat map of the objective if two settings vary.

    The loss is that of the validation rows if the objective is a metric of these.

    Args:
        ranking: The runs and settings of the sweep. Keys that number replicates do not count as
            settings; the heat map shows what the settings are ranked by.
    """
    objective, heat_map = ranking.objective, None
    settings = [found.job.setting for found in ranking.settings]
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    if len(keys) == 2:
        values = [found.center for found in ranking.settings]
        title = objective.title
        if ranking.is_replicated:
            title = f"{objective.statistic.capitalize()} {objective.label}"
        texts = [[setting.get(key, "") for key in keys] for setting in settings]
        heat_map = plots.heat_map(title, keys, texts, values)
    curves = [(row.job.name, row.curve) for row in ranking.runs[:MAX_CURVES]]
    label = "validation loss" if shows_validation(objective) else "training loss"
    is_drawn = objective.name in ("final_loss", "lowest_validation_loss")
    return plots.summary(curves, heat_map, label, "" if is_drawn else objective.label)
