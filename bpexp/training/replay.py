"""A run taken up again at one of its epochs."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.fields.checks import ConfigError
from bpexp.training.batching import load_engine, packs
from bpexp.training.engine import Ending, Integers, Lanes, Problem, Progress
from bpexp.training.run_batch import train_pack
from bpexp.typing import Array


class Moment(NamedTuple):
    """What a run's epoch starts from: one lane, the learning rate's multiple, and the order
    of the samples, (n_samples,), or None for index order.
    """

    problem: Problem
    lanes: Lanes
    factor: float
    order: Integers | None


def before(config: TrainConfig, epoch: int, engine: str = "auto") -> Moment:
    """The run of ``config`` as it stands before its epoch ``epoch``, counted from 1.

    Raises ConfigError where the run has no such epoch.
    """
    (pack,) = packs([config], engine, 1)
    advance, found, done = load_engine(pack.engine), [], 0

    def until(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
        nonlocal done
        ahead = min(len(factors), epoch - 1 - done)
        if ahead:
            some = None if orders is None else orders[:ahead]
            progress = advance(problem, lanes, factors[:ahead], some)
            done += len(progress.losses)
            return progress
        order = None if orders is None else orders[0, :, 0]
        found.append(Moment(problem, lanes.take([0]), float(factors[0]), order))
        ended = np.full(1, Ending.CONVERGED, np.int8)
        return Progress(np.empty((0, 1)), ended, lanes.parameters)

    # An engine that ends before the epoch: training then stops of itself.
    ((_, result),) = train_pack([config], until)
    if not found:
        raise ConfigError(
            f"epoch must be one of the run's {result.epochs_run}, got {epoch} "
            f"(the run has {result.outcome.value})."
        )
    return found[0]


def one_batch(moment: Moment) -> tuple[Moment, Integers]:
    """The epoch's first batch as an epoch of its own, never stopped; and its samples' numbers.

    The stopping rules stay only where the batch is the whole epoch.
    """
    problem, lanes = moment.problem, moment.lanes
    n_samples, size = len(problem.X), problem.batch_size
    order = np.arange(n_samples) if moment.order is None else moment.order
    rows = order[:size]
    if size < n_samples:
        lanes = replace(
            lanes,
            stop_loss=np.full(1, -1.0),
            stop_tolerance=np.full(1, -1.0),
            patience=np.full(1, np.iinfo(np.int64).max),
        )
    lanes = replace(lanes, outputs=lanes.outputs[rows])
    problem = replace(problem, X=problem.X[rows], Y=problem.Y[rows])
    return Moment(problem, lanes, moment.factor, None), rows
