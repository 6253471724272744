"""What successive halving has risked: whether ranks at a rung agree with later ranks.

>>> table = pd.DataFrame({
...     "combination": ["lr=1", "lr=2", "lr=3", "lr=1", "lr=2"], "epoch": [10, 10, 10, 90, 90],
...     "value": [0.2, 0.1, 0.3, 0.02, 0.05],
...     "decision": ["goes on", "goes on", "stopped", "end", "end"], "objective": "final_loss"})
>>> halving = Halving.of(table)
>>> [(rung.epoch, rung.n_judged, rung.n_kept, rung.place_of_best) for rung in halving.rungs]
[(10, 3, 2, 2)]
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from bpexp.analysis import objective_axes
from bpexp.analysis.words import number
from bpexp.fields.checks import ConfigError
from bpexp.render.axes import (
    COLORS,
    light_grid,
    panel,
)
from bpexp.render.document import Table
from bpexp.render.wording import counted
from bpexp.runs.objective import Objective, objectives
from bpexp.sweeps.rungs_table import COLUMNS, DIVERGED, END, GOES_ON, NAME, STOPPED
from bpexp.sweeps.sweep_integrity import checked_file
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun

MIN_RANKED = 3
"""Combinations of which a rank correlation says anything."""
MAX_STOPPED = 50
"""Maximum number of stopped combinations in the report."""


class Correlation(NamedTuple):
    """Spearman's rank correlation over ``n`` combinations; nan for too few, or if all are equal."""

    value: float
    n: int

    def __str__(self) -> str:
        """The correlation and the number of combinations."""
        return f"{number(self.value, 2)} ({counted(self.n, 'combination')})" if self.n else "–"


@dataclass(frozen=True)
class RungRanks:
    """The combinations that were judged after an epoch.

    Attributes:
        epoch: The epoch.
        n_judged: Number of combinations.
        n_kept: Number of them that went on.
        next: The correlation of their ranks with those at the next rung, or at the end.
        end: The correlation of their ranks with those at the end.
        place_of_best: The rank, from 1, of the combination that is best at the end; None if it was
            not judged here.
    """

    epoch: int
    n_judged: int
    n_kept: int
    next: Correlation
    end: Correlation
    place_of_best: int | None


