"""A sweep's results, run by run, and what is kept of the best of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.runs.result import Outcome, TrainResult
from bpexp.sweeps.executors.local import Indexed
from bpexp.typing import Array

DRAWN = 500
"""Loss curves in a sweep's figure at most; the others' are not kept."""

Curve = tuple[Sequence[int], Array]
NO_CURVE: Curve = ((), np.empty(0))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sweep's results. ``curve`` is the thinned (epochs, losses)."""

    index: int
    run_id: str
    name: str
    values: Mapping[str, Any]
    config: TrainConfig
    outcome: str
    reason: str = ""
    final_loss: float | None = None
    epochs_run: int | None = None
    accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    lowest_validation_loss: float | None = None
    curve: Curve = NO_CURVE


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Finished runs by final loss, the lowest first; diverged and failed runs are left out."""
    sound = [r for r in rows if r.final_loss is not None and r.outcome != Outcome.DIVERGED]
    return sorted(sound, key=lambda r: (r.final_loss, r.index))


class Tally:
    """The rows of a sweep by their places, with the curves of the best, and what the best of all
    predicts: ``predictions``, (n_samples, n_outputs).
    """

    def __init__(
        self, rows: Mapping[int, Row] | None = None, predictions: Array | None = None
    ) -> None:
        self.rows, self.predictions = dict(rows or {}), predictions
        self._best: list[Row] = ranked(self.rows.values())[:1]
        self._with_curve: list[Row] = []

    def add(self, pack: Sequence[Indexed], rows: Sequence[Row]) -> None:
        """Take in a pack's results and the rows that were made of them."""
        self.rows |= {row.index: row for row in rows}
        sound = ranked(rows)
        first = ranked([*self._best, *sound[:1]])[:1]
        if first != self._best:
            self._best, self.predictions = first, _predictions(pack, first[0].index)
        self._with_curve += sound
        if len(self._with_curve) > 2 * DRAWN:
            best_first = ranked(self._with_curve)
            self.rows |= {r.index: replace(r, curve=NO_CURVE) for r in best_first[DRAWN:]}
            self._with_curve = best_first[:DRAWN]


def _predictions(pack: Sequence[Indexed], wanted: int) -> Array | None:
    """A run's own, which do not keep those of its whole pack."""
    result = dict(pack)[wanted]
    return result.predictions.copy() if isinstance(result, TrainResult) else None
