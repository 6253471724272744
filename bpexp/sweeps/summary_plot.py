"""The plots of a finished sweep: its curves with a heat map of two settings, and its race."""

from typing import TYPE_CHECKING

import numpy as np

from bpexp.render import race_plot, sweep_plot
from bpexp.render.figure_files import png
from bpexp.render.sweep_plot import NamedCurve
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.ranking import Ranking
from bpexp.sweeps.results import MAX_CURVES
from bpexp.sweeps.row import shows_validation
from bpexp.sweeps.runner import FinishedSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(finished: FinishedSweep) -> dict[str, bytes]:
    """The plots of a sweep as PNG, by the name of the file."""
    figures = {}
    if finished.ranking.runs:
        figures["summary.png"] = plot(finished.ranking)
    raced = None if finished.race is None else race_figure(finished.race)
    if raced is not None:
        figures["race.png"] = raced
    return {name: png(figure) for name, figure in figures.items()}


def race_figure(race: RaceResult) -> "Figure | None":
    """What ranks each combination by the number of seeds; None if nothing is finite."""
    lines = []
    for combination in race.ranked:
        by_seeds = race.centers_by_seeds(combination)
        centers, lows, highs = map(np.array, zip(*by_seeds.values(), strict=True))
        n_seeds = np.array(list(by_seeds))
        name, state = combination.job.combination_name, race.state(combination)
        lines.append(
            race_plot.RacedLine(name, state, combination.is_racing, n_seeds, centers, lows, highs)
        )
    label = race.objective.center_label
    return race_plot.race(lines, label, is_log=race.objective.has_log_scale)


def plot(ranking: Ranking) -> "Figure":
    """Plot the loss curves, and a heat map of the objective if two settings vary.

    The loss is that of the validation rows if the objective is a metric of these.

    Args:
        ranking: The runs and combinations of the sweep. Keys that number replicates do not count as
            settings; the heat map shows what the combinations are ranked by.
    """
    objective, heat_map = ranking.objective, None
    combinations = [found.job.combination for found in ranking.combinations]
    keys = list(dict.fromkeys(key for one in combinations for key in one))
    if len(keys) == 2:
        values = [found.center for found in ranking.combinations]
        title = objective.title
        if ranking.is_replicated:
            title = f"{objective.statistic.capitalize()} {objective.label}"
        texts = [[one.get(key, "") for key in keys] for one in combinations]
        heat_map = sweep_plot.HeatMap.of(title, keys, texts, values)
    curves = [NamedCurve(row.job.name, *row.curve) for row in ranking.runs[:MAX_CURVES]]
    label = "validation loss" if shows_validation(objective) else "training loss"
    is_drawn = objective.name in ("final_loss", "lowest_validation_loss")
    return sweep_plot.summary(curves, heat_map, label, "" if is_drawn else objective.label)
