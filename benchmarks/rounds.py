"""Measure several candidates in turn, so that fluctuations of the machine affect all of them."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """The measurements of one candidate.

    Attributes:
        name: Name of the candidate.
        costs: One measurement per round, in the unit of the table.
        missing: Why there are no measurements; empty if there are.
    """

    name: str
    costs: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def median(self) -> float:
        """Median of the measurements."""
        return statistics.median(self.costs)

    def ratios(self, other: "Row") -> list[float]:
        """Measurements divided by those of another candidate, round by round."""
        return [mine / its for mine, its in zip(self.costs, other.costs, strict=True)]


@dataclass
class Table:
    """A comparison; the other rows are compared with the first one.

    Attributes:
        title: Title of the table.
        unit: Unit of the measurements.
        note: How they were measured.
        rows: The candidates.
    """

    title: str
    unit: str
    note: str
    rows: list[Row]

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Table":
        """Convert the result of ``dataclasses.asdict`` back."""
        return cls(**{**values, "rows": [Row(**row) for row in values["rows"]]})


class MissingError(Exception):
    """A candidate cannot be measured on this machine; the message says why."""


def alternate(candidates: Mapping[str, Callable[[], float]], rounds: int) -> list[Row]:
    """Measure every candidate once per round.

    Args:
        candidates: A function for each name that makes one measurement or raises MissingError.
        rounds: Number of rounds.

    Returns:
        One row per candidate.
    """
    rows = {name: Row(name) for name in candidates}
    for _ in range(rounds):
        for name, measure in candidates.items():
            if not rows[name].missing:
                try:
                    rows[name].costs.append(measure())
                except MissingError as error:
                    rows[name].missing = str(error)
                    rows[name].costs.clear()
    return list(rows.values())
