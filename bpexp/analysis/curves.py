"""Loss curves of a group: the median run and the middle nine tenths."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bpexp.analysis.groups import Group, numbers
from bpexp.typing import Array

if TYPE_CHECKING:
    import pandas as pd

MOST = 400
"""So many runs of a group are read; of more, that many drawn at random."""

ReadLosses = Callable[["pd.DataFrame", Array], Array]
"""(rows of runs, epochs) -> losses (n_runs, n_epochs), nan after a run's end."""


@dataclass(frozen=True, eq=False)
class Band:
    """Median, 5th and 95th percentile of the loss at each epoch, over ``runs`` runs.

    A run that has ended stays at its last loss, a diverged one at +inf.
    """

    epochs: Array
    median: Array
    low: Array
    high: Array
    runs: int


def band(group: Group, read: ReadLosses, seed: int) -> Band:
    """The band of one group, at up to 200 epochs spread evenly on a log scale."""
    rows = group.rows
    if len(rows) > MOST:
        rows = rows.sample(MOST, random_state=seed)
    last = numbers(rows["epochs_run"])
    epochs = np.unique(np.geomspace(1.0, last.max(), 200).round())
    losses = read(rows, epochs)
    ended = epochs > last[:, None]
    diverged = (rows["outcome"] == "diverged").to_numpy()[:, None]
    final = np.where(diverged, np.inf, numbers(rows["final_loss"])[:, None])
    losses = np.where(ended, final, losses)
    losses = np.where(np.isnan(losses), np.inf, losses)
    # Of an even number the lower: between a finite and an infinite loss there is no middle.
    low, median, high = np.quantile(losses, [0.05, 0.5, 0.95], axis=0, method="inverted_cdf")
    return Band(epochs, median, low, high, len(rows))
