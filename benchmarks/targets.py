"""What was set out to be reached, and by how much it is or is not."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.rounds import Row, Table


class Target(NamedTuple):
    """``figure`` of the table of ``part`` whose title begins with ``table``, NaN where it was not
    measured; the least it is to be, or where ``at_most`` the most.
    """

    part: str
    table: str
    about: str
    asked: float
    figure: Callable[[Table], float]
    at_most: bool = False


def times(name: str) -> Callable[[Table], float]:
    """How many times our cost the contestant ``name`` takes."""

    def figure(table: Table) -> float:
        return next((_times(table, row) for row in table.rows if row.name == name), math.nan)

    return figure


def quickest_peer(table: Table) -> float:
    """How many times our cost the cheapest of the others takes."""
    return min((_times(table, row) for row in table.rows[1:] if not row.missing), default=math.nan)


def _times(table: Table, row: Row) -> float:
    return math.nan if row.missing else statistics.median(row.times(table.rows[0]))


def cost(name: str) -> Callable[[Table], float]:
    """The median of the row whose name begins so."""

    def figure(table: Table) -> float:
        return next((r.median for r in table.rows if r.costs and r.name.startswith(name)), math.nan)

    return figure


TARGETS = (
    Target("sweep", "The whole sweep", "times faster a run than Hydra, joblib launcher and MLflow",
           200, times("Hydra + joblib launcher + MLflow")),
    Target("training", "xor", "times faster than JAX, xor",
           3, times("JAX, jit(vmap(scan))")),
    *(Target("training", name, f"times faster than the quickest peer, {name}", 1, quickest_peer)
      for name in ("xor", "parity", "encoder", "digits")),
    *(Target("limit", name, f"the C program's time by ours, {name}", 0.5, times("C, gcc -O3"))
      for name in ("xor", "parity", "encoder")),
    Target("growth", "Growth", "ms a run at 10,000 runs", 3, cost("10,000 runs"), at_most=True),
    Target("terminal", "At the terminal", "s for --help", 0.5, cost("--help"), at_most=True),
    Target("terminal", "At the terminal", "s for a default run, tracked",
           3, cost("a default run"), at_most=True),
)  # fmt: skip


def lines(parts: Mapping[str, Sequence[Table]]) -> Iterator[str]:
    """A Markdown table of the targets whose figures were measured."""
    yield from ("| | asked | measured | |", "| --- | ---: | ---: | --- |")
    for target in TARGETS:
        for table in parts.get(target.part, ()):
            if table.title.startswith(target.table):
                yield _line(target, target.figure(table))


def _line(target: Target, figure: float) -> str:
    word = "at most" if target.at_most else "at least"
    short = figure / target.asked if target.at_most else target.asked / figure
    if math.isnan(figure):
        return f"| {target.about} | {word} {target.asked:g} | | not measured |"
    verdict = "reached" if short <= 1 else f"not reached, by a factor of {short:.4g}"
    return f"| {target.about} | {word} {target.asked:g} | {figure:.3g} | {verdict} |"
