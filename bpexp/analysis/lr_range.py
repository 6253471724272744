"""What the sweep of ``search=lr_range`` says about the learning rate.

A run *diverges* at a rate if its loss or weights do not stay finite, or if its loss at the end is
above that before training. The threshold of a seed lies between the two neighboring rates that
divide its runs best into those that do not diverge and those that do. The interval of the median
threshold over the seeds is exact: it is made of order statistics (see ``intervals``) of the lower
rates and of the upper ones, so that the distance of the rates is part of it.

The best rate has the lowest median of the objective. Its interval is that of a bootstrap over the
seeds: the seeds are drawn again with replacement, the same ones for all rates, and the interval has
the middle 95% of the best rates.

Neither rate has an interval with fewer than 6 seeds, like the median of a group, or where runs
share seeds or folds, so that they are not independent.

>>> from bpexp.runs.objective import objectives
>>> rates, losses = np.array([0.1, 1.0, 10.0]), np.array([[0.5] * 9, [0.2] * 9, [3.0] * 9])
>>> seeds = Replicates("9 seeds")
>>> diverging = diverges(losses, first_losses=np.ones(9))
>>> found = LrRange.of(rates, diverging, losses, objectives()["final_loss"], seeds)
>>> found.threshold
Interval(estimate=3.1622776601683795, low=1.0, high=10.0)
>>> found.best
Interval(estimate=1.0, low=1.0, high=1.0)
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bpexp.analysis import objective_axes
from bpexp.analysis.curves import ReadLosses
from bpexp.analysis.groups import REPLICATE, Grouped
from bpexp.analysis.intervals import CONFIDENCE, Interval, median_interval, runs_for_median
from bpexp.analysis.words import number
from bpexp.render.axes import COLORS, log_scale, panel
from bpexp.render.wording import listed
from bpexp.runs.objective import Objective
from bpexp.typing import Array

N_DRAWN = 2000
"""Number of bootstrap samples."""
SHOWN = 100.0
"""The plot shows losses up to so many times the largest one of a rate that does not diverge."""


@dataclass(frozen=True)
class Replicates:
    """The replicates of each learning rate.

    Attributes:
        counted: Their number in words, such as ``10 seeds``.
        shared: What several replicates of a rate have in common, such as ``seeds and folds``; "" if
            they are independent.
    """

    counted: str
    shared: str = ""


@dataclass(frozen=True, eq=False)
class LrRange:
    """Where training diverges, and the best learning rate.

    Attributes:
        rates: The learning rates in ascending order, (n_rates,).
        n_runs: Number of runs of each rate.
        replicates: What these runs are.
        diverged: Share of the runs of each rate that diverge, (n_rates,).
        threshold: The median of the rates from which on training diverges, with its interval. Its
            limits are 0 and inf where the smallest rate diverges, or the largest one does not, and
            nan without an interval.
        scores: The score of each rate by which the best one is chosen, (n_rates,).
        best: The best rate with its interval.
        objective: What it is best by.
    """

    rates: Array
    n_runs: int
    replicates: Replicates
    diverged: Array
    threshold: Interval
    scores: Array
    best: Interval
    objective: Objective

    @classmethod
    def of(
        cls,
        rates: Array,
        diverging: NDArray[np.bool_],
        scores: Array,
        objective: Objective,
        replicates: Replicates,
        horizon: float = np.inf,
    ) -> Self:
        """Estimate both rates.

        Args:
            rates: The learning rates in ascending order, (n_rates,).
            diverging: Whether each run diverges, (n_rates, n_runs).
            scores: The score of each run, (n_rates, n_runs): smaller is better.
            objective: The objective that gave the scores.
            replicates: What the runs of a rate are.
            horizon: The maximum number of epochs.
        """
        diverges_from = threshold(rates, diverging)
        best = best_rate(rates, scores, objective, horizon)
        if replicates.shared:
            diverges_from = Interval.without_bounds(diverges_from.estimate)
            best = Interval.without_bounds(best.estimate)
        return cls(
            rates=rates,
            n_runs=diverging.shape[1],
            replicates=replicates,
            diverged=diverging.mean(axis=1),
            threshold=diverges_from,
            scores=np.array([objective.center(some, horizon) for some in scores]),
            best=best,
            objective=objective,
        )

    @property
    def sentence(self) -> str:
        """Both rates with their intervals."""
        low, high = number(self.rates[0]), number(self.rates[-1])
        over = (
            f"Of {len(self.rates)} learning rates from {low} to {high} over "
            f"{self.replicates.counted}"
        )
        found = f"{over}: {self._about_threshold}; {self._about_best}."
        return f"{found}{self._why_no_intervals}"

    @property
    def _why_no_intervals(self) -> str:
        """Why neither rate has an interval, as a sentence; "" if they may have one."""
        if self.replicates.shared:
            return f" The rates have no interval, because runs share {self.replicates.shared}."
        if self.n_runs < runs_for_median():
            return f" Too few seeds for an interval: it needs {runs_for_median()}."
        return ""

    @property
    def _about_threshold(self) -> str:
        if np.isinf(self.threshold.estimate):
            return f"training diverges at none of them for most seeds{self._limits}"
        if not self.threshold.estimate:
            return f"training diverges at all of them for at least half of the seeds{self._limits}"
        return f"training diverges from lr={number(self.threshold.estimate)} on{self._limits}"

    @property
    def _limits(self) -> str:
        """The interval of the threshold in parentheses; "" if there is none."""
        low, high = self.threshold.low, self.threshold.high
        if np.isnan(low) or (np.isinf(self.threshold.estimate) and np.isinf(low)):
            return ""
        if np.isinf(high):
            return f" (95% interval: above {number(low)})" if np.isfinite(low) else ""
        return f" (95% interval: {number(low)} to {number(high)})"

    @property
    def _about_best(self) -> str:
        if not np.isfinite(self.best.estimate):
            return f"no rate has a finite {self.objective.label}"
        interval = ""
        if self.best.has_bounds:
            interval = f" (95% interval: {number(self.best.low)} to {number(self.best.high)})"
        ends = {self.rates[0]: "the smallest", self.rates[-1]: "the largest"}
        end = ends.get(self.best.estimate)
        return (
            f"{self.objective.superlative} {self.objective.center_label} at "
            f"lr={number(self.best.estimate)}{interval}"
            f"{f', {end} rate that was tried' if end else ''}"
        )

    @property
    def as_json(self) -> dict[str, object]:
        """Both rates for programs."""
        return {
            "threshold": list(self.threshold), "best": list(self.best),
            "rates": self.rates.tolist(), "diverged": self.diverged.tolist(),
        }  # fmt: skip

    def figure(self) -> Figure:
        """The objective by the learning rate, with both rates and their intervals."""
        figure, axes = panel()
        values = objective_axes.displayed(self.objective, self.scores)
        stays = values[(self.diverged < 0.5) & np.isfinite(values)]
        if self.objective.has_log_scale and len(stays):
            # Losses of rates that diverge may be anything up to the largest number.
            values = np.where(values > SHOWN * stays.max(), np.nan, values)
        axes.plot(self.rates, values, color=COLORS[0], marker="o", ms=4, lw=1.6)
        log_scale(axes.xaxis)
        objective_axes.scale(axes.yaxis, self.objective)
        self._mark_rates(axes)
        self._draw_shares(axes.twinx())
        axes.set(xlabel="lr", ylabel=self.objective.center_label)
        axes.set_title(f"{self.objective.title} by learning rate", loc="left")
        axes.grid(alpha=0.25)
        axes.spines[["top"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            # Above the axes: lines may be anywhere inside.
            axes.legend(
                fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0)
            )
        return figure

    def _mark_rates(self, axes: Axes) -> None:
        """Mark the best rate and the one from which on training diverges, with their intervals."""
        if np.isfinite(self.best.estimate):
            if self.best.has_bounds:
                axes.axvspan(self.best.low, self.best.high, color=COLORS[2], alpha=0.15, lw=0)
            axes.axvline(self.best.estimate, color=COLORS[2], lw=1.6, label="best rate")
        if np.isfinite(self.threshold.estimate) and self.threshold.estimate:
            low, high = self.threshold.low, min(self.threshold.high, self.rates[-1])
            if np.isfinite(low):
                axes.axvspan(max(low, self.rates[0]), high, color=COLORS[1], alpha=0.15, lw=0)
            axes.axvline(
                self.threshold.estimate,
                color=COLORS[1],
                lw=1.6,
                ls="--",
                label="diverges from here",
            )

    def _draw_shares(self, right: Axes) -> None:
        """Draw the share of runs that diverge, along an axis on the right."""
        right.plot(self.rates, 100.0 * self.diverged, color="0.6", lw=1.0)
        right.set(ylabel="runs that diverge, % (gray)", ylim=(-2, 102))
        right.spines[["top"]].set_visible(False)


def diverges(last_losses: Array, first_losses: Array) -> NDArray[np.bool_]:
    """Whether each run diverges, (n_rates, n_runs).

    Args:
        last_losses: The loss of the last epoch of each run, (n_rates, n_runs); not finite if the
            run did not stay finite.
        first_losses: The loss of each replicate before training, (n_runs,).
    """
    return np.asarray(~(last_losses <= first_losses))


def threshold(rates: Array, diverging: NDArray[np.bool_]) -> Interval:
    """The median over the seeds of the rate from which on training diverges.

    Of an even number of seeds the estimate is the smaller one of the two in the middle: a mean of
    both would be none if one of them never diverges, or always does.

    Args:
        rates: The learning rates in ascending order, (n_rates,).
        diverging: Whether each run diverges, (n_rates, n_seeds).
    """
    n_seeds = diverging.shape[1]
    none = np.zeros((1, n_seeds), int)
    # If the rates from position p on diverge: those below it that do, and those above that do not.
    below = np.vstack([none, np.cumsum(diverging, axis=0)])
    above = np.vstack([np.cumsum(~diverging[::-1], axis=0)[::-1], none])
    places = np.argmin(below + above, axis=0)
    lower, upper = np.concatenate([[0.0], rates]), np.concatenate([rates, [np.inf]])
    middle = np.sort(places)[(n_seeds - 1) // 2]
    estimate = float(np.sqrt(lower[middle] * upper[middle])) if lower[middle] else 0.0
    return Interval(
        estimate, median_interval(lower[places]).low, median_interval(upper[places]).high
    )


def best_rate(rates: Array, scores: Array, objective: Objective, horizon: float) -> Interval:
    """The rate with the best scores, with a bootstrap interval over the seeds.

    A bootstrap of few seeds is too narrow: with fewer than ``runs_for_median()`` there is no
    interval.

    Args:
        rates: The learning rates, (n_rates,).
        scores: The score of each run, (n_rates, n_seeds).
        objective: The objective.
        horizon: The maximum number of epochs.
    """
    best = int(np.argmin([objective.center(some, horizon) for some in scores]))
    if not np.isfinite(objective.center(scores[best], horizon)):
        return Interval.without_bounds(np.nan)
    n_seeds = scores.shape[1]
    if n_seeds < runs_for_median():
        return Interval.without_bounds(float(rates[best]))
    drawn = np.random.RandomState(0).randint(n_seeds, size=(N_DRAWN, n_seeds))
    values = scores[:, drawn]
    centers = (
        np.minimum(values, horizon).mean(axis=2) if objective.is_time else np.median(values, axis=2)
    )
    found = np.sort(rates[np.argmin(centers, axis=0)])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = (found[round(q * (N_DRAWN - 1))] for q in (tail, 1.0 - tail))
    return Interval(float(rates[best]), float(low), float(high))


def estimate(grouped: Grouped, objective: Objective, read_losses: ReadLosses) -> LrRange | None:
    """The rates of a sweep of ``search=lr_range``.

    Args:
        grouped: A group for each rate.
        objective: What the best rate is chosen by.
        read_losses: Reads the losses of runs at given epochs. The loss before training is that of
            the first epoch at the smallest rate, which has hardly changed the weights.

    Returns:
        The rates; None for fewer than two, or without seeds that all of them have.
    """
    groups = sorted(grouped.groups, key=lambda one: float(one.settings.get("lr", "0")))
    shared = sorted(set.intersection(*(set(one.column(REPLICATE).tolist()) for one in groups)))
    if len(groups) < 2 or not shared or "lr" not in groups[0].settings:
        return None
    by_replicate = [
        dict(zip(one.column(REPLICATE).tolist(), one.row_indices.tolist(), strict=True))
        for one in groups
    ]
    rows = np.array([[of_rate[replicate] for replicate in shared] for of_rate in by_replicate])
    table = groups[0].table
    # With validation rows the final loss is that of an earlier epoch.
    last, final = table.columns.get("last_epoch_loss"), table.columns["final_loss"]
    last = final if last is None else np.where(np.isnan(last), final, last)
    scores = objective.scores(table.columns[objective.metric], table.outcomes)
    first = read_losses(table.frame.iloc[rows[0]], np.ones(1))[:, 0]
    rates = np.array([float(one.settings["lr"]) for one in groups])
    horizon = min(one.max_epochs for one in groups)
    dependent = [one.units for one in groups if not one.is_independent]
    replicates = Replicates(
        counted=replace(grouped, n_replicates=len(shared)).counted_replicates,
        shared=listed([f"{unit.name}s" for unit in dependent[0]]) if dependent else "",
    )
    diverging = diverges(last[rows], first)
    return LrRange.of(rates, diverging, scores[rows], objective, replicates, horizon)
