"""Train the lanes of a pack to their ends, chunk by chunk, by either engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bpexp.nn.arithmetic import ARITHMETICS
from bpexp.nn.mlp import forward
from bpexp.runs.result import Outcome, TrainResult
from bpexp.training.early_stopping import Watch
from bpexp.training.engine import Ending, Engine, Integers, Lanes, Problem, Progress
from bpexp.typing import Array

OUTCOMES = {
    Ending.RUNNING: Outcome.COMPLETED,
    Ending.CONVERGED: Outcome.CONVERGED,
    Ending.STALLED: Outcome.STALLED,
    Ending.DIVERGED: Outcome.DIVERGED,
}

CHUNK, WORK = 2**18, 2**30
"""Most losses (2 MiB of them) and multiplications between two looks at the world."""


@dataclass(frozen=True)
class Feed:
    """How training goes on from epoch to epoch.

    ``factors(start, stop)``: the learning rate's multiple in these epochs, (stop - start,).
    ``orders(runs, start, stop)``: the samples' order for these runs, or None for index order.
    After every ``restart`` epochs (never, for None) ``restarted(runs, times)`` are the lanes
    that go on for these runs, drawn anew for so many-th time.
    """

    factors: Callable[[int, int], Array]
    orders: Callable[[Integers, int, int], Integers | None]
    restart: int | None
    restarted: Callable[[Integers, int], Lanes]


def train(
    problem: Problem, lanes: Lanes, epochs: int, feed: Feed, engine: Engine, watch: Watch | None
) -> Iterator[tuple[int, TrainResult]]:
    """Each run's place in the pack and its result, as they end; ``lanes`` is used up.

    ``watch`` looks at the validation rows, where there are some.
    """
    network, done = problem.network, 0
    curves = _Curves(len(lanes.run), epochs, _may_end_early(lanes, epochs, watch))
    # A diverging run overflows on its way; it is reported as an outcome, not as a warning.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        while done < epochs and len(lanes.run):
            stop = min(epochs, done + _chunk(problem, len(lanes.run)))
            if feed.restart:
                stop = min(stop, (done // feed.restart + 1) * feed.restart)
            if watch is not None:
                stop = min(stop, (done // watch.every + 1) * watch.every)
            orders = feed.orders(lanes.run, done, stop)
            progress = engine(problem, lanes, feed.factors(done, stop), orders)
            losses, endings, stopped = progress
            done += len(losses)
            curves.add(lanes.run, losses)
            if watch is not None:
                _look(watch, lanes, progress, done, done == epochs, curves)
            ended = np.flatnonzero(endings) if done < epochs else np.arange(len(lanes.run))
            for lane in ended:
                run = int(lanes.run[lane])
                final = stopped if endings[lane] else lanes.parameters
                weights, biases = network.split(clean(final[:, lane].copy()))
                result = TrainResult(
                    outcome=OUTCOMES[Ending(endings[lane])],
                    losses=clean(curves.of(run)),
                    predictions=clean(lanes.outputs[:, :, lane].copy()),
                    weights=tuple(weights),
                    biases=tuple(biases),
                )
                yield run, result if watch is None else _kept(watch, run, result, problem)
            if len(ended):
                lanes = lanes.take(np.setdiff1d(np.arange(len(lanes.run)), ended))
            if feed.restart and done % feed.restart == 0 and len(lanes.run):
                lanes = feed.restarted(lanes.run, done // feed.restart)


def _look(
    watch: Watch, lanes: Lanes, progress: Progress, done: int, is_last: bool, curves: "_Curves"
) -> None:
    """Look at the validation rows where it is time, or a lane's end; adds to the endings."""
    losses, endings, stopped = progress
    is_time = bool(len(losses)) and done % watch.every == 0
    due = (endings != Ending.DIVERGED) & (is_time | is_last | (endings != Ending.RUNNING))
    at = np.flatnonzero(due)
    if not len(at):
        return
    parameters = np.where(endings[at] == Ending.RUNNING, lanes.parameters[:, at], stopped[:, at])
    strip = curves.latest(lanes.run[at], watch.every if is_time else 0)
    stalls = watch.look(lanes.run[at], parameters, done, strip)
    endings[at[stalls & (endings[at] == Ending.RUNNING)]] = Ending.STALLED


def _kept(watch: Watch, run: int, result: TrainResult, problem: Problem) -> TrainResult:
    """The result with the weights that the validation rows chose, and what these predict."""
    if result.outcome is Outcome.DIVERGED:
        return result
    seen = watch.seen(run)
    weights, biases = problem.network.split(clean(watch.kept(run)))
    arithmetic = ARITHMETICS[problem.numerics]
    activations, _ = forward(problem.network, problem.X, weights, biases, arithmetic)
    return replace(
        result,
        predictions=clean(activations[-1]),
        weights=tuple(weights),
        biases=tuple(biases),
        validation=seen._replace(losses=clean(seen.losses)),
    )


def _chunk(problem: Problem, n_lanes: int) -> int:
    """Epochs between two looks at the world."""
    work = 3 * problem.network.n_parameters * len(problem.X) * n_lanes
    return max(1, min(CHUNK // n_lanes, WORK // work))


def _may_end_early(lanes: Lanes, epochs: int, watch: Watch | None) -> bool:
    """Whether runs are given a stopping rule."""
    rules = (lanes.stop_loss >= 0.0) | (lanes.stop_tolerance >= 0.0) | (lanes.patience < epochs)
    return watch is not None or bool(rules.any())


class _Curves:
    """The losses of a pack, (n_runs, epochs so far); room grows as epochs are run.

    It is not made for all epochs at once if the runs ``may_end_early``.
    """

    def __init__(self, n_runs: int, epochs: int, may_end_early: bool) -> None:
        self._epochs, self._ends = epochs, np.zeros(n_runs, np.int64)
        room = (CHUNK if may_end_early else 32 * CHUNK) // n_runs
        self._losses = np.empty((n_runs, min(epochs, max(1, room))))

    def add(self, runs: Integers, losses: Array) -> None:
        """Append (epochs, lanes) losses to the curves of ``runs``, which stand together."""
        start, stop = int(self._ends[runs[0]]), int(self._ends[runs[0]]) + len(losses)
        n_runs, room = self._losses.shape
        if stop > room:
            wider = np.empty((n_runs, min(self._epochs, max(stop, 4 * room))))
            wider[:, :start] = self._losses[:, :start]
            self._losses = wider
        self._losses[runs, start:stop] = losses.T
        self._ends[runs] = stop

    def latest(self, runs: Integers, count: int) -> Array:
        """The last ``count`` losses of ``runs``, which stand together: (count, runs)."""
        stop = int(self._ends[runs[0]])
        return self._losses[runs, stop - count : stop].T

    def of(self, run: int) -> Array:
        """A run's curve, a view: nothing writes there any more once the run has ended."""
        return self._losses[run, : self._ends[run]]


def clean(values: Array) -> Array:
    """The same with every NaN the same NaN: their bits differ between processors."""
    if np.isfinite(values.sum()):
        return values
    return np.where(np.isnan(values), np.nan, values)
