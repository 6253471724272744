"""The results of a study's sweep: its verdicts, and the files of its parent run."""

import csv
import io
from collections.abc import Iterator, Sequence

import numpy as np

from bpexp.render import plots
from bpexp.studies import verdict
from bpexp.studies.definition import Study
from bpexp.studies.measures import MEASURES, Run
from bpexp.studies.verdict import Verdict
from bpexp.sweeps.runner import FinishedSweep
from bpexp.sweeps.summary import StudyFiles
from bpexp.typing import Array


def verdicts(study: Study, finished: FinishedSweep) -> list[Verdict]:
    """The verdicts on a study's rows, from the results of its sweep."""
    return verdict.verdicts(study, list(_measured_rows(study, finished)))


def _measured_rows(study: Study, finished: FinishedSweep) -> Iterator[list[Array]]:
    """For each row and measure the values of its runs, (n_runs,); NaN for a run without one."""
    values = np.full((len(study.measures), len(finished.plan.jobs)), np.nan)
    for row in finished.rows:
        run = Run(
            row.outcome,
            row.metrics.get("epochs_run"),
            row.metrics.get("final_loss"),
            row.metrics.get("test_loss"),
            row.metrics.get("test_accuracy"),
        )
        for place, name in enumerate(study.measures):
            values[place, row.job.index] = MEASURES[name].of(run)
    by_row = values.reshape(len(study.measures), len(study.rows), -1)
    for place in range(len(study.rows)):
        yield list(by_row[:, place])


def study_files(study: Study, finished: FinishedSweep) -> StudyFiles:
    """The verdicts in Markdown and CSV, and a map of the first measure if there is a grid."""
    judged = verdicts(study, finished)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(verdict.table(study, judged))
    note = verdict.markdown(study, judged)
    files = {"study.md": note.encode(), "study.csv": text.getvalue().encode()}
    if study.grid:
        measured = [values[0] for values in _measured_rows(study, finished)]
        files["study.png"] = _maps(study, measured)
    return StudyFiles(note, files)


def _maps(study: Study, measured: Sequence[Array]) -> bytes:
    """The mean of the first measure at each point of the grid, a map for each row; PNG."""
    y, x = (plots.GridAxis(axis.name, axis.values) for axis in study.grid)
    measure = MEASURES[study.measures[0]]
    shape = (len(y.values), len(x.values), study.trials)
    maps = [
        (row.name, _mean_of_finite(values.reshape(shape)))
        for row, values in zip(study.rows, measured, strict=True)
    ]
    limits = (0.0, 1.0) if measure.is_share else None
    return plots.png(plots.study_maps((y, x), maps, measure.title, limits))


def _mean_of_finite(values: Array) -> Array:
    """The mean over the last axis of the values that are finite; NaN where none is."""
    finite = np.isfinite(values)
    sums, counts = np.where(finite, values, 0.0).sum(axis=-1), finite.sum(axis=-1)
    mean: Array = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return mean
