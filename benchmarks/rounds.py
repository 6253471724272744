"""Contestants take turns, so that what else the machine does strikes all of them."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One contestant's cost in each round, in its table's unit; or why it has none."""

    name: str
    costs: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.costs)

    def times(self, first: "Row") -> list[float]:
        """How many times ``first``'s cost, round by round."""
        return [mine / its for mine, its in zip(self.costs, first.costs, strict=True)]


@dataclass
class Table:
    """A comparison; the first row is what the others are held against."""

    title: str
    unit: str
    note: str
    rows: list[Row]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Table":
        """From what ``dataclasses.asdict`` made of one."""
        return cls(**{**values, "rows": [Row(**row) for row in values["rows"]]})


class MissingError(Exception):
    """A contestant cannot run here; says why."""


def alternate(contestants: Mapping[str, Callable[[], float]], rounds: int) -> list[Row]:
    """Each contestant's costs, one of each a round."""
    rows = {name: Row(name) for name in contestants}
    for _ in range(rounds):
        for name, cost in contestants.items():
            if not rows[name].missing:
                try:
                    rows[name].costs.append(cost())
                except MissingError as reason:
                    rows[name].missing = str(reason)
                    rows[name].costs.clear()
    return list(rows.values())
