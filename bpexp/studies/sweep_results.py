"""The results of a study's sweep: its evaluation, and the files of its parent run."""

from bpexp.render import plots
from bpexp.studies.definition import Study
from bpexp.studies.maps import grid_maps
from bpexp.studies.measures import StudyRun
from bpexp.studies.verdict import Evaluation, evaluate
from bpexp.sweeps.runner import FinishedSweep
from bpexp.sweeps.summary import StudyFiles


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
        files["study.png"] = plots.png(plots.study_maps(grid_maps(study, evaluation.values[0])))
    return StudyFiles(note, files)
