"""The training problems of the benchmarks, as configurations and as arrays."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bpexp.config.compose import compose
from bpexp.config.schema import TrainConfig, parse
from bpexp.data import load
from bpexp.data.registry import DATA_SOURCES, DataConfig, DataSource
from bpexp.data.registry import Table as DataTable
from bpexp.fields import setting
from bpexp.fields.checks import Integer
from bpexp.training import run_batch
from bpexp.typing import Array


class Problem(NamedTuple):
    """A training problem.

    Attributes:
        overrides: Overrides of the default configuration.
        layers: Layer widths as text.
        runs: Number of runs.
        epochs: Number of epochs of one timing.
    """

    overrides: tuple[str, ...]
    layers: str
    runs: int
    epochs: int


PROBLEMS = {
    "xor": Problem((), "2-2-1", 1024, 30_000),
    "parity": Problem(("data=parity", "data.bits=4", "hidden=8"), "4-8-1", 1024, 2_000),
    "encoder": Problem(("data=encoder", "data.size=10", "hidden=5"), "10-5-10", 1024, 1_500),
    # The gradient is a sum over 1,348 rows, so the learning rate is smaller.
    "digits": Problem(("data=digits", "hidden=32", "lr=0.001"), "64-32-10", 16, 150),
}


@dataclass(frozen=True, kw_only=True)
class RandomConfig(DataConfig):
    """Settings of random data, uniform in [0, 1)."""

    rows: int = setting(Integer(1), 1000, "number of rows")
    inputs: int = setting(Integer(1), 1, "number of inputs")
    outputs: int = setting(Integer(1), 1, "number of targets")


def _random_table(config: RandomConfig) -> DataTable:
    rng = np.random.default_rng(0)
    X, Y = rng.random((config.rows, config.inputs)), rng.random((config.rows, config.outputs))
    names = [tuple(f"{kind}{i}" for i in range(A.shape[1])) for kind, A in (("x", X), ("y", Y))]
    return DataTable(X, Y, *names, is_classification=False)


def _register_random_data() -> None:
    """Add the data source. Not on import: a test that imports this module would have it, too."""
    if "random" not in DATA_SOURCES:
        DATA_SOURCES.register(DataSource("random", RandomConfig, _random_table))


class MinibatchProblem(NamedTuple):
    """A training problem with mini-batches and Adam.

    Attributes:
        data: The data set.
        hidden: Widths of the hidden layers.
        batch_size: Samples of a mini-batch.
        epochs: Number of epochs of one timing.
    """

    data: DataConfig
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int


_TABLE = RandomConfig(name="random", rows=20_000, inputs=20)
_IMAGES = RandomConfig(name="random", rows=60_000, inputs=784, outputs=10)
MINIBATCH_PROBLEMS = {
    "iris 4-8-3, batches of 16": MinibatchProblem(
        DataConfig(name="iris", standardize=True), (8,), 16, 200
    ),
    "breast_cancer 30-16-1, batches of 32": MinibatchProblem(
        DataConfig(name="breast_cancer", standardize=True), (16,), 32, 100
    ),
    "digits 64-32-10, batches of 32": MinibatchProblem(DataConfig(name="digits"), (32,), 32, 20),
    "table 20-64-64-1, batches of 32": MinibatchProblem(_TABLE, (64, 64), 32, 3),
    "table 20-64-64-1, batches of 128": MinibatchProblem(_TABLE, (64, 64), 128, 3),
    "784-128-10, batches of 64": MinibatchProblem(_IMAGES, (128,), 64, 1),
    "784-128-10, batches of 128": MinibatchProblem(_IMAGES, (128,), 128, 1),
}


class Arrays(NamedTuple):
    """The runs of a problem with one hidden layer, as arrays.

    Attributes:
        X: Inputs, (n_samples, n_in).
        Y: Targets, (n_samples, n_out).
        lr: Learning rate.
        epochs: Number of epochs.
        W1: Initial weights of the hidden layer, (n_runs, n_in, n_hidden).
        b1: Its biases, (n_runs, 1, n_hidden).
        W2: Initial weights of the output layer, (n_runs, n_hidden, n_out).
        b2: Its biases, (n_runs, 1, n_out).
    """

    X: Array
    Y: Array
    lr: float
    epochs: int
    W1: Array
    b1: Array
    W2: Array
    b2: Array


def configs(name: str, runs: int, epochs: int) -> list[TrainConfig]:
    """The configurations of a problem with the seeds 0, 1, ..."""
    if name in MINIBATCH_PROBLEMS:
        _register_random_data()
        problem = MINIBATCH_PROBLEMS[name]
        first = parse(
            compose(("optimizer=adam", "lr=0.001", "model=regressor", "model.activation=sigmoid"))
        )[0]
        first = replace(
            first, data=problem.data, hidden=problem.hidden, batch_size=problem.batch_size
        )
    else:
        first = parse(compose(PROBLEMS[name].overrides))[0]
    first = replace(first, epochs=epochs)
    return [replace(first, seed=seed) for seed in range(runs)]


def initial_layers(config: TrainConfig) -> list[tuple[Array, Array]]:
    """The initial weights, (n_in, n_out), and biases, (1, n_out), of each layer of a run."""
    network = run_batch.make_network(config, load(config.data))
    weights, biases = network.split(run_batch.initial_parameters(config, network))
    return list(zip(weights, biases, strict=True))


def arrays(runs: list[TrainConfig]) -> Arrays:
    """Convert the configurations of a problem to arrays, with the initial weights of each run."""
    dataset = load(runs[0].data)
    network = run_batch.make_network(runs[0], dataset)
    layers = [network.split(run_batch.initial_parameters(config, network)) for config in runs]
    W1, W2 = (np.stack([weights[i] for weights, _ in layers]) for i in range(2))
    b1, b2 = (np.stack([biases[i] for _, biases in layers]) for i in range(2))
    return Arrays(
        X=dataset.X, Y=dataset.Y, lr=runs[0].lr, epochs=runs[0].epochs, W1=W1, b1=b1, W2=W2, b2=b2
    )
