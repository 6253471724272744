"""The results of a study's sweep: its evaluation, and the files of its parent run."""

from collections.abc import Mapping
from typing import Any

from bpexp.render import markdown
from bpexp.studies import maps, page
from bpexp.studies.definition import parse
from bpexp.studies.measures import StudyRun
from bpexp.studies.verdict import evaluate
from bpexp.sweeps.runner import FinishedSweep, StudyResults


def study_results(definition: Mapping[str, Any], finished: FinishedSweep) -> StudyResults:
    """Compare the runs of a study's sweep with the published results.

    The files are the page in Markdown, HTML and LaTeX, its table as CSV, and a map of the first
    measure if there is a grid. The note, beside which no picture can be stored, has none.

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
    images = [maps.picture(study, evaluation.values[0])] if study.grid else []
    return StudyResults(
        note=markdown.render(page.document(evaluation, [])),
        files=page.files(evaluation, images),
        table=evaluation.table,
        sentences=evaluation.sentences(),
    )
