"""Trains a run again up to one of its epochs and returns its state there.

The first mini-batch of that epoch starts from this state; ``explain`` shows its computation.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset, load
from bpexp.fields.checks import ConfigError
from bpexp.training.batching import group_runs, load_engine
from bpexp.training.engine import NO_PATIENCE, NO_THRESHOLD, BatchState, Integers, Problem
from bpexp.training.loop import TrainingLoop
from bpexp.training.run_batch import PreparedBatch


class Snapshot(NamedTuple):
    """What an epoch of a run starts from.

    Attributes:
        problem: The training problem.
        state: State of the one run.
        lr_factor: Factor of the learning rate in this epoch.
        sample_order: Order of the samples in this epoch, (n_samples,), or None for index order.
    """

    problem: Problem
    state: BatchState
    lr_factor: float
    sample_order: Integers | None


def state_before_epoch(
    config: TrainConfig, epoch: int, engine: str = "auto", dataset: Dataset | None = None
) -> Snapshot:
    """Train a run again up to an epoch.

    Args:
        config: Configuration of the run.
        epoch: The epoch, counted from 1.
        engine: Name of the engine.
        dataset: The data of the run, if they are already loaded.

    Returns:
        The state before that epoch.

    Raises:
        ConfigError: If the run ends before that epoch.
    """
    dataset = load(config.data) if dataset is None else dataset
    (batch,) = group_runs([config], engine, 1, {config.data: dataset})
    loop = TrainingLoop(PreparedBatch([config], dataset), load_engine(batch.engine))
    ended = list(loop.run(until_epoch=epoch - 1))
    if ended:
        ((_, result),) = ended
        raise ConfigError(
            f"epoch must be one of the run's {result.epochs_run}, got {epoch} "
            f"(the run has {result.outcome.value})."
        )
    loop.restart_if_due()
    state = loop.state
    orders = loop.batch.sample_orders(state.run_indices, epoch - 1, epoch)
    (lr_factor,) = loop.batch.lr_factors(epoch - 1, epoch)
    sample_order = None if orders is None else orders[0, :, 0]
    return Snapshot(loop.batch.problem, state, float(lr_factor), sample_order)


def first_mini_batch(snapshot: Snapshot) -> tuple[Snapshot, Integers]:
    """Reduce a snapshot to the first mini-batch of its epoch.

    If it is not the whole epoch, the stopping criteria are removed, because they apply to
    whole epochs.

    Returns:
        A snapshot whose problem has only the samples of the mini-batch, and their indices,
        (batch_size,).
    """
    problem, state = snapshot.problem, snapshot.state
    n_samples = len(problem.X)
    order = np.arange(n_samples) if snapshot.sample_order is None else snapshot.sample_order
    rows = order[: problem.batch_size]
    if problem.batch_size < n_samples:
        state = replace(
            state,
            stop_loss=np.full(1, NO_THRESHOLD),
            stop_tolerance=np.full(1, NO_THRESHOLD),
            patience=np.full(1, NO_PATIENCE),
        )
    state = replace(state, outputs=state.outputs[rows])
    problem = replace(problem, X=problem.X[rows], Y=problem.Y[rows])
    return Snapshot(problem, state, snapshot.lr_factor, None), rows
