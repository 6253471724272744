"""The results of a study's sweep: its evaluation, and the files of its parent run."""

from typing import TYPE_CHECKING

import numpy as np

from bpexp.render import plots
from bpexp.studies.definition import Study
from bpexp.studies.measures import MEASURES, StudyRun
from bpexp.studies.verdict import Evaluation, evaluate
from bpexp.sweeps.runner import FinishedSweep
from bpexp.sweeps.summary import StudyFiles
from bpexp.typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluate_sweep(study: Study, finished: FinishedSweep) -> Evaluation:
    """Compare the runs of a study's sweep with the published results."""
    runs = {
        row.job.index: StudyRun(row.outcome, row.metrics.get("epochs_run"), row.metrics)
        for row in finished.rows
    }
    return evaluate(study, runs)


def study_files(study: Study, finished: FinishedSweep) -> StudyFiles:
    """The evaluation in Markdown and CSV, and a map of the first measure if there is a grid."""
    evaluation = evaluate_sweep(study, finished)
    files = evaluation.files()
    note = files["study.md"].decode()
    if study.grid:
        files["study.png"] = plots.png(grid_plot(study, evaluation.values[0]))
    return StudyFiles(note, files)


def grid_plot(study: Study, values: Array) -> "Figure":
    """Plot the mean of the first measure at each point of the grid, a map for each row.

    Args:
        study: A study with a grid.
        values: The measure of every run, (n_rows, n_points * trials); nan where a run has none.
    """
    y, x = (plots.GridAxis(axis.name, axis.values) for axis in study.grid)
    measure = MEASURES[study.measures[0]]
    cells = values.reshape(len(study.rows), len(y.values), len(x.values), study.trials)
    titles = [row.name for row in study.rows]
    maps = list(zip(titles, _mean_of_finite(cells), strict=True))
    limits = (0.0, 1.0) if measure.is_share else None
    return plots.study_maps((y, x), maps, measure.title, limits)


def _mean_of_finite(values: Array) -> Array:
    """The mean over the last axis of the values that are finite; NaN where none is."""
    finite = np.isfinite(values)
    sums, counts = np.where(finite, values, 0.0).sum(axis=-1), finite.sum(axis=-1)
    mean: Array = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return mean
