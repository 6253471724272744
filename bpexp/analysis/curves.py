"""Loss curves of a group of runs: the median with a band from the 5th to the 95th percentile."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bpexp.analysis.groups import Group, as_floats
from bpexp.typing import Array

MAX_RUNS = 400
"""The curves of at most this many runs per group are read, drawn at random from larger groups."""

MAX_EPOCHS = 200
"""Number of epochs at which a band is computed, at most."""

ReadLosses = Callable[["pd.DataFrame", Array], Array]
"""A function (rows of runs, epochs) -> losses (n_runs, n_epochs). What it returns for epochs after
the end of a run is not used for training losses; it is the last one for validation losses."""


@dataclass(frozen=True, eq=False)
class Band:
    """Percentiles of the loss over the runs of a group.

    Attributes:
        epochs: Epochs, (k,).
        median: Median loss at each epoch, (k,).
        low: 5th percentile, (k,).
        high: 95th percentile, (k,).
    """

    epochs: Array
    median: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class LossBands:
    """The bands of a group.

    Attributes:
        training: Of the training loss.
        validation: Of the validation loss; None without validation rows.
    """

    training: Band
    validation: Band | None


def band(group: Group, read_losses: ReadLosses, seed: int) -> Band:
    """Compute the band of a group at epochs spaced evenly on a logarithmic scale.

    A run keeps its final loss after its end; a diverged run has the loss +inf from then on.

    Args:
        group: The runs.
        read_losses: Reads the losses of runs at given epochs.
        seed: Seed for the choice of runs in a group of more than ``MAX_RUNS``.

    Returns:
        The percentiles at up to ``MAX_EPOCHS`` epochs.
    """
    rows = _drawn(group, seed)
    last_epoch, epochs = as_floats(rows["epochs_run"]), _epochs(rows)
    losses = read_losses(rows, epochs)
    losses = np.where(epochs > last_epoch[:, None], _last_losses(rows)[:, None], losses)
    return _percentiles(rows, epochs, losses)


def validation_band(group: Group, read_losses: ReadLosses, seed: int) -> Band | None:
    """Compute the band of the validation loss of a group, see ``band``.

    Args:
        group: The runs.
        read_losses: Reads the validation losses of runs at given epochs; after the end of a run
            its last one.
        seed: Seed for the choice of runs in a group of more than ``MAX_RUNS``.

    Returns:
        The percentiles from the first evaluation on; None if no run has validation rows.
    """
    rows = _drawn(group, seed)
    if "lowest_validation_loss" not in rows:
        return None
    rows = rows[~np.isnan(as_floats(rows["lowest_validation_loss"]))]
    if rows.empty:
        return None
    interval = "stop.validation_interval"
    first = float(as_floats(rows[interval]).max()) if interval in rows else 1.0
    epochs = _epochs(rows)
    epochs = epochs[epochs >= min(first, epochs[-1])]
    return _percentiles(rows, epochs, read_losses(rows, epochs))


def _drawn(group: Group, seed: int) -> "pd.DataFrame":
    """All runs of a group, or a random sample of them."""
    rows = group.rows
    return rows.sample(MAX_RUNS, random_state=seed) if len(rows) > MAX_RUNS else rows


def _epochs(rows: "pd.DataFrame") -> Array:
    """Epochs at which a band is computed, evenly spaced on a logarithmic scale."""
    last = float(as_floats(rows["epochs_run"]).max())
    return np.unique(np.geomspace(1.0, last, MAX_EPOCHS).round())


def _percentiles(rows: "pd.DataFrame", epochs: Array, losses: Array) -> Band:
    """The percentiles of losses, (n_runs, n_epochs), where a diverged run ends at +inf."""
    diverged = (rows["outcome"] == "diverged").to_numpy()[:, None]
    has_ended = epochs > as_floats(rows["epochs_run"])[:, None]
    losses = np.where(np.isnan(losses) | (diverged & has_ended), np.inf, losses)
    # This method never interpolates between a finite and an infinite loss.
    low, median, high = np.quantile(losses, [0.05, 0.5, 0.95], axis=0, method="inverted_cdf")
    return Band(epochs=epochs, median=median, low=low, high=high)


def _last_losses(rows: pd.DataFrame) -> Array:
    """The training loss of each run's last epoch, (n_runs,)."""
    final = as_floats(rows["final_loss"])
    if "last_epoch_loss" not in rows:
        return final
    # Only runs with validation rows, which may keep the weights of another epoch, have it.
    last = as_floats(rows["last_epoch_loss"])
    return np.where(np.isnan(last), final, last)
