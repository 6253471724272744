"""From configurations to packs, and from packs to results.

A pack is what is trained side by side: runs that share network, data, update rule,
schedule and stopping kind; seeds, learning rates, the rule's numbers and the limits of
the stopping rules are a lane's own.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bpexp.config.schema import StopConfig, TrainConfig
from bpexp.data import Dataset, load
from bpexp.nn import init
from bpexp.nn.arithmetic import ARITHMETICS
from bpexp.nn.losses import LOSSES
from bpexp.nn.mlp import forward
from bpexp.nn.network import Network, joined
from bpexp.nn.optimizers import OPTIMIZERS, OptimizerConfig, RpropConfig
from bpexp.runs import metrics
from bpexp.runs.result import Outcome, TrainResult
from bpexp.training import sample_order
from bpexp.training.early_stopping import Watch
from bpexp.training.engine import NO_PATIENCE, Engine, Lanes, Problem
from bpexp.training.loop import train
from bpexp.typing import Array

LARGEST = 2**23
"""Multiplications of a forward pass up to which numerics=auto means exact: of wider layers BLAS
makes more than exact arithmetic, which fuses nothing.
"""


def key(config: TrainConfig) -> TrainConfig:
    """Equal for configurations that can be lanes of one pack."""
    rule = config.optimizer
    numbers: dict[str, Any] = dict.fromkeys(OPTIMIZERS[rule.name].hyperparameter_names, 0.0)
    # Lanes differ in how much they decay, not in whether: adding 0 w may turn a zero's sign.
    numbers["weight_decay"] = float(rule.weight_decay > 0.0)
    stop = StopConfig(
        restart=config.stop.restart, validation_interval=config.stop.validation_interval
    )
    model = replace(config.model, init="", init_low=0.0, init_high=0.0)
    return replace(
        config, seed=0, lr=1.0, model=model, optimizer=replace(rule, **numbers), stop=stop
    )


def numerics(config: TrainConfig, dataset: Dataset) -> str:
    """The arithmetic that ``numerics`` means: exact but for large networks."""
    if config.numerics != "auto":
        return config.numerics
    size = network(config, dataset).n_parameters * len(dataset.X)
    return "exact" if size <= LARGEST else "native"


def network(config: TrainConfig, dataset: Dataset) -> Network:
    """What the configuration's network computes."""
    model = config.model
    return Network(
        sizes=(dataset.X.shape[1], *config.hidden, dataset.Y.shape[1]),
        functions=(*[model.activation] * len(config.hidden), model.output),
        loss=model.loss,
        error=model.error,
        dead_zone=model.dead_zone,
        offset=model.derivative_offset,
        bias_input=model.bias_input,
    )


def train_pack(
    configs: Sequence[TrainConfig], engine: Engine, dataset: Dataset | None = None
) -> Iterator[tuple[int, TrainResult]]:
    """Train configurations of one ``key``: each one's place in ``configs`` and its result.

    ``dataset`` is theirs, where it need not be loaded.
    """
    first = configs[0]
    dataset = load(first.data) if dataset is None else dataset
    problem = _problem(first, dataset)
    lanes, watch = _lanes(configs, problem), None
    if len(dataset.X_validation):
        # Patience is counted by the validation rows, not by the engine.
        lanes.patience[:] = NO_PATIENCE
        X, Y = dataset.X_validation, dataset.Y_validation
        watch = Watch(problem, X, Y, [config.stop for config in configs], engine)
    fed = sample_order.make(configs, problem, _lanes)
    # How many threads BLAS has can move the last bits.
    is_native = problem.numerics == "native"
    with threadpool_limits(1, user_api="blas") if is_native else nullcontext():
        for index, result in train(problem, lanes, first.epochs, fed, engine, watch):
            yield index, _with_metrics(result, dataset, problem)


def _problem(config: TrainConfig, dataset: Dataset) -> Problem:
    shape = network(config, dataset)
    rule = config.optimizer
    n_samples = len(dataset.X)
    return Problem(
        network=shape,
        X=np.ascontiguousarray(dataset.X),
        Y=np.ascontiguousarray(dataset.Y),
        rule=rule.name,
        divisor=shape.fan_in if rule.by_fan_in else np.ones(shape.n_parameters),
        decays=rule.weight_decay > 0.0,
        batch_size=min(config.batch_size or n_samples, n_samples),
        numerics=numerics(config, dataset),
    )


def _lanes(configs: Sequence[TrainConfig], problem: Problem) -> Lanes:
    rule, n = OPTIMIZERS[problem.rule], len(configs)
    parameters = np.stack([initial(c, problem.network) for c in configs], axis=-1)
    lr = _each(c.lr for c in configs)
    slots = np.empty((len(rule.initial_state), *parameters.shape))
    for slot, start in zip(slots, rule.initial_state.values(), strict=True):
        slot[:] = lr if start is None else start
        if start is None:
            _draw_first_steps(slot, [c.optimizer for c in configs], [c.seed for c in configs])
    settings = [
        _each(getattr(c.optimizer, name) for c in configs) for name in rule.hyperparameter_names
    ]
    return Lanes(
        run=np.arange(n),
        parameters=parameters,
        slots=slots,
        settings=np.array(settings).reshape(len(settings), n),
        lr=lr,
        decay=_each(c.optimizer.weight_decay for c in configs),
        stop_loss=_each(_or(c.stop.loss, -1.0) for c in configs),
        stop_tolerance=_each(_or(c.stop.tolerance, -1.0) for c in configs),
        patience=np.array([_or(c.stop.patience, NO_PATIENCE) for c in configs], np.int64),
        best=np.full(n, np.inf),
        waited=np.zeros(n, np.int64),
        outputs=np.zeros((*problem.Y.shape, n)),
    )


def _each(values: Any) -> Array:
    return np.fromiter(values, np.float64)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def initial(config: TrainConfig, shape: Network) -> Array:
    """Initial weights and biases by the configuration's seed, (n_parameters,)."""
    model = config.model
    return joined(
        *init.initialize(shape.sizes, model.init, config.seed, model.init_low, model.init_high)
    )


def _draw_first_steps(slot: Array, rules: Sequence[OptimizerConfig], seeds: Sequence[int]) -> None:
    """Rprop's first steps, where they are drawn: from a stream beside the weights'."""
    for lane, (rule, seed) in enumerate(zip(rules, seeds, strict=True)):
        if (
            isinstance(rule, RpropConfig)
            and rule.step_init_low is not None
            and rule.step_init_high is not None
        ):
            rng = sample_order.stream(seed, "first steps")
            slot[:, lane] = rule.step_init_low + (
                rule.step_init_high - rule.step_init_low
            ) * rng.rand(len(slot))


def _with_metrics(result: TrainResult, dataset: Dataset, problem: Problem) -> TrainResult:
    """The result with its metrics; the test rows are evaluated unless the run diverged."""
    evaluation = metrics.Evaluation(result, dataset)
    if len(dataset.X_test) and result.outcome is not Outcome.DIVERGED:
        shape, arithmetic = problem.network, ARITHMETICS[problem.numerics]
        activations, Z = forward(shape, dataset.X_test, result.weights, result.biases, arithmetic)
        loss = LOSSES[shape.loss].on(shape.functions[-1])
        total = arithmetic.sum(loss.per_row(arithmetic, Z, activations[-1], dataset.Y_test), 0)
        evaluation = replace(
            evaluation,
            test_outputs=activations[-1],
            test_loss=float(loss.reported(total, *dataset.Y_test.shape)),
        )
    return replace(result, metrics=metrics.compute(evaluation))
