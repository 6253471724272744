"""Tabulate the predictions of the best, the median and the worst run."""

import csv
import io
from typing import TYPE_CHECKING, Any

from bpexp.analysis.findings import Findings, representative_runs
from bpexp.analysis.surface import ReadArtifact
from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    import pandas as pd

MAX_SAMPLES = 200
"""Number of samples per run in the table; the artifact predictions.csv has all of them."""

Sample = dict[str, Any]


def predictions(findings: Findings, read_artifact: ReadArtifact) -> "pd.DataFrame":
    """Read the predictions of the representative runs.

    Args:
        findings: The ranked groups.
        read_artifact: Reads an artifact of a run.

    Returns:
        One row per run and sample with the columns ``rank`` (best, median or worst), ``run``,
        ``seed``, ``sample``, ``inputs`` (a list), ``target`` and ``prediction`` (numbers, or lists
        for several outputs). A run without predictions.csv has no rows.

    Raises:
        ConfigError: A predictions.csv is damaged.
    """
    import pandas as pd

    table: list[Sample] = []
    for rank, row in representative_runs(findings):
        content = read_artifact(row, "predictions.csv")
        if content is not None:
            run = {"rank": rank, "run": row["run_id"], "seed": int(row["seed"])}
            samples = _parse(content, f"predictions.csv of run {row['run_id'][:8]}")
            table += [run | sample for sample in samples]
    return pd.DataFrame(table)


def _parse(content: bytes, name: str) -> list[Sample]:
    try:
        header, *rows = csv.reader(io.StringIO(content.decode()))
        n = _number_of_outputs(header)
        values = [[float(cell) for cell in row] for row in rows[:MAX_SAMPLES]]
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name} is damaged: {error}.") from error
    return [
        {"sample": number, "inputs": row[: -2 * n], "target": _unwrap(row[-2 * n : -n]),
         "prediction": _unwrap(row[-n:])}
        for number, row in enumerate(values)
    ]  # fmt: skip


def _number_of_outputs(header: list[str]) -> int:
    """The last columns are the n targets, then n columns named "predicted <target>"."""
    for n in range(1, len(header) // 2 + 1):
        if header[-n:] == [f"predicted {name}" for name in header[-2 * n : -n]]:
            return n
    raise ValueError("it has no columns of predictions")


def _unwrap(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values
