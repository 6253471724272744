"""The results of a study's sweep: its evaluation, and the files of its parent run."""

from collections.abc import Mapping
from typing import Any

from bpexp.render.figure_files import png
from bpexp.render.study_maps import study_maps
from bpexp.studies.definition import parse
from bpexp.studies.maps import grid_maps
from bpexp.studies.measures import StudyRun
from bpexp.studies.verdict import evaluate
from bpexp.sweeps.runner import FinishedSweep, StudyResults


def study_results(definition: Mapping[str, Any], finished: FinishedSweep) -> StudyResults:
    """Compare the runs of a study's sweep with the published results.

    The files are the comparison in Markdown and CSV, and a map of the first measure if there is a
    grid.

    Args:
        definition: The definition of the study as plain values, see ``Plan.study``.
        finished: The sweep.
    """
    study = parse(definition)
    runs = {
        row.job.index: StudyRun(row.outcome, row.metrics.get("epochs_run"), row.metrics)
        for row in finished.rows
    }
    evaluation = evaluate(study, runs)
    files = evaluation.files()
    note = files["study.md"].decode()
    if study.grid:
        files["study.png"] = png(study_maps(grid_maps(study, evaluation.values[0])))
    return StudyResults(note, files, evaluation.table(), evaluation.sentences())
