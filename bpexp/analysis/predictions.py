"""What the best, the median and the worst run answered, as one table."""

import csv
import io
from typing import TYPE_CHECKING, Any

from bpexp.analysis.findings import Findings, exemplars
from bpexp.analysis.surface import ReadArtifact
from bpexp.fields.checks import ConfigError

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = 200
"""Of each run so many samples are in the table; predictions.csv has all of them."""

Sample = dict[str, Any]


def predictions(findings: Findings, read: ReadArtifact) -> "pd.DataFrame":
    """One row a sample of these runs; none for a run whose predictions.csv is not there.

    ``inputs`` is a list; ``target`` and ``prediction`` are numbers, lists of several outputs.
    """
    import pandas as pd

    found: list[Sample] = []
    for place, row in exemplars(findings):
        content = read(row, "predictions.csv")
        if content is not None:
            run = {"place": place, "run": row["run_id"], "seed": int(row["seed"])}
            samples = _samples(content, f"predictions.csv of run {row['run_id'][:8]}")
            found += [run | sample for sample in samples]
    return pd.DataFrame(found)


def _samples(content: bytes, name: str) -> list[Sample]:
    try:
        header, *rows = csv.reader(io.StringIO(content.decode()))
        n = _outputs(header)
        values = [[float(cell) for cell in row] for row in rows[:SAMPLES]]
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name} must hold numbers, got {error}.") from error
    return [
        {"sample": number, "inputs": row[: -2 * n], "target": _plain(row[-2 * n : -n]),
         "prediction": _plain(row[-n:])}
        for number, row in enumerate(values)
    ]  # fmt: skip


def _outputs(header: list[str]) -> int:
    """How many there are: the last columns are targets, and the same names as predicted."""
    for n in range(1, len(header) // 2 + 1):
        if header[-n:] == [f"predicted {name}" for name in header[-2 * n : -n]]:
            return n
    raise ValueError("no predictions")


def _plain(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values
