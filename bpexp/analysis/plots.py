"""The plots of the report, one ``Plot`` record each in ``PLOTS``.

To add a plot, write a function from ``PlotData`` to a matplotlib figure and register a record;
pages, files and the Python API show what is in the table:

>>> list(PLOTS)[:3]
['history', 'slices', 'contours']
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bpexp.analysis import group_plots, search_plots
from bpexp.analysis.curves import MAX_RUNS as MAX_BAND_RUNS
from bpexp.analysis.curves import LossBands
from bpexp.analysis.effects import Effect
from bpexp.analysis.findings import Findings
from bpexp.analysis.halving import Halving
from bpexp.analysis.lr_range import LrRange
from bpexp.analysis.setting_plots import (
    effect_note,
    effect_plots,
    heat_map_note,
    heat_maps,
    parallel_coordinates,
)
from bpexp.analysis.surface import Surface, SurfaceGrid
from bpexp.analysis.surface_plots import decision_surfaces, grid_note, grid_of_surfaces
from bpexp.analysis.trials import Trials
from bpexp.fields import Registry
from bpexp.render.axes import MAX_TICKS
from bpexp.sweeps.race_result import RaceResult
from bpexp.sweeps.summary_plot import race_figure


@dataclass(frozen=True, eq=False, kw_only=True)
class PlotData:
    """What the plots of a report are drawn from.

    Attributes:
        findings: The groups, ranked and compared.
        effects: How each setting that varies matters, over the other settings.
        curves: Loss bands of the groups that are drawn as lines, by name.
        surfaces: Decision surfaces of the best, the median and the worst run; empty for data
            without two inputs.
        trials: The trials of a search; None for another sweep.
        halving: The combinations that were judged while the sweep was trained; None without
            ``search.halving``.
        surface_grid: Decision surfaces over two settings; None for other data and settings.
        lr_range: Of a sweep of ``search=lr_range``, where training diverges and the best rate.
        race: How the combinations of a race by the objective came out; None without one.
    """

    findings: Findings
    effects: Sequence[Effect]
    curves: Mapping[str, LossBands]
    surfaces: Sequence[Surface]
    trials: Trials | None = None
    halving: Halving | None = None
    surface_grid: SurfaceGrid | None = None
    lr_range: LrRange | None = None
    race: RaceResult | None = None

    @property
    def has_heat_maps(self) -> bool:
        """Whether effects and heat maps are drawn: not for a search among many values.

        Most combinations of these have no trial, and plots of the trials replace them.
        """
        return self.trials is None or not self.trials.has_setting_with_more_values(MAX_TICKS)


def _no_note(data: PlotData) -> str | None:
    return None


@dataclass(frozen=True)
class Plot:
    """One plot of the report.

    Attributes:
        name: Name of its files.
        caption: What it shows, for the report.
        draw: Draws it; None where the data have nothing to show in this plot.
        note: A remark on what the plot leaves out, or None.
    """

    name: str
    caption: str
    draw: Callable[[PlotData], Figure | None]
    note: Callable[[PlotData], str | None] = _no_note


def draw(data: PlotData) -> Iterator[tuple[str, Figure]]:
    """Draw the plots that have something to show; yields the name and the figure of each."""
    for plot in PLOTS.values():
        figure = plot.draw(data)
        if figure is not None:
            yield plot.name, figure


def notes(data: PlotData) -> list[str]:
    """The remarks of all plots."""
    return [note for plot in PLOTS.values() if (note := plot.note(data)) is not None]


PLOTS: Registry[Plot] = Registry("plot", [
    Plot(
        "history",
        "The search: the value of each trial, over its replicates, and the best value so far. "
        "Trials that repeat an earlier one are left out.",
        lambda data: None if data.trials is None else search_plots.history(data.trials),
    ),
    Plot(
        "slices",
        "The search: the value of each trial by each setting, colored by the number of the trial. "
        "Star: the best trial.",
        lambda data: None if data.trials is None else search_plots.slices(data.trials),
    ),
    Plot(
        "contours",
        "The search: the values of the trials (points) by pairs of settings, interpolated between "
        "them. The other settings differ, too. Star: the best trial.",
        lambda data: None if data.trials is None else search_plots.contours(data.trials),
    ),
    Plot(
        "race",
        "The race: the median of each combination by the number of seeds (of epochs to converge "
        "the mean), with an interval that holds for all combinations and numbers of seeds together "
        "(95%). Cross: stopped, because it is worse than another combination "
        "beyond doubt.",
        lambda data: None if data.race is None else race_figure(data.race),
    ),
    Plot(
        "lr_range",
        "The objective by the learning rate. Green: the best rate; orange: from where on training "
        "diverges; bands: 95% intervals. Gray: share of the runs that diverge, because they do not "
        "stay finite or end with a larger loss than before training.",
        lambda data: None if data.lr_range is None else data.lr_range.figure(),
    ),
    Plot(
        "rungs",
        "The combinations of search.halving: the value of each one where it was judged, and at its "
        "end. Gray: combinations that were stopped early.",
        lambda data: None if data.halving is None else data.halving.figure(),
    ),
    Plot(
        "loss_curves",
        "Loss by epoch. Lines: the median run of each group; bands: from the 5th to the 95th "
        f"percentile (of at most {MAX_BAND_RUNS} runs a group). A run that has ended stays at its "
        "last loss; one that diverges leaves the frame. On the right the loss of the validation "
        "rows, if there are any.",
        lambda data: group_plots.loss_curves(data.findings, data.curves),
    ),
    Plot(
        "convergence",
        "Share of runs converged by each epoch, with its 95% interval at that epoch.",
        lambda data: group_plots.convergence(data.findings),
    ),
    Plot(
        "distribution",
        "What the groups are compared by: a point for each run (of at most "
        f"{group_plots.MAX_POINTS} a group), diamond: median, bar: middle half. Runs without a "
        "value count as the worst: the median may not exist, and the bar ends at the last value.",
        lambda data: group_plots.distribution(data.findings),
    ),
    Plot(
        "profiles",
        "Performance profiles: the share of runs that reach a value. The higher line is better.",
        lambda data: group_plots.profiles(data.findings),
    ),
    Plot(
        "best_of_n",
        "Expected best of n runs drawn from those there are.",
        lambda data: group_plots.best_of_n(data.findings),
    ),
    Plot(
        "effects",
        "How each setting matters. Black: the median over the seeds, each of which counts with its "
        "median over all combinations of the other settings, with an interval that holds for all "
        "values of the setting together; of epochs to converge the mean. Gray: each "
        "combination of the other settings. Without a line: values that were not run with the same "
        "other settings; black is the best group with each value, gray all groups.",
        lambda data: effect_plots(data.effects) if data.has_heat_maps else None,
        note=lambda data: effect_note(data.effects) if data.has_heat_maps else None,
    ),
    Plot(
        "heat_maps",
        "Median (mean of epochs to converge) of all runs with a pair of settings; the best cell "
        "has a frame.",
        lambda data: heat_maps(data.findings) if data.has_heat_maps else None,
        note=lambda data: heat_map_note(data.findings) if data.has_heat_maps else None,
    ),
    Plot(
        "parallel",
        "Parallel coordinates: every group as a line through its settings.",
        lambda data: parallel_coordinates(data.findings),
    ),
    Plot(
        "surfaces",
        "Decision surface over the two inputs. Circles and squares: the rows trained on, of low "
        "and of high target; white line: half-way between.",
        lambda data: decision_surfaces(data.surfaces) if data.findings.has_scores else None,
    ),
    Plot(
        "surface_grid",
        "Decision surfaces over two settings: in each panel that of the best run with these "
        "values, and what it is ranked by. Other settings are as in the best group, whose panel "
        "has a thick frame.",
        lambda data: None if data.surface_grid is None else grid_of_surfaces(data.surface_grid),
        note=lambda data: None if data.surface_grid is None else grid_note(data.surface_grid),
    ),
])  # fmt: skip
"""All plots, in the order of the report: first what only searches and races have."""
