"""Looks at the validation rows: when training ends by them, and which weights are kept.

After every ``stop.validation_interval`` epochs, and at the end, each run's loss E on these rows
is evaluated. The weights of the lowest E are the run's. A run stops (L. Prechelt, Proben1, 1994,
section 3.3)

- after ``stop.patience`` epochs without a new lowest E;
- where E is more than ``stop.generalization`` per cent above its lowest (GL);
- where the training losses of the last ``stop.validation_interval`` epochs have a mean less than
  ``stop.progress`` per thousand above their lowest (P).

All of a run's looks depend on its own configuration only.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bpexp.config.schema import StopConfig
from bpexp.nn.arithmetic import EXACT
from bpexp.runs.result import Validation
from bpexp.training.engine import NO_PATIENCE, Engine, Integers, Lanes, Problem
from bpexp.typing import Array


class Watch:
    """What the looks at the validation rows, X and Y, have seen of each run of a pack.

    ``engine`` calculates their losses. ``stops``: each run's stopping rules; ``every`` is the same
    for all.
    """

    def __init__(
        self, problem: Problem, X: Array, Y: Array, stops: Sequence[StopConfig], engine: Engine
    ) -> None:
        self._engine = engine
        self._problem = replace(
            problem, X=np.ascontiguousarray(X), Y=np.ascontiguousarray(Y), batch_size=len(X),
            rule="gradient_descent", decays=False,
        )  # fmt: skip
        self.every = stops[0].validation_interval
        n = len(stops)
        self._patience = np.array([stop.patience or NO_PATIENCE for stop in stops])
        self._rise = np.array([_or_infinite(stop.generalization) for stop in stops])
        self._progress = np.array([stop.progress or -1.0 for stop in stops])
        self._best, self._since = np.full(n, np.inf), np.zeros(n, np.int64)
        self._kept = np.empty((problem.network.n_parameters, n))
        self._seen: list[list[tuple[int, float]]] = [[] for _ in stops]

    def look(
        self, runs: Integers, parameters: Array, epoch: int, strip: Array
    ) -> NDArray[np.bool_]:
        """Take the losses of ``runs`` with their parameters, (n_parameters, L), after ``epoch``
        epochs; ``strip`` are their training losses since the last regular look, (epochs, L),
        none if this is not one. Returns which runs stall.
        """
        losses = self._losses(parameters)
        # Also a first loss that is not finite is the lowest there is.
        first = np.array([not self._seen[run] for run in runs])
        better = first | (losses < self._best[runs])
        self._best[runs] = np.where(better, losses, self._best[runs])
        self._since[runs] = np.where(better, epoch, self._since[runs])
        self._kept[:, runs[better]] = parameters[:, better]
        for run, loss in zip(runs, losses.tolist(), strict=True):
            self._seen[run].append((epoch, loss))
        rising = losses > self._best[runs] * (1.0 + self._rise[runs] / 100.0)
        return (
            rising | (epoch - self._since[runs] >= self._patience[runs]) | self._idle(runs, strip)
        )

    def kept(self, run: int) -> Array:
        """The run's parameters at its lowest loss, (n_parameters,)."""
        return self._kept[:, run].copy()

    def seen(self, run: int) -> Validation:
        """All that was seen of the run."""
        epochs, losses = zip(*self._seen[run], strict=True)
        return Validation(np.array(epochs, np.int64), np.array(losses))

    def _losses(self, parameters: Array) -> Array:
        """Of the validation rows: those of an epoch on them whose update is for nobody."""
        P, L = parameters.shape
        never = np.full(L, -1.0)
        lanes = Lanes(
            run=np.arange(L), parameters=parameters.copy(), slots=np.empty((0, P, L)),
            settings=np.empty((0, L)), lr=np.zeros(L), decay=np.zeros(L), stop_loss=never,
            stop_tolerance=never, patience=np.full(L, NO_PATIENCE), best=np.full(L, np.inf),
            waited=np.zeros(L, np.int64), outputs=np.empty((*self._problem.Y.shape, L)),
        )  # fmt: skip
        losses: Array = self._engine(self._problem, lanes, np.ones(1), None).losses[0]
        return losses

    def _idle(self, runs: Integers, strip: Array) -> NDArray[np.bool_]:
        if not len(strip):
            return np.zeros(len(runs), bool)
        lowest = len(strip) * strip.min(axis=0)
        idle: NDArray[np.bool_] = (
            1000.0 * (EXACT.sum(strip, 0) - lowest) < self._progress[runs] * lowest
        )
        return idle


def _or_infinite(value: float | None) -> float:
    return np.inf if value is None else value
