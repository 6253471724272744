"""Tabulate the predictions of the best, the median and the worst run."""

from typing import Any

import numpy as np
import pandas as pd

from bpexp.analysis.findings import Findings, representative_runs
from bpexp.analysis.surface import ReadArtifact
from bpexp.fields.checks import ConfigError
from bpexp.runs import predictions_file
from bpexp.runs.metrics import Split
from bpexp.tracking.ids import short

MAX_SAMPLES = 200
"""Number of training rows per run in the table; the artifact of the run has all rows."""

Sample = dict[str, Any]


def predictions(findings: Findings, read_artifact: ReadArtifact) -> pd.DataFrame:
    """Read the predictions of the representative runs.

    Args:
        findings: The ranked groups.
        read_artifact: Reads an artifact of a run.

    Returns:
        One row per run and sample with the columns ``rank`` (best, median or worst), ``run``,
        ``seed``, ``sample``, ``inputs`` (a list, empty for large data sets), ``target`` and
        ``prediction`` (numbers, or lists for several outputs; a class is a text). A run without a
        file of predictions has no rows.

    Raises:
        ConfigError: A file of predictions is damaged.
    """
    table: list[Sample] = []
    for rank, row in representative_runs(findings):
        for name in predictions_file.NAMES:
            content = read_artifact(row, name)
            if content is not None:
                run = {"rank": rank, "run": row["run_id"], "seed": int(row["seed"])}
                samples = _parse(content, f"{name} of run {short(row['run_id'])}")
                table += [run | sample for sample in samples]
    return pd.DataFrame(table)


def _parse(content: bytes, name: str) -> list[Sample]:
    """The first training rows of a file of predictions; ``name`` is for the error message."""
    columns = predictions_file.read(content, name)
    try:
        counts = predictions_file.column_counts(list(columns))
    except ValueError as error:
        raise ConfigError(f"{name} is damaged: {error}.") from error
    _, split, *values = columns.values()
    samples = np.flatnonzero(split == Split.TRAINING.value)[:MAX_SAMPLES]
    rows = [[column[sample] for column in values] for sample in samples.tolist()]
    n_inputs, end = counts.n_inputs, counts.n_inputs + counts.n_targets
    return [
        {"sample": number, "inputs": row[:n_inputs], "target": _unwrap(row[n_inputs:end]),
         "prediction": _unwrap(row[-counts.n_outputs :])}
        for number, row in enumerate(rows)
    ]  # fmt: skip


def _unwrap(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
