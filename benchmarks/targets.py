"""The performance targets, compared with the measurements."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.minibatch import TITLES
from benchmarks.rounds import Row, Table


@dataclass(frozen=True)
class Target:
    """A target for one number of a table.

    Attributes:
        part: Part of the benchmarks, a key of ``page.PARTS``.
        table: Beginning of the table's title.
        label: What the number is.
        goal: The smallest acceptable value, or the largest one if ``at_most``.
        row: Beginning of the name of the row; by default the fastest other candidate.
        at_most: The number is the median of the row. Otherwise it is the median ratio of the
            row's cost to that of the first row, which is bpexp.
    """

    part: str
    table: str
    label: str
    goal: float
    row: str = ""
    at_most: bool = False

    def value(self, table: Table) -> float:
        """The measured number; nan if it is missing."""
        if self.at_most:
            rows = [row for row in table.rows if row.costs and row.name.startswith(self.row)]
            return rows[0].median if rows else math.nan
        rows = [row for row in table.rows[1:] if row.name.startswith(self.row)]
        return min(
            (_ratio(row, table.rows[0]) for row in rows if not row.missing), default=math.nan
        )

    def result(self, value: float) -> str:
        """Whether a value reaches the target, in words."""
        if math.isnan(value):
            return "not measured"
        shortfall = value / self.goal if self.at_most else self.goal / value
        return "reached" if shortfall <= 1 else f"missed by a factor of {shortfall:.4g}"


def _ratio(row: Row, first: Row) -> float:
    return statistics.median(row.ratios(first))


TARGETS = (
    Target("sweep", "Sweep", "time per run of Hydra, joblib launcher and MLflow, relative to bpexp",
           200, "Hydra + joblib launcher + MLflow"),
    *(Target("search", f"Search: trials of 20 seeds on {problem}",
             f"processor time per trial of Optuna + joblib + MLflow, relative to bpexp, {problem}",
             goal, "Optuna + joblib + MLflow")
      for problem, goal in (("parity", 100), ("digits", 20))),
    Target("training", "xor", "training time of JAX relative to bpexp, xor",
           3, "JAX, jit(vmap(scan))"),
    *(Target("training", name, f"training time of the fastest other tool relative to bpexp, {name}",
             1) for name in ("xor", "parity", "encoder", "digits")),
    *(Target("c_program", name, f"training time of the C program relative to bpexp, {name}",
             0.5, "C, gcc -O3") for name in ("xor", "parity", "encoder")),
    *(Target("minibatch", title,
             f"training time of the fastest other tool relative to bpexp, {title}", 1)
      for title in TITLES),
    *(Target("loading", title, f"time of pyarrow.csv relative to bpexp, {title}", 0.667)
      for title in ("CSV of integers", "CSV of decimals")),
    Target("growth", "Growth", "ms per run at 10,000 runs", 3, "10,000 runs", at_most=True),
    *(Target("reading", f"Reading: {name}", f"processor seconds of {name}, 10,000 runs", 10,
             "10,000 runs", at_most=True)
      for name in ("report", "resume of a finished sweep", "a sweep with reuse=true")),
    Target("latency", "Latency", "seconds for --help", 0.5, "--help", at_most=True),
    Target("latency", "Latency", "seconds for the default run", 3, "the default run", at_most=True),
)  # fmt: skip


def rows(parts: Mapping[str, Sequence[Table]]) -> Iterator[list[str]]:
    """Label, goal, measured value and result of each target whose part was measured."""
    for target in TARGETS:
        for table in parts.get(target.part, ()):
            if table.title.startswith(target.table):
                value = target.value(table)
                goal = f"{'at most' if target.at_most else 'at least'} {target.goal:g}"
                shown = "" if math.isnan(value) else f"{value:.3g}"
                yield [target.label, goal, shown, target.result(value)]
