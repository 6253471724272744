"""The confusion matrices of a run, as a table and as a picture."""

import csv
import io

from bpexp.data.dataset import Dataset
from bpexp.render import confusion_svg
from bpexp.render.wording import counted
from bpexp.runs.metrics import class_codes
from bpexp.runs.output_metrics import confusion_matrix
from bpexp.runs.predictions_file import label_texts, parts
from bpexp.runs.result import Outcome, TrainResult

TABLE, PICTURE = "confusion_matrix.csv", "confusion_matrix.svg"
MIN_ROWS = 20
"""Smaller data sets have none: their predictions are listed row by row."""
MAX_CLASSES = 50
"""The largest number of classes of a matrix."""


def of_result(result: TrainResult, dataset: Dataset) -> dict[str, bytes]:
    """The files of a run by name; none if it diverged or is no classification into one class.

    The table has the matrix of each kind of rows. The picture shows that of the test rows, or if
    there are none, of the validation or else the training rows.
    """
    is_single = dataset.is_one_hot or len(dataset.targets) == 1
    if not dataset.is_classification or not is_single or result.outcome is Outcome.DIVERGED:
        return {}
    if dataset.n_rows < MIN_ROWS or dataset.n_classes > MAX_CLASSES:
        return {}
    labels = label_texts(dataset)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "class", *(f"predicted {label}" for label in labels)])
    rows, title = [], ""
    for split, outputs in parts(result):
        predicted = dataset.class_codes(outputs)
        counts = confusion_matrix(class_codes(dataset, split), predicted, dataset.n_classes)
        rows, title = counts.tolist(), counted(len(outputs), f"{split} row")
        writer.writerows(
            [split.value, label, *row] for label, row in zip(labels, rows, strict=True)
        )
    # The last kind of rows is the one that the weights were least fitted to.
    picture = confusion_svg.draw(labels, rows, title)
    return {TABLE: buffer.getvalue().encode(), PICTURE: picture.encode()}
