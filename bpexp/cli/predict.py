"""``bpexp predict``: predictions of a run's network for the rows of a file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bpexp.cli.commands import add_best_run, best_run, store_parser
from bpexp.data.tabular import read_table
from bpexp.export.stored_predictor import read_predictor
from bpexp.fields.checks import ConfigError
from bpexp.render.wording import counted
from bpexp.sweeps.job import format_setting
from bpexp.training.predictor import Predictor

_HEADER = b"row,predicted "
"""The beginning of a file of predictions."""


def main(arguments: Sequence[str]) -> None:
    """Print the predictions, or write them to a file."""
    parser = store_parser("predict", "Predict the targets of new rows with the network of a run.")
    add_best_run(parser)
    parser.add_argument(
        "file", metavar="FILE", help="a table with the input columns of the training data"
    )
    parser.add_argument("--output", metavar="CSV", help="write here instead of printing")
    options = parser.parse_args(arguments)
    if options.output is not None:
        _check_output(Path(options.output))
    predictor = read_predictor(*best_run(options, options.run))
    try:
        frame = read_table(options.file, predictor.config.data)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.path", "FILE")) from error
    table = predictions_table(predictor, frame, options.file)
    if options.output is None:
        table.to_csv(sys.stdout, index=False)
        return
    try:
        table.to_csv(options.output, index=False)
    except OSError as error:
        raise _not_writable(options.output, error) from error
    print(f"Written: {options.output} ({counted(len(table), 'row')})")


def _not_writable(output: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"--output must be a file that can be written, got {output!r}: {error.strerror}."
    )


def _check_output(file: Path) -> None:
    """Refuse to write over a file that holds no predictions, such as the data or the store."""
    if not file.is_file():
        return
    try:
        with file.open("rb") as content:
            start = content.read(len(_HEADER))
    except OSError as error:
        raise _not_writable(str(file), error) from error
    if start not in (b"", _HEADER):
        raise ConfigError(
            f"--output must be a new file or earlier predictions, got {str(file)!r}, which holds "
            "something else; choose another name, or delete it first."
        )


def predictions_table(
    predictor: Predictor, frame: pd.DataFrame, name: str = "the table"
) -> pd.DataFrame:
    """The predictions for a table: a line for each row, numbered from 1.

    A regression has a column ``predicted TARGET``. A classification has the predicted class, and
    the probability of each class, or the output of each unit where these are no probabilities.

    Args:
        predictor: The network.
        frame: Rows with the columns of the training data.
        name: What error messages call the table.

    Raises:
        ConfigError: A column is missing, or a cell is not a finite number.
    """
    data = predictor.dataset
    outputs = predictor.outputs(frame, name)
    labels = predictor.labels(outputs).reshape(len(outputs), -1)
    targets = (data.label_name,) if data.is_one_hot else data.targets
    columns: dict[str, Any] = {"row": range(1, len(outputs) + 1)}
    columns |= {f"predicted {target}": labels[:, i] for i, target in enumerate(targets)}
    if data.is_classification:
        for target in targets:
            classes = columns[f"predicted {target}"]
            columns[f"predicted {target}"] = [format_setting(label) for label in classes.tolist()]
        values, kind, names = predictor.probabilities(outputs), "probability of", predictor.classes
        if values is None:
            names = data.labels if data.is_one_hot else data.targets
            values, kind = outputs, "output"
        columns |= {f"{kind} {format_setting(n)}": values[:, i] for i, n in enumerate(names)}
    return pd.DataFrame(columns)
