"""Prepares the training of a run batch: from configurations to arrays.

``batch_key`` decides which runs can share a batch. They share the data, the network architecture
and its loss, the optimizer, the schedule, the batch size, the number of epochs, ``stop.restart``
and ``stop.validation_interval``. Seeds, initializers, learning rates, hyperparameters of the
optimizer and all other stopping criteria may differ between them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bpexp.config.schema import StopConfig, TrainConfig
from bpexp.data import Dataset, load
from bpexp.nn import init
from bpexp.nn.network import ClassWeights, Network, joined
from bpexp.nn.optimizers import RpropConfig
from bpexp.nn.schedules import factors
from bpexp.training.engine import NO_PATIENCE, NO_THRESHOLD, BatchState, Integers, Problem
from bpexp.training.sample_order import SampleOrders, random_stream, restart_seed
from bpexp.training.update import hyperparameter_names, initial_state
from bpexp.typing import Array


def batch_key(config: TrainConfig) -> TrainConfig:
    """Return a value that is equal for configurations that can be trained in one batch."""
    optimizer = config.optimizer
    changes: dict[str, Any] = dict.fromkeys(hyperparameter_names(optimizer.name), 0.0)
    # See Problem.has_weight_decay.
    changes["weight_decay"] = float(optimizer.weight_decay > 0.0)
    if isinstance(optimizer, RpropConfig):
        changes["step_init_seed"] = None
    return replace(
        config,
        seed=0,
        order_seed=None,
        lr=1.0,
        model=replace(config.model, init="", init_low=0.0, init_high=0.0, init_seed=None),
        optimizer=replace(optimizer, **changes),
        stop=StopConfig(
            restart=config.stop.restart, validation_interval=config.stop.validation_interval
        ),
    )


def make_network(config: TrainConfig, dataset: Dataset) -> Network:
    """Return the network architecture that a configuration has for these data."""
    model = config.model
    return Network(
        sizes=(dataset.X.shape[1], *config.hidden, dataset.Y.shape[1]),
        activation_names=(*[model.activation] * len(config.hidden), model.output),
        loss=model.loss,
        error_signal=model.error,
        dead_zone=model.dead_zone / float(dataset.scaling_for(model.output).scale[0]),
        derivative_offset=model.derivative_offset,
        bias_input=model.bias_input,
        class_weights=balanced_weights(dataset) if model.class_weight == "balanced" else None,
    )


def balanced_weights(dataset: Dataset) -> ClassWeights:
    """Weights with which each class has the same share of the loss.

    A class of m of the n training rows has the weight n / (k m), where k is the number of classes,
    as with ``class_weight="balanced"`` of scikit-learn. The mean weight of a training row is 1.

    Args:
        dataset: Data with one label, whose training rows have every class.
    """
    counts = dataset.class_counts
    weights = tuple(len(dataset.Y) / (len(counts) * count) for count in counts)
    if dataset.is_one_hot:
        return ClassWeights(dataset.threshold, (0.0,) * len(weights), weights)
    return ClassWeights(dataset.threshold, weights[:1], weights[1:])


def initial_parameters(config: TrainConfig, network: Network, n_restarts: int = 0) -> Array:
    """Draw the weights and biases after ``n_restarts`` restarts of a run, (n_parameters,)."""
    model = config.model
    seed = restart_seed(_or_default(model.init_seed, config.seed), n_restarts)
    low, high = model.init_low, model.init_high
    return joined(*init.initialize(network.sizes, model.init, seed, low, high))


class PreparedBatch:
    """The inputs of the training loop for a run batch.

    Attributes:
        configs: Configurations of the runs, all with the same ``batch_key``.
        dataset: Their data.
        problem: What the runs share.
        scaling: How the targets of ``problem`` are scaled.
        epochs: Maximum number of epochs.
        restart_interval: Number of epochs after which runs restart with new weights, or None.
    """

    def __init__(self, configs: Sequence[TrainConfig], dataset: Dataset | None = None) -> None:
        first = configs[0]
        self.configs = configs
        self.dataset = load(first.data) if dataset is None else dataset
        self.problem = make_problem(first, self.dataset)
        self.scaling = self.dataset.scaling_for(first.model.output)
        self.epochs = first.epochs
        self.restart_interval = first.stop.restart
        n_samples = len(self.problem.X)
        self._sample_orders = None
        if self.problem.batch_size < n_samples:
            seeds = [_or_default(c.order_seed, c.seed) for c in configs]
            self._sample_orders = SampleOrders(seeds, n_samples)

    def initial_state(self) -> BatchState:
        """Return the state of all runs before the first epoch."""
        return _initial_batch_state(self.configs, self)

    def restarted_state(self, runs: Integers, n_restarts: int) -> BatchState:
        """Return the state of some runs after a restart with new initial weights.

        Args:
            runs: Indices of the runs, (L,).
            n_restarts: Number of restarts, this one included.
        """
        configs = [self.configs[run] for run in runs]
        return replace(_initial_batch_state(configs, self, n_restarts), run_indices=runs)

    def lr_factors(self, start: int, stop: int) -> Array:
        """Factors of the learning rate in epochs ``start`` to ``stop - 1``, (stop - start,)."""
        return factors(self.configs[0].schedule, self.epochs, start, stop)

    @property
    def is_shuffled(self) -> bool:
        """Whether the runs visit the samples in an order of their own."""
        return self._sample_orders is not None

    def sample_orders(self, runs: Integers, start: int, stop: int) -> Integers | None:
        """Sample orders of runs in epochs ``start`` to ``stop - 1``; None for index order.

        Returns:
            (stop - start, n_samples, L) for L runs.
        """
        if self._sample_orders is None:
            return None
        return self._sample_orders.epochs(runs, start, stop)


def make_problem(config: TrainConfig, dataset: Dataset) -> Problem:
    """Return what all runs of a batch share with ``config``."""
    network, optimizer, n_samples = make_network(config, dataset), config.optimizer, len(dataset.X)
    scaling = dataset.scaling_for(config.model.output)
    return Problem(
        network=network,
        X=np.ascontiguousarray(dataset.X),
        Y=np.ascontiguousarray(scaling.scaled(dataset.Y)),
        optimizer=optimizer.name,
        lr_divisor=network.fan_in if optimizer.by_fan_in else np.ones(network.n_parameters),
        has_weight_decay=optimizer.weight_decay > 0.0,
        batch_size=min(config.batch_size or n_samples, n_samples),
    )


def _initial_batch_state(
    configs: Sequence[TrainConfig], batch: PreparedBatch, n_restarts: int = 0
) -> BatchState:
    """The state of runs before their first epoch, or before the first one after a restart."""
    problem, n_runs = batch.problem, len(configs)
    drawn = [initial_parameters(c, problem.network, n_restarts) for c in configs]
    parameters = np.stack(drawn, axis=-1)
    lr = _floats(c.lr for c in configs)
    starts = initial_state(problem.optimizer)
    optimizer_state = np.empty((len(starts), *parameters.shape))
    for values, start in zip(optimizer_state, starts, strict=True):
        values[:] = lr if start is None else start
        if start is None:
            _draw_initial_steps(values, configs, n_restarts)
    names = hyperparameter_names(problem.optimizer)
    hyperparameters = [_floats(getattr(c.optimizer, name) for c in configs) for name in names]
    patience = [_or_default(c.stop.patience, NO_PATIENCE) for c in configs]
    if len(batch.dataset.X_validation):
        # Patience then counts epochs without a lower validation loss: see early_stopping.
        patience = [NO_PATIENCE] * n_runs
    # The criteria are in the units of the targets, the training in those of scaled targets.
    loss_factor, unit = batch.scaling.loss_factor, batch.scaling.scale[0]
    return BatchState(
        run_indices=np.arange(n_runs),
        parameters=parameters,
        optimizer_state=optimizer_state,
        hyperparameters=np.array(hyperparameters).reshape(len(names), n_runs),
        lr=lr,
        weight_decay=_floats(c.optimizer.weight_decay for c in configs),
        stop_loss=_floats(_threshold(c.stop.loss, loss_factor) for c in configs),
        stop_tolerance=_floats(_threshold(c.stop.tolerance, unit) for c in configs),
        patience=np.array(patience, np.int64),
        best_loss=np.full(n_runs, np.inf),
        epochs_since_best=np.zeros(n_runs, np.int64),
        outputs=np.zeros((*problem.Y.shape, n_runs)),
    )


def _floats(values: Iterable[float]) -> Array:
    return np.fromiter(values, np.float64)


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def _threshold(value: float | None, unit: float) -> float:
    return NO_THRESHOLD if value is None else value / unit


def _draw_initial_steps(steps: Array, configs: Sequence[TrainConfig], n_restarts: int) -> None:
    """Draw Rprop's initial step sizes where the configuration gives a range.

    Args:
        steps: (n_parameters, L); changed in place.
        configs: Configurations of the L runs.
        n_restarts: Number of restarts of these runs so far.
    """
    for run, config in enumerate(configs):
        optimizer = config.optimizer
        if not isinstance(optimizer, RpropConfig):
            continue
        low, high = optimizer.step_init_low, optimizer.step_init_high
        if low is not None and high is not None:
            seed = restart_seed(_or_default(optimizer.step_init_seed, config.seed), n_restarts)
            rng = random_stream(seed, "first steps")
            steps[:, run] = low + (high - low) * rng.rand(len(steps))
