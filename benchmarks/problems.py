"""The training problems of the benchmarks, as configurations and as arrays."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bpexp.config.compose import compose
from bpexp.config.schema import TrainConfig, parse
from bpexp.data import load
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
    first = parse(compose(PROBLEMS[name].overrides))[0]
    first = replace(first, epochs=epochs)
    return [replace(first, seed=seed) for seed in range(runs)]


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