@dataclass(frozen=True, eq=False)
class Halving:
    """The combinations that a sweep judged at its rungs.

    Attributes:
        objective: What they were judged by.
        rungs: The rungs, in order.
        values: Values by combination (rows) and epoch (columns); nan where a combination was not
            judged.
        stopped: The epoch and the value of each combination that was stopped, the best last ones
            first.
        n_diverged: The number of combinations of which all runs diverged.
    """

    objective: Objective
    rungs: Sequence[RungRanks]
    values: pd.DataFrame
    stopped: pd.DataFrame
    n_diverged: int

    @classmethod
    def of(cls, table: pd.DataFrame) -> Self:
        """Compare the ranks.

        Args:
            table: A row for each combination at each rung and at its end, with the columns
                ``rungs_table.COLUMNS``.
        """
        objective = objectives()[table["objective"].iloc[0]]
        sign = -1.0 if objective.is_maximized else 1.0
        has_ended = table["decision"].isin([END, DIVERGED])
        at_end = table[has_ended].set_index("combination")["value"]
        judged = table[~has_ended]
        epochs = sorted(set(judged["epoch"].tolist()))
        by_epoch = {
            epoch: judged[judged["epoch"] == epoch].set_index("combination")["value"]
            for epoch in epochs
        }
        best = str((sign * at_end).idxmin()) if len(at_end) else ""
        rungs = []
        for place, (epoch, values) in enumerate(by_epoch.items()):
            later = at_end if place + 1 == len(epochs) else by_epoch[epochs[place + 1]]
            n_kept = int(((judged["epoch"] == epoch) & (judged["decision"] == GOES_ON)).sum())
            ranks = (sign * values).rank(method="min")
            rungs.append(
                RungRanks(
                    epoch, len(values), n_kept, correlation(values, later),
                    correlation(values, at_end), int(ranks[best]) if best in ranks else None,
                )
            )  # fmt: skip
        matrix = table.pivot_table(index="combination", columns="epoch", values="value", sort=False)
        is_out = (judged["decision"] == STOPPED) & ~judged["combination"].isin(at_end.index)
        order = {"epoch": False, "value": not objective.is_maximized}
        stopped = judged[is_out].sort_values(
            list(order), ascending=list(order.values()), kind="stable"
        )
        n_diverged = int((table["decision"] == DIVERGED).sum())
        return cls(objective, rungs, matrix, stopped, n_diverged)

    @property
    def sentences(self) -> list[str]:
        """What was stopped, and how far the ranks agree with those at the end."""
        first = self.rungs[0]
        n_stopped = len(self.stopped)
        were, could = ("was", "it") if n_stopped == 1 else ("were", "one of them")
        said = [
            f"{n_stopped} of {counted(len(self.values), 'combination')} {were} stopped early "
            f"(search.halving) and {'is' if n_stopped == 1 else 'are'} not compared: trained "
            f"further, {could} could have become the best."
        ]
        if not n_stopped:
            said = [
                "The combinations that search.halving stopped were trained to their ends later."
            ]
        if math.isfinite(first.end.value):
            said.append(
                f"The ranks after {counted(first.epoch, 'epoch')} and at the end have the rank "
                f"correlation {number(first.end.value, 2)} over the {first.end.n} combinations "
                f"trained to the end{self._or_diverged}."
            )
        else:
            out = set(self.stopped["combination"])
            at_end = [name for name in self.values.index if name not in out]
            several = f"{counted(first.end.n, 'combination')} of the first rung were"
            said.append(
                f"Only {f'{at_end[0]} was' if len(at_end) == 1 else several} trained to "
                f"the end{self._or_diverged}: too few to say how well early ranks "
                "agree with the last ones; bpexp resume SWEEP --pruned trains the others."
            )
        return said

    @property
    def _or_diverged(self) -> str:
        """What the combinations whose end is known did as well."""
        return " or diverged" if self.n_diverged else ""

    @property
    def table(self) -> Table:
        """A row for each rung."""
        header = ["after epochs", "combinations judged", "went on",
                  "rank correlation with the next",
                  "with the end", "rank of the best at the end"]  # fmt: skip
        rows = [
            [str(r.epoch), str(r.n_judged), str(r.n_kept), str(r.next), str(r.end),
             str(r.place_of_best or "–")]
            for r in self.rungs
        ]  # fmt: skip
        return Table(header, rows, "r" * len(header))

    @property
    def stopped_table(self) -> Table:
        """The combinations that were stopped: those that came furthest first."""
        shown = self.stopped.head(MAX_STOPPED)
        rows = [
            [combination, str(epoch), number(value)]
            for combination, epoch, value in zip(
                shown["combination"], shown["epoch"], shown["value"], strict=True
            )
        ]
        return Table(["combination", "stopped after epochs", "value there"], rows, "lrr")

    def figure(self) -> Figure:
        """The value of each combination at each rung and at its end."""
        figure, axes = panel()
        for combination, values in self.values.iterrows():
            known = values[np.isfinite(values)]
            is_out = combination in set(self.stopped["combination"])
            axes.plot(
                known.index, known, marker="o", ms=4, lw=1.3,
                color="0.6" if is_out else COLORS[0], zorder=1 if is_out else 2,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(self.values.columns, [str(epoch) for epoch in self.values.columns])
        axes.minorticks_off()
        objective_axes.scale(axes.yaxis, self.objective)
        label = self.objective.center_label
        axes.set(xlabel="epochs", ylabel=label, title="Combinations at the rungs of search.halving")
        light_grid(axes)
        return figure


def correlation(values: "pd.Series[float]", later: "pd.Series[float]") -> Correlation:
    """The rank correlation of the combinations that both have."""
    shared = values.index.intersection(later.index)
    a, b = values[shared].to_numpy(), later[shared].to_numpy()
    if len(shared) < MIN_RANKED or (a == a[0]).all() or (b == b[0]).all():
        return Correlation(math.nan, len(shared))
    # By ranks: infinite values have no correlation.
    ranks = (pd.Series(part).rank().to_numpy() for part in (a, b))
    return Correlation(float(spearmanr(*ranks).statistic), len(shared))


def read(archive: Archive, parent: StoredRun) -> Halving | None:
    """The rungs of a stored sweep; None if it judged no combinations.

    Raises:
        ConfigError: The file is broken, or was altered.
    """
    content = checked_file(parent, archive, NAME)
    if content is None:
        return None
    try:
        # Converted afterwards: before 3.1 pandas reads other bits of numbers by default.
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        if list(table.columns) != list(COLUMNS) or table.empty:
            raise ValueError("other columns")
        return Halving.of(table.astype(COLUMNS))
    except (ValueError, KeyError, TypeError, pd.errors.ParserError) as error:
        raise ConfigError(
            f"{NAME} of {parent.label} is a broken file; bpexp resume {parent.short_id} writes "
            "it again."
        ) from error
