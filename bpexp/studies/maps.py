"""The measurements of a study on a grid, as maps."""

from bpexp.render.document import Image
from bpexp.render.figure_files import png
from bpexp.render.study_maps import GridAxis, GridMaps, study_maps
from bpexp.render.wording import counted
from bpexp.studies.definition import Study
from bpexp.studies.measures import MEASURES
from bpexp.typing import Array


def grid_maps(study: Study, values: Array) -> GridMaps:
    """Arrange the values of a study's first measure by row and point of the grid.

    Args:
        study: A study with a grid of two axes.
        values: (n_rows, n_runs), NaN where a run has no value.
    """
    y, x = study.grid
    cells = values.reshape(len(study.rows), y.count, x.count, study.trials)
    measure = MEASURES[study.measures[0]]
    return GridMaps(
        GridAxis(y.name, y.values), GridAxis(x.name, x.values),
        {row.name: cell for row, cell in zip(study.rows, cells, strict=True)},
        measure.title, (0.0, 1.0) if measure.is_share else None,
    )  # fmt: skip


def picture(study: Study, values: Array) -> Image:
    """Draw the maps of ``grid_maps``, with a caption for the page of the study."""
    maps = grid_maps(study, values)
    caption = (
        f"{maps.label.capitalize()}, by {maps.x.name} and {maps.y.name}: the mean over "
        f"{counted(study.trials, 'seed')} at each point."
    )
    return Image("study.png", caption, png(study_maps(maps)))
