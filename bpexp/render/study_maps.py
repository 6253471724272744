"""Maps of a study: measurements on a grid of two settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bpexp.render.axes import limits, literal
from bpexp.typing import Array


@dataclass(frozen=True)
class GridAxis:
    """One axis of a grid of settings: its name and its values in ascending order."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class GridMaps:
    """Repeated measurements at each point of a grid, for several rows of a study.

    Attributes:
        y: The vertical axis.
        x: The horizontal axis.
        values: For each row's name the values, (n_y, n_x, n_trials); NaN if a run has no value.
        label: Label of the color scale.
        limits: Ends of the color scale; None for the smallest and the largest mean.
    """

    y: GridAxis
    x: GridAxis
    values: Mapping[str, Array]
    label: str
    limits: tuple[float, float] | None = None


def study_maps(maps: GridMaps) -> Figure:
    """Draw the mean over the trials at each point of the grid.

    Args:
        maps: The measurements.

    Returns:
        A figure with one map for each row of the study.
    """
    is_finite = [np.isfinite(values) for values in maps.values.values()]
    sums = [
        np.where(finite, values, 0.0).sum(axis=-1)
        for finite, values in zip(is_finite, maps.values.values(), strict=True)
    ]
    means = _ratio(np.stack(sums), np.stack([finite.sum(axis=-1) for finite in is_finite]))
    low, high = maps.limits or limits(means)
    n_maps = len(means)
    figure = Figure(figsize=(1.2 + 4.0 * n_maps, 4.2), layout="constrained")
    panels = figure.subplots(1, n_maps, squeeze=False, sharey=True)[0]
    for axes, name, mean in zip(panels, maps.values, means, strict=True):
        image = axes.pcolormesh(
            maps.x.values, maps.y.values, mean, cmap="cividis", vmin=low, vmax=high,
            shading="nearest", rasterized=True,
        )  # fmt: skip
        axes.set(xlabel=literal(maps.x.name), title=literal(name))
    panels[0].set(ylabel=literal(maps.y.name))
    figure.colorbar(image, ax=list(panels), label=maps.label)
    return figure


def _ratio(sums: Array, counts: Array) -> Array:
    """sums / counts, NaN where the count is 0."""
    out: Array = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=out, where=counts > 0)
    return out
