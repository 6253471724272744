"""Train the lanes of a pack to their ends, chunk by chunk, by either engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bpexp.engines.problem import Ending, Engine, Integers, Lanes, Problem
from bpexp.results import Outcome, TrainResult
from bpexp.typing import Array

OUTCOMES = {
    Ending.RUNNING: Outcome.COMPLETED,
    Ending.CONVERGED: Outcome.CONVERGED,
    Ending.STALLED: Outcome.STALLED,
    Ending.DIVERGED: Outcome.DIVERGED,
}

CHUNK, WORK = 2**18, 2**27
"""Most losses (2 MiB of them) and multiplications between two looks at the world."""


@dataclass(frozen=True)
class Feed:
    """How training goes on from epoch to epoch.

    ``factors(start, stop)``: the learning rate's multiple in these epochs, (stop - start,).
    ``orders(runs, start, stop)``: the samples' order for these runs, or None for index order.
    """

    factors: Callable[[int, int], Array]
    orders: Callable[[Integers, int, int], Integers | None]


def train(
    problem: Problem, lanes: Lanes, epochs: int, feed: Feed, engine: Engine
) -> Iterator[tuple[int, TrainResult]]:
    """Each run's place in the pack and its result, as they end; ``lanes`` is used up."""
    network, done = problem.network, 0
    history: list[list[Array]] = [[] for _ in lanes.run]
    # A diverging run overflows on its way; it is reported as an outcome, not as a warning.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        while done < epochs and len(lanes.run):
            stop = min(epochs, done + _chunk(problem, len(lanes.run)))
            orders = feed.orders(lanes.run, done, stop)
            losses, endings, stopped = engine(problem, lanes, feed.factors(done, stop), orders)
            done += len(losses)
            for run, curve in zip(lanes.run, np.ascontiguousarray(losses.T), strict=True):
                history[run].append(curve)
            ended = np.flatnonzero(endings) if done < epochs else np.arange(len(lanes.run))
            for lane in ended:
                run = int(lanes.run[lane])
                final = stopped if endings[lane] else lanes.parameters
                weights, biases = network.split(clean(final[:, lane]))
                yield (
                    run,
                    TrainResult(
                        outcome=OUTCOMES[Ending(endings[lane])],
                        losses=clean(np.concatenate(history[run])),
                        predictions=clean(lanes.outputs[:, :, lane]),
                        weights=tuple(weights),
                        biases=tuple(biases),
                    ),
                )
                history[run] = []
            if len(ended):
                lanes = lanes.take(np.setdiff1d(np.arange(len(lanes.run)), ended))


def _chunk(problem: Problem, n_lanes: int) -> int:
    """Epochs between two looks at the world."""
    work = 3 * problem.network.n_parameters * len(problem.X) * n_lanes
    return max(1, min(CHUNK // n_lanes, WORK // work))


def clean(values: Array) -> Array:
    """A copy in which every NaN is the same NaN: their bits differ between processors."""
    return np.where(np.isnan(values), np.nan, values)
